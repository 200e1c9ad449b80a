//! Signals after fork(2): parent and child have their own.

use super::{AT_ONCE, Calls, raise};
use crate::common::{in_own_process, this_test, turn_once, with_every_loop};
use crate::forks::in_a_child;

#[test]
fn after_fork_parent_and_child_have_signals_of_their_own() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            for (signal, name) in [(libc::SIGUSR1, "one"), (libc::SIGUSR2, "two")] {
                event_loop.on_signal(signal, calls.recorder(name)).unwrap();
            }
            // The parent's, which the loop has not taken.
            raise(libc::SIGUSR1);
            in_a_child(|| {
                // The child's own, from before it has a descriptor of its own.
                raise(libc::SIGUSR2);
                event_loop.after_fork().unwrap();
                turn_once(event_loop);
                assert_eq!(calls.names(), ["two"]);
                raise(libc::SIGUSR1);
                raise(libc::SIGUSR2);
                turn_once(event_loop);
                assert_eq!(calls.names(), ["one", "two"]);
                assert_eq!(event_loop.turn(AT_ONCE).unwrap(), 0);
                // For the parent to see that it is not woken.
                raise(libc::SIGUSR2);
            });
            turn_once(event_loop);
            assert_eq!(calls.names(), ["one"]);
            assert_eq!(event_loop.turn(AT_ONCE).unwrap(), 0);
        });
    });
}

#[test]
fn a_child_that_does_not_use_the_loop_does_not_wake_its_parent() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            event_loop
                .on_signal(libc::SIGTERM, calls.recorder("called"))
                .unwrap();
            in_a_child(|| raise(libc::SIGTERM));
            assert_eq!(event_loop.turn(AT_ONCE).unwrap(), 0);
            assert!(calls.take().is_empty());
        });
    });
}

#[test]
fn a_child_of_a_child_has_signals_of_its_own() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            event_loop
                .on_signal(libc::SIGUSR1, calls.recorder("called"))
                .unwrap();
            in_a_child(|| {
                event_loop.after_fork().unwrap();
                in_a_child(|| {
                    event_loop.after_fork().unwrap();
                    raise(libc::SIGUSR1);
                    turn_once(event_loop);
                    assert_eq!(calls.names(), ["called"]);
                });
                assert_eq!(event_loop.turn(AT_ONCE).unwrap(), 0);
                raise(libc::SIGUSR1);
                turn_once(event_loop);
                assert_eq!(calls.names(), ["called"]);
            });
            assert_eq!(event_loop.turn(AT_ONCE).unwrap(), 0);
        });
    });
}
