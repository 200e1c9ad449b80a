//! Exits, and their callbacks.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::ways::{in_both_ways, in_each_way};
use super::{End, Exits, open_descriptors, shell, waiting};
use crate::common::{on_every_backend, this_test, turn_until, with_every_loop};
use fdloop::{Ended, Error, EventLoop, IntoChild};

#[test]
fn a_callback_gets_the_exit_code_or_the_signal() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let scripts = [
                ("0", "exit 0", End::Code(0)),
                ("1", "exit 77", End::Code(77)),
                ("2", "kill -s TERM $$", End::Signal(libc::SIGTERM)),
                ("3", "kill -s KILL $$", End::Signal(libc::SIGKILL)),
            ];
            for (name, script, _) in scripts {
                let recorder = exits.recorder(name);
                event_loop.on_child_exit(shell(script), recorder).unwrap();
            }
            event_loop.run().unwrap();
            assert_eq!(event_loop.ended_by(), Some(Ended::NoWork));
            exits.check(&scripts.map(|(name, _, end)| (name, end)));
        });
    });
}

#[test]
fn a_child_is_named_by_its_value_or_its_id() {
    fn follow(event_loop: &mut EventLoop, exits: &Exits, name: &str, child: impl IntoChild) -> u32 {
        let id = event_loop
            .on_child_exit(child, exits.recorder(name))
            .unwrap();
        id.pid()
    }
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (one, two, three) = (shell("exit 1"), shell("exit 2"), shell("exit 3"));
            let ids = [one.id(), two.id(), three.id()];
            let pids = [
                follow(event_loop, &exits, "1", one),
                follow(event_loop, &exits, "2", two.id()),
                follow(event_loop, &exits, "3", three.id() as libc::pid_t),
            ];
            assert_eq!(pids, ids);
            event_loop.run().unwrap();
            exits.check(&[
                ("1", End::Code(1)),
                ("2", End::Code(2)),
                ("3", End::Code(3)),
            ]);
        });
    });
}

#[test]
fn a_child_that_has_exited_before_is_reported() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let zombie = shell("exit 5");
            wait_without_reaping(zombie.id());
            event_loop
                .on_child_exit(zombie, exits.recorder("zombie"))
                .unwrap();
            // Nothing else is in the loop.
            event_loop.run().unwrap();
            exits.check(&[("zombie", End::Code(5))]);
            // A `Child` that was waited for knows the status.
            let mut waited = shell("exit 6");
            waited.wait().unwrap();
            event_loop
                .on_child_exit(waited, exits.recorder("waited"))
                .unwrap();
            event_loop.run().unwrap();
            exits.check(&[("waited", End::Code(6))]);
        });
    });
}

fn wait_without_reaping(pid: u32) {
    // SAFETY: all-zero is a valid value of this structure of integers.
    let mut info = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
    let flags = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: the call writes one structure to the pointer, which is to one that is exclusively
    // borrowed.
    let waited = unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, flags) };
    assert_eq!(waited, 0, "{}", io::Error::last_os_error());
}

#[test]
fn children_that_exit_at_once_are_all_reported() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (children, ends): (Vec<_>, Vec<_>) = [waiting(1), waiting(2)].into_iter().unzip();
            for child in &children {
                event_loop
                    .on_child_exit(child.id(), exits.recorder(child.id().to_string()))
                    .unwrap();
            }
            // The loop checks when both have exited.
            drop(ends);
            children
                .iter()
                .for_each(|child| wait_without_reaping(child.id()));
            event_loop.run().unwrap();
            let mut ends: Vec<_> = exits.take().into_iter().map(|(_, end)| end).collect();
            ends.sort();
            assert_eq!(ends, [End::Code(1), End::Code(2)]);
        });
    });
}

#[test]
fn a_thousand_short_children_are_all_reported() {
    const CHILDREN: usize = 1_000;
    in_both_ways(this_test!(), || {
        with_every_loop(|event_loop| {
            let before = open_descriptors();
            let exits = Exits::default();
            for number in 0..CHILDREN {
                let child = std::process::Command::new("true").spawn().unwrap();
                let recorder = exits.recorder(number.to_string());
                event_loop.on_child_exit(child, recorder).unwrap();
                // Some exit while others start.
                if number % 100 == 0 {
                    event_loop.turn(Some(Duration::ZERO)).unwrap();
                }
            }
            event_loop.run().unwrap();
            let exits = exits.take();
            assert_eq!(exits.len(), CHILDREN);
            assert!(exits.iter().all(|(_, end)| *end == End::Code(0)));
            assert_eq!(open_descriptors(), before);
        });
    });
}

