//! The number of system calls of an idle loop: one a wait. The system is asked, by
//! way of strace; where that cannot be had, nothing is shown here.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::{Probe, this_test, traced_on_every_backend};
use fdloop::{Backend, Dispatcher, EventLoop};

const WAITS: usize = 50;

/// Channels enough for the pollers to take an interest in who is active.
const CHANNELS: usize = 100;

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

/// Returns the number of waits in a trace that timed out.
fn timeouts_in(trace: &str) -> usize {
    let timed_out = |line: &&str| {
        line.ends_with("= 0 (Timeout)") || line.contains("epoll_") && line.ends_with("= 0")
    };
    trace.lines().filter(timed_out).count()
}

#[test]
fn an_idle_loop_makes_one_system_call_a_wait() {
    traced_on_every_backend(
        this_test!(),
        "poll,ppoll,select,pselect6,epoll_wait,epoll_pwait,epoll_pwait2",
        be_idle,
        |trace| {
            let timeouts = timeouts_in(trace);
            // When the load ends, the loop and its poller find out by asking in vain: the loop in a
            // pass of the active channels, and the poller for those that were active alone, at
            // first without blocking, for the rest of a period and for another one; and for all in
            // between, and again without blocking. The standard library asks once at the start.
            assert!(
                (WAITS..=WAITS + 7).contains(&timeouts),
                "{timeouts} calls that timed out, for {WAITS} waits"
            );
        },
    );
}
