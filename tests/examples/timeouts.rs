//! `--timeout` of the examples.

use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};

use crate::common::PATIENCE;
use crate::common::programs::{run, server, with_each_backend};

/// Connects and says nothing. Returns all that comes until the server closes.
fn hear(address: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}

#[test]
fn the_servers_close_silent_connections() {
    with_each_backend(|backend| {
        let timeout = ["--timeout", "0.2"];
        let (_echo, address) = server("echo_server", backend, &["--timeout", "0.2", "127.0.0.1:0"]);
        assert_eq!(hear(&address).unwrap(), b"");
        if cfg!(feature = "coroutines") {
            let (_echo, at) = server(
                "coroutine_echo",
                backend,
                &["--timeout", "0.2", "127.0.0.1:0"],
            );
            assert_eq!(hear(&at).unwrap(), b"");
        }
        let (_chat, at) = server("chat_server", backend, &["--timeout", "0.2", "127.0.0.1:0"]);
        assert!(hear(&at).unwrap().starts_with(b"* welcome"));
        let (_sink, at) = server("smtp_sink", backend, &["--timeout", "0.2", "127.0.0.1:0"]);
        let heard = String::from_utf8(hear(&at).unwrap()).unwrap();
        let codes: Vec<_> = heard.lines().map(|line| &line[..3]).collect();
        assert_eq!(codes, ["220", "421"], "{heard}");
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = silent.local_addr().unwrap().to_string();
        let arguments = [timeout[0], timeout[1], "127.0.0.1:0", &remote];
        let (_forward, at) = server("port_forward", backend, &arguments);
        // Both sides are silent. The one whose time is over first resets the other, which must
        // not take what it got for all.
        match hear(&at) {
            Ok(heard) => assert_eq!(heard, b""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    });
}

#[test]
fn http_client_gives_up() {
    with_each_backend(|backend| {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let ended = run("http_client", backend, &["--timeout", "0.2", &url]);
        assert!(
            ended.stderr.contains("silent for the time of --timeout"),
            "{ended:?}"
        );
    });
}

#[test]
fn a_timeout_that_is_no_time_is_refused() {
    with_each_backend(|backend| {
        for time in ["0", "-1", "soon", "inf", "NaN", ""] {
            let ended = run("echo_server", backend, &["--timeout", time]);
            assert!(
                ended.stderr.contains("is not a number of seconds above 0"),
                "{ended:?}"
            );
        }
    });
}
