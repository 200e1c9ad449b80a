//! The command lines of the examples, and their ends.

// A test that cannot go on should say so and fail; these helpers are part of one.

use std::process::Command;

use crate::common::TempDir;
use crate::common::programs::{ANY_PORT, Program, example, run, server, with_each_backend};

#[track_caller]
fn assert_usage(name: &str, arguments: &[&str], said: &str) {
    let mut command = Command::new(example(name));
    command.args(arguments);
    let ended = Program::start(name, command).finish();
    assert_eq!(ended.code, Some(2), "{name} {arguments:?}: {ended:?}");
    assert!(ended.stderr.contains("usage: "), "{ended:?}");
    assert!(ended.stderr.contains(said), "{said:?} in {ended:?}");
}

#[test]
fn nonsense_arguments_are_refused_with_the_usage() {
    for name in ["echo_server", "refuse"] {
        assert_usage(name, &["nonsense"], "nonsense");
        assert_usage(name, &["127.0.0.1:99999"], "127.0.0.1:99999");
        assert_usage(name, &["127.0.0.1:0", "surplus"], "surplus");
        assert_usage(name, &["--unknown"], "--unknown");
        assert_usage(name, &["--backend", "kqueue"], "kqueue");
        assert_usage(name, &["--backend"], "--backend needs a value");
    }
    for number in ["0", "-1", "many"] {
        assert_usage("prefork", &["--workers", number], "not a number above 0");
        assert_usage(
            "reuseport_echo",
            &["--threads", number],
            "not a number above 0",
        );
    }
    assert_usage("reuseport_echo", &["/a/path"], "only an Internet address");
    assert_usage("port_forward", &[ANY_PORT], "REMOTE is missing");
    assert_usage("port_forward", &[ANY_PORT, "nonsense"], "nonsense");
    assert_usage("http_client", &[], "URL is missing");
    assert_usage("http_client", &["https://localhost/"], "https");
    assert_usage("http_client", &["http://"], "HOST");
    assert_usage("http_client", &["http://localhost:port/"], "HOST");
    assert_usage("http_client", &["http://localhost/a b"], "blanks");
}

#[test]
fn the_usage_can_be_asked_for() {
    for name in ["echo_server", "refuse", "http_client", "port_forward"] {
        let mut command = Command::new(example(name));
        command.arg("--help");
        let ended = Program::start(name, command).succeed();
        assert!(ended.stdout.starts_with(b"usage: "), "{ended:?}");
    }
}

#[test]
fn an_address_in_use_is_named() {
    with_each_backend(|backend| {
        let (_first, address) = server("echo_server", backend, &[ANY_PORT]);
        for (name, more) in [("echo_server", None), ("port_forward", Some("127.0.0.1:1"))] {
            let mut arguments = vec![address.as_str()];
            arguments.extend(more);
            let ended = run(name, backend, &arguments);
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains(&address), "{ended:?}");
        }
    });
}

#[test]
fn sigterm_and_sigint_end_a_server_in_order() {
    with_each_backend(|backend| {
        for signal in ["TERM", "INT"] {
            for (name, more) in [
                ("echo_server", None),
                ("refuse", None),
                ("port_forward", Some(ANY_PORT)),
            ] {
                let directory = TempDir::new();
                let path = directory.file("socket");
                let mut arguments = vec![path.as_str()];
                arguments.extend(more);
                let (server, address) = server(name, backend, &arguments);
                assert_eq!(address, path);
                assert_eq!(directory.names(), ["socket"]);
                server.end_with(signal);
                assert!(directory.names().is_empty(), "the socket is removed");
            }
        }
    });
}
