//! Signals that end a program.

use std::io;
use std::time::Duration;

use super::raise;
use crate::common::{in_own_process, this_test, with_every_loop};
use fdloop::{Ended, EventLoop};

#[test]
fn further_signals_do_not_break_off_a_program_that_stops() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            event_loop.stop_on(&[libc::SIGINT, libc::SIGTERM]).unwrap();
            let stopped = event_loop.keep(0);
            event_loop.call_later(Duration::from_secs(3600), |_| Ok(()));
            event_loop.call_later(Duration::ZERO, move |event_loop| {
                raise(libc::SIGINT);
                raise(libc::SIGTERM);
                // The loop has taken the signals when this is called, and stops after this pass.
                event_loop.on_signal(libc::SIGTERM, move |event_loop, _| {
                    raise(libc::SIGINT);
                    *event_loop.state_mut(stopped).unwrap() += 1;
                    Ok(())
                })?;
                Ok(())
            });
            event_loop.run().unwrap();
            assert_eq!(event_loop.ended_by(), Some(Ended::Stopped));
            assert_eq!(event_loop.state(stopped), Some(&1));
            // While it cleans up.
            raise(libc::SIGTERM);
            raise(libc::SIGINT);
        });
        // When the loop is gone.
        raise(libc::SIGTERM);
    });
}

/// Forks a child that is the leader of its process group, and so can be stopped, and returns its
/// pid.
fn forked(act: impl FnOnce()) -> libc::pid_t {
    // SAFETY: no other thread runs: the harness of this process has only this test, and runs it
    // itself. The child ends without running the harness's exit handlers.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: the call takes numbers.
            unsafe { libc::setpgid(0, 0) };
            act();
            // SAFETY: it takes a number and does not return.
            unsafe { libc::_exit(7) }
        }
        child => {
            assert!(child > 0, "{}", io::Error::last_os_error());
            child
        }
    }
}

#[track_caller]
fn wait(child: libc::pid_t) -> libc::c_int {
    let mut status = -1;
    // SAFETY: the pointer is to an int that is exclusively borrowed for the call.
    let waited = unsafe { libc::waitpid(child, &raw mut status, libc::WUNTRACED) };
    assert_eq!(waited, child, "{}", io::Error::last_os_error());
    status
}

#[test]
fn a_callback_can_perform_the_default_action() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            for signal in [libc::SIGTERM, libc::SIGTSTP, libc::SIGWINCH] {
                event_loop
                    .on_signal(signal, |event_loop, info| {
                        info.perform_default()?;
                        event_loop.stop();
                        Ok(())
                    })
                    .unwrap();
            }
            let after = |event_loop: &mut EventLoop, signal| {
                forked(|| {
                    event_loop.after_fork().unwrap();
                    event_loop.call_later(Duration::from_secs(3600), |_| Ok(()));
                    // Also after it was performed once.
                    for _ in 0..2 {
                        raise(signal);
                        event_loop.run().unwrap();
                    }
                })
            };
            let status = wait(after(event_loop, libc::SIGTERM));
            assert!(libc::WIFSIGNALED(status), "{status}");
            assert_eq!(libc::WTERMSIG(status), libc::SIGTERM);

            let child = after(event_loop, libc::SIGTSTP);
            for _ in 0..2 {
                let status = wait(child);
                assert!(libc::WIFSTOPPED(status), "{status}");
                assert_eq!(libc::WSTOPSIG(status), libc::SIGTSTP);
                // SAFETY: the call takes numbers; the child was not reaped.
                assert_eq!(unsafe { libc::kill(child, libc::SIGCONT) }, 0);
            }
            let status = wait(child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7);

            let status = wait(after(event_loop, libc::SIGWINCH));
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7);
        });
    });
}
