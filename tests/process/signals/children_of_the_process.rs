//! Programs that a process with signals starts.
#![cfg(target_os = "linux")]

use std::process::Command;

use super::raise;
use crate::common::{in_own_process, this_test, with_every_loop};

/// The signals of a program that is started now: which are blocked, ignored and caught.
fn signals_of_a_child() -> Vec<String> {
    let output = Command::new("cat").arg("/proc/self/status").output();
    let status = String::from_utf8(output.unwrap().stdout).unwrap();
    let names = ["SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"];
    let of_interest = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let lines: Vec<_> = status
        .lines()
        .filter(of_interest)
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), names.len(), "{status}");
    lines
}

#[test]
fn a_started_program_has_an_empty_mask_and_default_dispositions() {
    in_own_process(this_test!(), || {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            // A shell that runs the tests in the background has them ignored.
            // SAFETY: the default action runs no code of the program's.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        let before = signals_of_a_child();
        assert!(
            before.contains(&"SigBlk:\t0000000000000000".to_owned()),
            "{before:?}"
        );
        assert!(
            before.contains(&"SigCgt:\t0000000000000000".to_owned()),
            "{before:?}"
        );
        with_every_loop(|event_loop| {
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGCHLD, libc::SIGPIPE] {
                event_loop.on_signal(signal, |_, _| Ok(())).unwrap();
            }
            assert_eq!(signals_of_a_child(), before);
            // From within a callback as well, during which nothing is blocked either.
            event_loop
                .on_signal(libc::SIGUSR1, {
                    let before = before.clone();
                    move |event_loop, _| {
                        assert_eq!(signals_of_a_child(), before);
                        event_loop.stop();
                        Ok(())
                    }
                })
                .unwrap();
            raise(libc::SIGUSR1);
            let _hold = event_loop.hold();
            event_loop.run().unwrap();
        });
    });
}
