//! Children made by fork(2), and a loop that goes on in one. Each test runs in a process of its
//! own, which has one thread when it forks.
#![allow(unsafe_code, reason = "fork")]

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::{Probe, in_own_process, on_every_backend, settle, this_test, turn_until};
use fdloop::{Dispatcher, EventLoop};

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

#[test]
fn a_child_does_with_its_loop_what_it_likes_and_the_parents_goes_on() {
    in_own_process(this_test!(), fork_and_change);
}

fn fork_and_change() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let channel = Dispatcher::new(ours, probe).unwrap();
        let id = event_loop.add(channel).unwrap();
        settle(&mut event_loop);
        // A child that closes its channels without `after_fork`, as one that is about to exit does.
        in_a_child(|| {
            seen.wants_write.set(true);
            let _ = event_loop.get_mut(id);
            event_loop.close_all(false).unwrap();
        });
        // A child that goes on, and serves the same socket and one of its own.
        in_a_child(|| {
            event_loop.after_fork().unwrap();
            let (own, mut peer) = UnixStream::pair().unwrap();
            let (probe, own_seen) = Probe::new();
            let own = Dispatcher::new(own, probe).unwrap();
            event_loop.add(own).unwrap();
            peer.write_all(b"own").unwrap();
            theirs.write_all(b"child").unwrap();
            turn_until(&mut event_loop, "both", || {
                own_seen.received() == b"own" && seen.received() == b"child"
            });
            assert!(event_loop.close(id).unwrap());
        });
        theirs.write_all(b"parent").unwrap();
        turn_until(&mut event_loop, "the parent reads", || {
            seen.received() == b"parent"
        });
        // A child that does not call `after_fork`: channels that it adds wake only itself.
        in_a_child(|| {
            let (own, mut peer) = UnixStream::pair().unwrap();
            let (probe, own_seen) = Probe::new();
            event_loop
                .add(Dispatcher::new(own, probe).unwrap())
                .unwrap();
            peer.write_all(b"own").unwrap();
            turn_until(&mut event_loop, "its own", || own_seen.heard("read"));
        });
        assert_eq!(event_loop.turn(Some(Duration::ZERO)).unwrap(), 0);
        assert_eq!(seen.received(), b"parent");
    });
}