#[test]
fn a_cancelled_child_is_not_reaped_and_does_not_keep_run_going() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (mut child, _stdin) = waiting(3);
            let before = open_descriptors();
            let id = event_loop
                .on_child_exit(child.id(), exits.recorder("cancelled"))
                .unwrap();
            assert!(event_loop.cancel(id) && !event_loop.cancel(id));
            assert!(!event_loop.signal_child(id, libc::SIGTERM).unwrap());
            event_loop.run().unwrap();
            // It can be followed again.
            let id = event_loop
                .on_child_exit(child.id(), exits.recorder("again"))
                .unwrap();
            event_loop.cancel(id);
            child.kill().unwrap();
            child.wait().unwrap();
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            assert!(exits.take().is_empty());
            assert_eq!(open_descriptors(), before);
        });
    });
}

#[test]
fn a_callback_may_cancel_another_that_is_due() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let ids = Rc::new(Cell::new(None));
            let calls = Rc::new(Cell::new(0));
            let (children, ends): (Vec<_>, Vec<_>) = [waiting(0), waiting(0)].into_iter().unzip();
            let followed = [0, 1].map(|this: usize| {
                let (ids, calls) = (Rc::clone(&ids), Rc::clone(&calls));
                let act = move |event_loop: &mut EventLoop, _| {
                    calls.set(calls.get() + 1);
                    let ids: [fdloop::ChildId; 2] = ids.get().unwrap();
                    assert!(!event_loop.cancel(ids[this]));
                    assert!(event_loop.cancel(ids[1 - this]));
                    Ok(())
                };
                event_loop.on_child_exit(children[this].id(), act).unwrap()
            });
            ids.set(Some(followed));
            drop(ends);
            children
                .iter()
                .for_each(|child| wait_without_reaping(child.id()));
            event_loop.run().unwrap();
            assert_eq!(calls.get(), 1);
        });
        // The second child of each is reaped as well, since it was due; or was not reaped.
        while reaped_one() {}
    });
}

/// Reaps a child that was left, if any.
fn reaped_one() -> bool {
    // SAFETY: null is permitted for the status.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) > 0 }
}

#[test]
fn a_child_gets_signals_as_long_as_it_was_not_reaped() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (child, _stdin) = waiting(1);
            let id = event_loop
                .on_child_exit(child, exits.recorder("child"))
                .unwrap();
            assert!(event_loop.signal_child(id, 0).unwrap());
            let error = event_loop.signal_child(id, 1_000).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert!(event_loop.signal_child(id, libc::SIGKILL).unwrap());
            event_loop.run().unwrap();
            exits.check(&[("child", End::Signal(libc::SIGKILL))]);
            assert!(!event_loop.signal_child(id, libc::SIGKILL).unwrap());
        });
    });
}

#[test]
fn errors_and_panics_of_a_callback_are_those_of_a_timer() {
    in_each_way(this_test!(), || {
        on_every_backend(|backend| {
            let builder = EventLoop::builder().backend(backend).catch_panics(true);
            let mut event_loop = builder.build().unwrap();
            let follow = |event_loop: &mut EventLoop, act: fn() -> fdloop::Result<()>| {
                event_loop
                    .on_child_exit(shell(""), move |_, _| act())
                    .unwrap();
            };
            follow(&mut event_loop, || Err("no good".into()));
            follow(&mut event_loop, || panic!("a test's own"));
            event_loop.run().unwrap();
            follow(&mut event_loop, || Err(Error::ExitNow));
            assert!(matches!(event_loop.run(), Err(Error::ExitNow)));
            let mut event_loop = EventLoop::with_backend(backend).unwrap();
            follow(&mut event_loop, || panic!("a test's own"));
            assert!(catch_unwind(AssertUnwindSafe(|| event_loop.run())).is_err());
            event_loop.run().unwrap();
        });
    });
}

#[test]
fn turns_report_children_too() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            event_loop
                .on_child_exit(shell("exit 9"), exits.recorder("turned"))
                .unwrap();
            assert!(event_loop.is_empty(), "a child is not a channel");
            event_loop.close_all(false).unwrap();
            turn_until(event_loop, "the child exits", || {
                !exits.0.borrow().is_empty()
            });
            exits.check(&[("turned", End::Code(9))]);
        });
    });
}
