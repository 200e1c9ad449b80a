//! Callbacks: their order, their arguments and their ends.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use super::{AT_ONCE, Calls, raise};
use crate::common::{
    PATIENCE, in_own_process, on_every_backend, this_test, turn_once, turn_until, with_every_loop,
};
use fdloop::{Error, EventLoop, SignalId};

/// Every signal that a program can have a callback for.
fn catchable() -> Vec<i32> {
    let signals = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGABRT,
        libc::SIGSYS,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGURG,
        libc::SIGTSTP,
        libc::SIGCONT,
        libc::SIGCHLD,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGIO,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGWINCH,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];
    #[cfg(target_os = "linux")]
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    #[cfg(not(target_os = "linux"))]
    let real_time = [];
    signals.into_iter().chain(real_time).collect()
}

/// Blocks signals in this thread, as the program that starts a test may have. Returns those that
/// were blocked before.
fn block(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: all-zero is a valid value of a set, which is initialized before it is read.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut before = set;
    // SAFETY: the call gets a pointer to a set that outlives it.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: as above.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    // SAFETY: as above, with two sets.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
    before
}

fn is_blocked(signal: i32) -> bool {
    let mask = block(&[]);
    // SAFETY: the set was written by pthread_sigmask.
    unsafe { libc::sigismember(&raw const mask, signal) == 1 }
}

#[test]
fn a_signal_that_the_program_was_started_with_blocked_arrives_nevertheless() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            block(&[libc::SIGWINCH, libc::SIGUSR1]);
            let calls = Calls::default();
            let recorder = calls.recorder("resized");
            event_loop.on_signal(libc::SIGWINCH, recorder).unwrap();
            assert!(!is_blocked(libc::SIGWINCH));
            assert!(is_blocked(libc::SIGUSR1), "it has no callback");
            raise(libc::SIGWINCH);
            turn_once(event_loop);
            assert_eq!(calls.names(), ["resized"]);
        });
    });
}

#[test]
fn every_catchable_signal_calls_its_callbacks_in_order() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            let mut ids = Vec::new();
            for signal in catchable() {
                for name in ["first", "second"] {
                    ids.push(event_loop.on_signal(signal, calls.recorder(name)).unwrap());
                }
            }
            for signal in catchable() {
                raise(signal);
                assert_eq!(turn_once(event_loop), 1, "signal {signal}");
                let called = calls.take();
                let names: Vec<_> = called.iter().map(|(name, _)| *name).collect();
                assert_eq!(names, ["first", "second"], "signal {signal}");
                for (_, info) in called {
                    assert_eq!(info.signal(), signal);
                    if cfg!(target_os = "linux") {
                        let sender = info.sender().expect("raise(3) tells the sender");
                        // SAFETY: it takes nothing and cannot fail.
                        let uid = unsafe { libc::getuid() };
                        assert_eq!((sender.pid(), sender.uid()), (std::process::id(), uid));
                    }
                }
                assert_eq!(event_loop.turn(AT_ONCE).unwrap(), 0, "signal {signal}");
            }
            assert!(calls.take().is_empty());
            for id in ids {
                assert!(event_loop.cancel(id) && !event_loop.cancel(id));
            }
        });
    });
}

#[test]
fn signals_that_cannot_be_caught_are_refused() {
    with_every_loop(|event_loop| {
        let refused = [
            (libc::SIGKILL, "SIGKILL (signal 9)"),
            (libc::SIGSTOP, "SIGSTOP"),
            (libc::SIGSEGV, "SIGSEGV"),
            (libc::SIGBUS, "SIGBUS"),
            (libc::SIGFPE, "SIGFPE"),
            (libc::SIGILL, "SIGILL"),
            (libc::SIGTRAP, "SIGTRAP"),
            (0, "signal 0"),
            (-1, "signal -1"),
            (1_000, "signal 1000"),
            (i32::MIN, "signal -2147483648"),
        ];
        for (signal, name) in refused {
            let error = event_loop.on_signal(signal, |_, _| Ok(())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(name), "{error}");
            assert!(event_loop.stop_on(&[signal]).is_err());
        }
    });
}

#[test]
fn a_callback_may_cancel_itself_and_others_and_add_more() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            let ids: Rc<Cell<Option<[SignalId; 2]>>> = Rc::default();
            let (known, recorder) = (Rc::clone(&ids), calls.clone());
            let own = event_loop
                .on_signal(libc::SIGUSR1, move |event_loop, info| {
                    recorder.0.borrow_mut().push(("own", info));
                    for id in known.get().unwrap() {
                        assert!(event_loop.cancel(id));
                        assert!(!event_loop.cancel(id));
                    }
                    event_loop.on_signal(libc::SIGUSR1, recorder.recorder("added"))?;
                    Ok(())
                })
                .unwrap();
            let next = event_loop.on_signal(libc::SIGUSR1, calls.recorder("cancelled"));
            event_loop
                .on_signal(libc::SIGUSR1, calls.recorder("last"))
                .unwrap();
            ids.set(Some([own, next.unwrap()]));
            raise(libc::SIGUSR1);
            turn_once(event_loop);
            assert_eq!(calls.names(), ["own", "last"]);
            raise(libc::SIGUSR1);
            turn_once(event_loop);
            assert_eq!(calls.names(), ["last", "added"]);
        });
    });
}

#[test]
fn the_id_of_another_loop_cancels_nothing() {
    in_own_process(this_test!(), || {
        let mut one = EventLoop::new().unwrap();
        let mut other = EventLoop::new().unwrap();
        let calls = Calls::default();
        let id = one.on_signal(libc::SIGUSR1, calls.recorder("one")).unwrap();
        other.on_signal(libc::SIGUSR1, |_, _| Ok(())).unwrap();
        assert!(!other.cancel(id));
        raise(libc::SIGUSR1);
        turn_once(&mut one);
        assert_eq!(calls.names(), ["one"]);
    });
}

