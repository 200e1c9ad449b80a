//! How many system calls an idle loop makes: one a wait. The system is asked, by
//! way of strace; where that cannot be had, nothing is shown here.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stderr, reason = "a test says what it skips")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use common::{Probe, TempDir, on_every_backend};
use fdloop::{Backend, Dispatcher, EventLoop};

/// Set for the process that is looked at: the backend that it uses.
const CHILD: &str = "FDLOOP_IDLE_BACKEND";

const WAITS: usize = 50;

/// Channels enough for the pollers to take an interest in who is active.
const CHANNELS: usize = 100;

fn has_strace() -> bool {
    let traced = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    traced.is_ok_and(|output| output.status.success())
}

/// Under load first, and then idle for so many waits.
fn be_idle(backend: Backend) {
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let mut peers = Vec::new();
    for _ in 0..CHANNELS {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (probe, _) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        peers.push(theirs);
    }
    for _ in 0..200 {
        peers[0].write_all(b"x").unwrap();
        event_loop.turn(None).unwrap();
    }
    for _ in 0..WAITS {
        let served = event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(served, 0);
    }
}

/// What each wait that timed out looks like in a trace.
fn timeouts_in(trace: &str) -> usize {
    trace.matches("= 0 (Timeout)").count()
}

#[test]
fn an_idle_loop_makes_one_system_call_a_wait() {
    if let Ok(backend) = std::env::var(CHILD) {
        return be_idle(backend.parse().unwrap());
    }
    if !has_strace() {
        eprintln!("skipped: there is no strace, or it may not trace");
        return;
    }
    let directory = TempDir::new();
    on_every_backend(|backend| {
        let trace = directory.join(backend.to_string());
        let status = Command::new("strace")
            .args(["-f", "-e", "trace=poll,ppoll,select,pselect6"])
            .arg("-o")
            .arg(&trace)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "an_idle_loop_makes_one_system_call_a_wait"])
            .env(CHILD, backend.to_string())
            .output()
            .unwrap()
            .status;
        assert!(status.success());
        let text = fs::read_to_string(&trace).unwrap();
        let timeouts = timeouts_in(&text);
        // When the load ends, the pollers find out by asking in vain: those that
        // were active alone, and then all, once each. Something else of the process
        // may ask once as well.
        assert!(
            (WAITS..=WAITS + 3).contains(&timeouts),
            "{timeouts} calls that timed out, for {WAITS} waits"
        );
    });
}
