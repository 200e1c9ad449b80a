//! Errors of accept(2) that concern one connection, or pass, never end a listener and
//! never keep the loop awake. strace makes the system return them; where that cannot be
//! had, nothing is shown here.
#![cfg(target_os = "linux")]

use std::env;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Probe, has_strace, on_every_backend, only, this_test};
use fdloop::{Dispatcher, EventLoop};

/// Set for the process whose calls fail.
const CHILD: &str = "FDLOOP_ACCEPT_FAILS";

/// Connects to a listener, of which accept(2) fails as strace has it, and sees to it
/// that it lives on and sleeps.
fn listen_in_vain() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let (probe, seen) = Probe::new();
        let listener = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
        let port = listener.local_addr().unwrap().port().unwrap();
        let id = event_loop.add(listener).unwrap();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let timeout = Duration::from_millis(20);
        let mut awake = 0;
        for _ in 0..30 {
            let begin = Instant::now();
            event_loop.turn(Some(timeout)).unwrap();
            awake += usize::from(begin.elapsed() < timeout);
        }
        assert!(seen.events().is_empty(), "{:?}", seen.events());
        assert!(event_loop.get(id).unwrap().accepting());
        if env::var(CHILD).unwrap() == "EPERM" {
            assert!(awake <= 15, "{awake} of 30 passes did not sleep");
        }
    });
}

#[test]
fn an_error_that_passes_neither_ends_a_listener_nor_spins() {
    if env::var_os(CHILD).is_some() {
        return listen_in_vain();
    }
    if !has_strace() {
        return;
    }
    for errno in [
        "EPERM",
        "ECONNABORTED",
        "ECONNRESET",
        "ETIMEDOUT",
        "EPROTO",
        "ENONET",
        "ENETDOWN",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENOSR",
        "ESOCKTNOSUPPORT",
        "EPROTONOSUPPORT",
    ] {
        let traced = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null"])
            .args(["-e", "trace=accept4"])
            .args(["-e", &format!("inject=accept4:error={errno}")])
            .arg(env::current_exe().unwrap())
            .args(only(this_test!()))
            .env(CHILD, errno)
            .stdin(Stdio::null())
            .output();
        let traced = traced.unwrap();
        let stderr = String::from_utf8_lossy(&traced.stderr);
        let stdout = String::from_utf8_lossy(&traced.stdout);
        assert!(traced.status.success(), "{errno}: {stdout}{stderr}");
        assert!(stdout.contains("1 passed"), "{errno}: {stdout}");
    }
}
