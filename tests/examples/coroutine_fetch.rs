//! The client of several servers at once, run as a program, with Python's servers.

use std::net::TcpListener;

use crate::common::programs::{
    ANY_PORT, HTTP_SERVER, Program, directory_to_serve, python, run, with_each_backend,
};

#[test]
fn coroutine_fetch_fetches_several_urls_at_once() {
    let (files, content) = directory_to_serve();
    with_each_backend(|backend| {
        let mut servers = Vec::new();
        let mut urls = Vec::new();
        for _ in 0..3 {
            let mut server = Program::python(HTTP_SERVER, &[ANY_PORT, &files.file("")]);
            let address = server.address();
            urls.push(format!("http://{address}/large"));
            urls.push(format!("http://{address}/empty"));
            servers.push(server);
        }
        let arguments: Vec<_> = urls.iter().map(String::as_str).collect();
        let ended = run("coroutine_fetch", backend, &arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines: Vec<_> = urls
            .iter()
            .map(|url| {
                let size = if url.ends_with("large") {
                    content.len()
                } else {
                    0
                };
                format!("{url}: {size} bytes\n")
            })
            .collect();
        assert_eq!(String::from_utf8_lossy(&ended.stdout), lines.concat());
        assert_eq!(ended.stderr, "", "no progress where there is no terminal");
    });
}

#[test]
fn coroutine_fetch_says_of_each_url_why_it_failed_and_goes_on_with_the_others() {
    let (files, content) = directory_to_serve();
    with_each_backend(|backend| {
        let mut server = Program::python(HTTP_SERVER, &[ANY_PORT, &files.file("")]);
        let good = format!("http://{}/large", server.address());
        let missing = good.replace("large", "missing");
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = format!("http://{}/", silent.local_addr().unwrap());
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let refused = format!("http://{address}/");
        let arguments = ["--timeout", "0.5", &silent, &refused, &missing, &good];
        let ended = run("coroutine_fetch", backend, &arguments);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let size = content.len();
        assert_eq!(
            String::from_utf8_lossy(&ended.stdout),
            format!("{good}: {size} bytes\n")
        );
        for said in [
            format!("{silent}: the server was silent for 500ms"),
            format!("{refused}: connect to {address}"),
            format!("{missing}: the server returned 404"),
            "3 URLs could not be fetched".to_owned(),
        ] {
            assert!(ended.stderr.contains(&said), "{said:?} in {ended:?}");
        }
    });
}

#[test]
fn coroutine_fetch_shows_a_line_for_each_url_on_a_terminal() {
    let (files, _) = directory_to_serve();
    let script = r#"
import pty, subprocess
master, terminal = pty.openpty()
command = [sys.argv[1], '--timeout', '20', *sys.argv[2:]]
p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal)
os.close(terminal)
shown = b''
while True:
    try:
        piece = os.read(master, 65536)
    except OSError:
        break
    if not piece:
        break
    shown += piece
assert p.wait() == 0, shown
for url in sys.argv[2:]:
    assert url.encode() + b': ' in shown, shown
"#;
    let mut server = Program::python(HTTP_SERVER, &[ANY_PORT, &files.file("")]);
    let base = format!("http://{}", server.address());
    let program = crate::common::programs::example("coroutine_fetch");
    let (large, empty) = (format!("{base}/large"), format!("{base}/empty"));
    python(script, &[program.to_str().unwrap(), &large, &empty]);
}