#[test]
fn a_signal_does_nothing_after_its_last_callback_was_cancelled() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            let id = event_loop.on_signal(libc::SIGTERM, calls.recorder("gone"));
            event_loop.cancel(id.unwrap());
            raise(libc::SIGTERM);
            assert_eq!(event_loop.turn(AT_ONCE).unwrap(), 0);
            // A signal from before is not reported.
            event_loop
                .on_signal(libc::SIGTERM, calls.recorder("new"))
                .unwrap();
            assert_eq!(event_loop.turn(AT_ONCE).unwrap(), 0);
            assert!(calls.take().is_empty());
            raise(libc::SIGTERM);
            turn_once(event_loop);
            assert_eq!(calls.names(), ["new"]);
        });
    });
}

#[test]
fn a_storm_of_signals_is_one_call_for_each_look() {
    const STORM: &str =
        "i=0; while [ $i -lt 3000 ]; do kill -s USR1 $1; i=$((i+1)); done; kill -s USR2 $1";
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            for (signal, name) in [(libc::SIGUSR1, "storm"), (libc::SIGUSR2, "end")] {
                event_loop.on_signal(signal, calls.recorder(name)).unwrap();
            }
            let start = || {
                let mut command = Command::new("sh");
                command.args(["-c", STORM, "sh", &std::process::id().to_string()]);
                command.spawn().unwrap()
            };
            // The loop makes no pass meanwhile. Nothing blocks, and nothing is lost.
            let mut sender = start();
            assert!(sender.wait().unwrap().success());
            turn_once(event_loop);
            let called = calls.take();
            let names: Vec<_> = called.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, ["storm", "end"]);
            for (_, info) in called {
                assert_eq!(info.sender().unwrap().pid(), sender.id());
            }
            // The loop makes passes all the time.
            let mut sender = start();
            let mut seen = Vec::new();
            turn_until(event_loop, "the storm ends", || {
                seen.extend(calls.names());
                seen.last() == Some(&"end")
            });
            assert!(sender.wait().unwrap().success());
            assert!(seen.contains(&"storm"));
        });
    });
}

#[test]
fn loops_in_two_threads_get_each_signal() {
    in_own_process(this_test!(), || {
        on_every_backend(|backend| {
            let (ready, is_ready) = mpsc::channel();
            let (called, was_called) = mpsc::channel();
            let threads: Vec<_> = (0..2)
                .map(|number| {
                    let (ready, called) = (ready.clone(), called.clone());
                    thread::spawn(move || {
                        let mut event_loop = EventLoop::with_backend(backend).unwrap();
                        event_loop
                            .on_signal(libc::SIGWINCH, move |_, _| {
                                called.send(number).unwrap();
                                Ok(())
                            })
                            .unwrap();
                        event_loop.stop_on(&[libc::SIGTERM]).unwrap();
                        ready.send(()).unwrap();
                        let _hold = event_loop.hold();
                        event_loop.run().unwrap();
                    })
                })
                .collect();
            for _ in 0..2 {
                is_ready.recv_timeout(PATIENCE).unwrap();
            }
            for _ in 0..10 {
                raise(libc::SIGWINCH);
                let mut numbers = [0, 0].map(|_: i32| was_called.recv_timeout(PATIENCE).unwrap());
                numbers.sort_unstable();
                assert_eq!(numbers, [0, 1]);
            }
            raise(libc::SIGTERM);
            for thread in threads {
                thread.join().unwrap();
            }
        });
    });
}

#[test]
fn an_error_of_a_callback_is_logged_and_the_exit_error_leaves_the_loop() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let calls = Calls::default();
            let failing = event_loop.on_signal(libc::SIGUSR1, |_, _| Err("no good".into()));
            let exit = event_loop.on_signal(libc::SIGUSR1, |_, _| Err(Error::ExitNow));
            event_loop
                .on_signal(libc::SIGUSR1, calls.recorder("after"))
                .unwrap();
            raise(libc::SIGUSR1);
            let error = event_loop.turn(AT_ONCE).unwrap_err();
            assert!(matches!(error, Error::ExitNow), "{error}");
            assert!(calls.take().is_empty());
            // The call that was left is made in the next pass.
            event_loop.turn(AT_ONCE).unwrap();
            assert_eq!(calls.names(), ["after"]);
            assert!(event_loop.cancel(failing.unwrap()) && event_loop.cancel(exit.unwrap()));
        });
    });
}

#[test]
fn a_callback_that_panics_is_cancelled() {
    in_own_process(this_test!(), || {
        on_every_backend(|backend| {
            for catch in [false, true] {
                let builder = EventLoop::builder().backend(backend).catch_panics(catch);
                let mut event_loop = builder.build().unwrap();
                let calls = Calls::default();
                let id = event_loop.on_signal(libc::SIGUSR1, |_, _| panic!("a test's own"));
                event_loop
                    .on_signal(libc::SIGUSR1, calls.recorder("other"))
                    .unwrap();
                raise(libc::SIGUSR1);
                let turned = catch_unwind(AssertUnwindSafe(|| event_loop.turn(AT_ONCE)));
                assert_eq!(turned.is_ok(), catch);
                event_loop.turn(AT_ONCE).unwrap();
                assert_eq!(calls.names(), ["other"]);
                assert!(!event_loop.cancel(id.unwrap()));
                raise(libc::SIGUSR1);
                turn_once(&mut event_loop);
                assert_eq!(calls.names(), ["other"]);
            }
        });
    });
}
