//! Children after fork(2): they stay the parent's.

use super::ways::in_each_way;
use super::{End, Exits, shell, waiting};
use crate::common::{this_test, with_every_loop};
use crate::forks::in_a_child;

#[test]
fn after_fork_children_are_left_to_the_parent() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (mut child, _stdin) = waiting(4);
            event_loop
                .on_child_exit(child.id(), exits.recorder("parent's"))
                .unwrap();
            // One whose callback is due.
            let mut known = shell("exit 5");
            known.wait().unwrap();
            event_loop
                .on_child_exit(known, exits.recorder("due"))
                .unwrap();
            in_a_child(|| {
                event_loop.after_fork().unwrap();
                event_loop.run().unwrap(); // returns at once
                assert!(exits.take().is_empty());
                // It may have children of its own.
                event_loop
                    .on_child_exit(shell("exit 6"), exits.recorder("own"))
                    .unwrap();
                event_loop.run().unwrap();
                exits.check(&[("own", End::Code(6))]);
            });
            child.kill().unwrap();
            event_loop.run().unwrap();
            exits.check(&[
                ("due", End::Code(5)),
                ("parent's", End::Signal(libc::SIGKILL)),
            ]);
        });
    });
}
