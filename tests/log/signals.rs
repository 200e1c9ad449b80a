//! Log messages about callbacks of signals and children. The handlers stay, but no other test of
//! this binary has such signals.
#![allow(unsafe_code, reason = "raising a signal")]

#[cfg(feature = "children")]
use std::process::Command;

use crate::common::with_every_loop;
use crate::logged_by;
use fdloop::Level;

#[test]
fn an_error_of_a_callback_names_the_signal() {
    with_every_loop(|event_loop| {
        event_loop
            .on_signal(libc::SIGUSR2, |_, _| Err("no good".into()))
            .unwrap();
        // SAFETY: the call takes a number, and the signal has a handler.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR2) }, 0);
        let logged = logged_by(Level::Error, || {
            event_loop.turn(None).unwrap();
        });
        let text = "uncaptured error of a callback of SIGUSR2: no good".to_owned();
        assert_eq!(logged, [(Level::Error, text)]);
    });
}

#[test]
#[cfg(feature = "children")]
fn an_error_of_a_callback_names_the_child() {
    with_every_loop(|event_loop| {
        let child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        event_loop
            .on_child_exit(child, |_, _| Err("no good".into()))
            .unwrap();
        let logged = logged_by(Level::Error, || event_loop.run().unwrap());
        let text = format!("uncaptured error of the callback of the child process {pid}: no good");
        assert_eq!(logged, [(Level::Error, text)]);
    });
}
