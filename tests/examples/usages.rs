//! The usages that the examples print.

use std::process::Command;

use crate::common::programs::{Ended, Program, example};

fn run(name: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(example(name));
    command.args(arguments);
    Program::start(name, command).finish()
}

#[test]
fn every_example_has_a_usage() {
    for name in [
        "echo_server",
        "refuse",
        "http_client",
        "port_forward",
        "chat_server",
        "smtp_sink",
        "compare",
        "embed",
        "multi_client",
        "pump",
        "record",
        "prefork",
        "reuseport_echo",
        "conformance",
        #[cfg(feature = "coroutines")]
        "coroutine_echo",
        #[cfg(feature = "coroutines")]
        "coroutine_fetch",
        #[cfg(feature = "coroutines")]
        "coroutine_smtp",
    ] {
        for ask in ["-h", "--help"] {
            let ended = run(name, &[ask]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            let usage = String::from_utf8_lossy(&ended.stdout);
            assert!(usage.starts_with(&format!("usage: {name} ")), "{usage}");
            assert_eq!(ended.stderr, "");
        }
    }
}

#[test]
fn addresses_are_told_in_the_same_words_everywhere() {
    let forms = "HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME";
    for name in [
        "echo_server",
        "refuse",
        "port_forward",
        "chat_server",
        "smtp_sink",
        "prefork",
    ] {
        let usage = run(name, &["--help"]).stdout;
        let usage = String::from_utf8_lossy(&usage);
        assert!(usage.contains(forms), "{usage}");
        let ended = run(name, &["nonsense", "127.0.0.1:0"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
    let refused = run("echo_server", &["nonsense"]).stderr;
    assert!(
        refused
            .contains("\"nonsense\" is not an address: expected HOST:PORT, [IPv6]:PORT or a path"),
        "{refused}"
    );
}

#[test]
fn a_port_that_is_too_large_is_refused() {
    let said = "the port must be a number from 0 to 65535";
    for (name, argument) in [
        ("echo_server", "127.0.0.1:80999"),
        ("http_client", "http://localhost:80999/"),
    ] {
        let ended = run(name, &[argument]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
}

#[test]
fn what_follows_two_dashes_is_no_option() {
    let ended = run("echo_server", &["--", "--backend"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("\"--backend\" is not an address"),
        "{ended:?}"
    );
}
