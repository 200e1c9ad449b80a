//! Children that other code waits for, and processes that are not children.

use std::io;

use super::ways::in_each_way;
use super::{End, Exits, shell, waiting};
#[cfg(target_os = "linux")]
use crate::common::in_own_process;
use crate::common::{this_test, with_every_loop};

#[test]
fn a_child_that_the_loop_was_not_told_of_is_left_alone() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let mut others = [shell("exit 40"), shell("exit 41")];
            event_loop
                .on_child_exit(shell("sleep 0.1; exit 1"), exits.recorder("own"))
                .unwrap();
            event_loop.run().unwrap();
            exits.check(&[("own", End::Code(1))]);
            for (other, code) in others.iter_mut().zip(40..) {
                assert_eq!(other.wait().unwrap().code(), Some(code));
            }
        });
    });
}

#[test]
fn the_status_of_a_child_that_other_code_reaps_is_an_error() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (mut child, _stdin) = waiting(1);
            event_loop
                .on_child_exit(child.id(), exits.recorder("lost"))
                .unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            event_loop.run().unwrap();
            exits.check(&[("lost", End::Lost(Some(libc::ECHILD)))]);
        });
    });
}

#[test]
fn a_process_that_is_not_a_child_is_refused() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let mut reaped = shell("exit 0");
            reaped.wait().unwrap();
            let refused = [
                (reaped.id(), io::ErrorKind::NotFound),
                (1, io::ErrorKind::NotFound),
                (std::process::id(), io::ErrorKind::NotFound),
                (0, io::ErrorKind::InvalidInput),
                (u32::MAX, io::ErrorKind::InvalidInput),
            ];
            for (pid, kind) in refused {
                let error = event_loop.on_child_exit(pid, |_, _| Ok(())).unwrap_err();
                assert_eq!(error.kind(), kind, "{error}");
            }
            for pid in [-1, libc::pid_t::MIN] {
                let error = event_loop.on_child_exit(pid, |_, _| Ok(())).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            }
            event_loop.run().unwrap();
        });
    });
}

#[test]
fn a_second_callback_of_a_child_is_refused() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (child, stdin) = waiting(1);
            let pid = child.id();
            event_loop
                .on_child_exit(child, exits.recorder("first"))
                .unwrap();
            let error = event_loop.on_child_exit(pid, |_, _| Ok(())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
            drop(stdin);
            event_loop.run().unwrap();
            exits.check(&[("first", End::Code(1))]);
        });
    });
}

#[test]
#[cfg(target_os = "linux")]
fn the_status_is_lost_if_the_process_ignores_sigchld() {
    in_own_process(this_test!(), || {
        // SAFETY: it changes a disposition, which no other code of this process does meanwhile.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (child, stdin) = waiting(1);
            event_loop
                .on_child_exit(child, exits.recorder("lost"))
                .unwrap();
            drop(stdin);
            event_loop.run().unwrap();
            exits.check(&[("lost", End::Lost(Some(libc::ECHILD)))]);
        });
    });
}
