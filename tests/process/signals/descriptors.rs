//! The descriptor through which signals arrive.

#[cfg(target_os = "linux")]
use std::path::Path;

use super::{Calls, open_descriptors, raise};
#[cfg(target_os = "linux")]
use crate::common::turn_until;
use crate::common::{in_own_process, on_every_backend, this_test, turn_once, with_every_loop};
use fdloop::{Ended, EventLoop};

#[test]
fn signals_take_one_descriptor_and_give_it_back() {
    in_own_process(this_test!(), || {
        on_every_backend(|backend| {
            let before = open_descriptors();
            let mut event_loop = EventLoop::with_backend(backend).unwrap();
            let own = open_descriptors();
            let one = event_loop.on_signal(libc::SIGUSR1, |_, _| Ok(())).unwrap();
            let with_signals = open_descriptors();
            assert!(with_signals > own);
            let other = event_loop.on_signal(libc::SIGUSR2, |_, _| Ok(())).unwrap();
            assert_eq!(open_descriptors(), with_signals, "one for all signals");
            assert!(event_loop.cancel(one) && event_loop.cancel(other));
            assert_eq!(open_descriptors(), own);
            // A refused one leaves nothing either.
            event_loop.on_signal(1_000, |_, _| Ok(())).unwrap_err();
            assert_eq!(open_descriptors(), own);
            event_loop.on_signal(libc::SIGUSR1, |_, _| Ok(())).unwrap();
            drop(event_loop);
            assert_eq!(open_descriptors(), before);
            raise(libc::SIGUSR1);
        });
    });
}

#[test]
fn signals_neither_keep_run_going_nor_count_as_channels() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            event_loop
                .on_signal(libc::SIGUSR1, calls.recorder("called"))
                .unwrap();
            assert!(event_loop.is_empty());
            event_loop.run().unwrap();
            assert_eq!(event_loop.ended_by(), Some(Ended::NoWork));
            event_loop.close_all(false).unwrap();
            raise(libc::SIGUSR1);
            turn_once(event_loop);
            assert_eq!(calls.names(), ["called"]);
        });
    });
}

#[test]
#[cfg(target_os = "linux")]
fn signals_still_arrive_after_other_code_has_closed_the_descriptor() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            let numbers = || -> Vec<i32> {
                let entries = std::fs::read_dir("/proc/self/fd").unwrap();
                let names = entries.map(|entry| entry.unwrap().file_name());
                let numbers = names.map(|name| name.to_str().unwrap().parse().unwrap());
                let mut numbers: Vec<_> = numbers.collect();
                // Without that of the directory.
                numbers.retain(|number| Path::new(&format!("/proc/self/fd/{number}")).exists());
                numbers
            };
            let before = numbers();
            event_loop
                .on_signal(libc::SIGUSR1, calls.recorder("called"))
                .unwrap();
            let mut new = numbers();
            new.retain(|number| !before.contains(number));
            assert_eq!(new.len(), 1, "{new:?}");
            // SAFETY: the loop finds out that its descriptor is gone, which is the test.
            assert_eq!(unsafe { libc::close(new[0]) }, 0);
            // Nothing wakes the loop for this one.
            raise(libc::SIGUSR1);
            let arrived = || !calls.0.borrow().is_empty();
            turn_until(event_loop, "the closed descriptor is found", arrived);
            assert_eq!(calls.names(), ["called"]);
            raise(libc::SIGUSR1);
            turn_once(event_loop);
            assert_eq!(calls.names(), ["called"]);
        });
    });
}
