//! Children made by fork(2), and a loop that goes on in one. Each test runs in a process of its
//! own, which has one thread when it forks.
#![allow(unsafe_code, reason = "fork")]

use std::io;
use std::time::Duration;

use crate::common::{in_own_process, on_every_backend, this_test};
use fdloop::EventLoop;

/// Forks, runs `act` in the child, and waits until the child has ended in order.
#[track_caller]
pub fn in_a_child(act: impl FnOnce()) {
    // SAFETY: the child drops what it has inherited, which frees memory and makes system
    // calls, and ends without unwinding into the harness or running its exit handlers. No
    // other thread runs: the harness of this process has only this test, and runs it itself.
    match unsafe { libc::fork() } {
        0 => {
            act();
            // SAFETY: it takes a number and does not return.
            unsafe { libc::_exit(0) }
        }
        child => {
            assert!(child > 0, "{}", io::Error::last_os_error());
            let mut status = -1;
            // SAFETY: the pointer is to an int that is exclusively borrowed for the call.
            let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!((ended, status), (child, 0));
        }
    }
}

#[test]
fn after_fork_parent_and_child_have_remotes_of_their_own() {
    in_own_process(this_test!(), fork_and_go_on);
}

fn fork_and_go_on() {
    const ZERO: Option<Duration> = Some(Duration::ZERO);
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let remote = event_loop.remote().unwrap();
        let calls = event_loop.keep(0);
        let count = move |event_loop: &mut EventLoop| {
            *event_loop.state_mut(calls).unwrap() += 1;
            Ok(())
        };
        // The parent has not made this call yet, and makes it itself.
        remote.call(count).unwrap();
        in_a_child(|| {
            event_loop.after_fork().unwrap();
            assert_eq!(event_loop.turn(ZERO).unwrap(), 0);
            assert_eq!(event_loop.state(calls), Some(&0));
            for expected in 1..=3 {
                remote.call(count).unwrap();
                event_loop.turn(None).unwrap();
                assert_eq!(event_loop.state(calls), Some(&expected));
            }
            event_loop.remote().unwrap().wake().unwrap();
        });
        assert_eq!(event_loop.turn(ZERO).unwrap(), 1);
        assert_eq!(event_loop.state(calls), Some(&1));
        assert_eq!(
            event_loop.turn(ZERO).unwrap(),
            0,
            "the child has not woken it"
        );
        remote.call(count).unwrap();
        event_loop.turn(None).unwrap();
        assert_eq!(event_loop.state(calls), Some(&2));
    });
}
