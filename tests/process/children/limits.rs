//! Descriptors of children: one for each child, without one if none is left, and closed by other
//! code.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::fd::AsRawFd;

use super::ways::in_each_way;
use super::{End, Exits, open_descriptors, waiting};
use crate::common::{in_own_process, this_test, with_every_loop};

#[test]
fn a_child_takes_one_descriptor_at_most() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let before = open_descriptors();
            let exits = Exits::default();
            let mut ends = Vec::new();
            let ids = ["1", "2"].map(|name| {
                let (child, stdin) = waiting(1);
                ends.push(stdin);
                event_loop
                    .on_child_exit(child, exits.recorder(name))
                    .unwrap()
            });
            assert!(open_descriptors() <= before + ends.len() + ids.len());
            for id in ids {
                event_loop.signal_child(id, libc::SIGKILL).unwrap();
            }
            event_loop.run().unwrap();
            assert_eq!(exits.take().len(), ids.len());
            drop(ends);
            assert_eq!(open_descriptors(), before);
        });
    });
}

#[test]
fn a_child_is_reported_when_no_descriptor_is_left_for_it() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            // The descriptors that SIGCHLD needs.
            event_loop.on_signal(libc::SIGUSR1, |_, _| Ok(())).unwrap();
            let exits = Exits::default();
            let (child, stdin) = waiting(8);
            let mut all = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                all.push(file);
            }
            event_loop
                .on_child_exit(child, exits.recorder("child"))
                .unwrap();
            assert!(File::open("/dev/null").is_err(), "no descriptor is left");
            drop(stdin);
            event_loop.run().unwrap();
            exits.check(&[("child", End::Code(8))]);
        });
    });
}

#[test]
fn a_child_is_reported_after_other_code_has_closed_its_descriptor() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let (child, _stdin) = waiting(1);
            let next = File::open("/dev/null").unwrap().as_raw_fd();
            let id = event_loop
                .on_child_exit(child, exits.recorder("child"))
                .unwrap();
            // SAFETY: the loop finds out that its descriptor is gone, which is the test.
            assert_eq!(unsafe { libc::close(next) }, 0);
            // Also before the loop finds out.
            assert!(event_loop.signal_child(id, libc::SIGTERM).unwrap());
            event_loop.run().unwrap();
            exits.check(&[("child", End::Signal(libc::SIGTERM))]);
        });
    });
}
