//! The name with which the sink announces itself.

use super::with_each_sink;

/// Asserts that the sink announces the name in `sys.argv[2]`.
const NAMED: &str = r#"
client = Client(greet=False)
name = sys.argv[2]
def announces(command, code):
    assert client(command) == code
    assert client.text[0].split()[0] == name, (command, client.text, name)
client.text = client.greeting
assert client.text[0].split()[0] == name, (client.text, name)
announces('HELO client', 250)
announces('EHLO client', 250)
announces('QUIT', 221)
"#;

#[test]
fn the_sink_announces_a_domain_name() {
    let script = r#"
import re
host = socket.gethostname()
domain = re.fullmatch(r'(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*', host)
sys.argv[2] = host if domain and not host.split('.')[-1].isdigit() else 'localhost'
"#;
    with_each_sink(&[], |sink| sink.with_client(&format!("{script}\n{NAMED}")));
}

#[test]
#[cfg(target_os = "linux")]
fn a_host_name_that_is_not_a_domain_name_is_not_announced() {
    use std::process::Command;

    use super::CLIENT;
    use crate::common::programs::{ANY_PORT, Program, example, with_each_backend};

    let python = crate::common::programs::interpreter();
    let own = ["--user", "--map-root-user", "--uts", python, "-c"];
    let script = r#"
import os, socket, sys
socket.sethostname(sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
"#;
    let allowed = Command::new("unshare").args(own).arg("").output();
    if !allowed.is_ok_and(|ended| ended.status.success()) {
        return;
    }
    let sink = example("smtp_sink");
    let sink = sink.to_str().expect("a path in UTF-8");
    with_each_backend(|backend| {
        for (host, name) in [
            ("mail.example.org", "mail.example.org"),
            ("a_b", "localhost"),
            ("-a", "localhost"),
            ("a..b", "localhost"),
            ("127.0.0.1", "localhost"),
            ("a\x1b[31m", "localhost"),
        ] {
            let mut command = Command::new("unshare");
            command.args(own).arg(script);
            command.args([host, sink, "--backend", &backend.to_string(), ANY_PORT]);
            let mut sink = Program::start("unshare", command);
            let address = sink.address();
            Program::python(&format!("{CLIENT}\n{NAMED}"), &[&address, name]).succeed();
        }
    });
}
