//! Raw mode: the terminal is put back on every way out of the program.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{TempDir, in_own_process, settings_of, this_test};
use crate::on_a_terminal::{OnATerminal, part, say, wait_for_the_end};
use fdloop::{Pty, RawMode};
use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Sets raw mode, and then ends in the way of its part.
fn play(part: &str) {
    let raw = RawMode::new(io::stdin()).unwrap();
    say("in raw mode");
    let mut line = String::new();
    if part != "signal" {
        // In raw mode, the end of a line is what Enter sends.
        let mut key = [0];
        io::Read::read_exact(&mut io::stdin(), &mut key).unwrap();
        line.push(key[0].into());
    }
    match part {
        "return" => drop(raw),
        "panic" => panic!("with the terminal in raw mode"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        _ => wait_for_the_end(),
    }
}

/// Plays a part to its end, and checks the terminal.
#[track_caller]
fn assert_put_back(test: &str, part: &str, signal: Option<(&str, i32)>, code: Option<i32>) {
    let mut program = OnATerminal::test(test, part);
    program.wait_for("in raw mode");
    assert!(program.is_raw());
    match signal {
        Some((name, number)) => {
            program.signal(name);
            program.assert_killed_by(number);
        }
        None => {
            program.type_in("x");
            let status = program.wait();
            assert_eq!(status.code(), code, "{}", program.shown());
        }
    }
    program.assert_as_before();
}

#[test]
fn the_terminal_is_put_back_on_every_way_out() {
    if let Some(part) = part() {
        return play(&part);
    }
    let test = this_test!();
    assert_put_back(test, "return", None, Some(0));
    // The code with which the harness ends for a test that has panicked.
    assert_put_back(test, "panic", None, Some(101));
    assert_put_back(test, "exit", None, Some(3));
    assert_put_back(test, "abort", None, None);
    for (name, number) in [
        ("TERM", SIGTERM),
        ("INT", SIGINT),
        ("HUP", SIGHUP),
        ("QUIT", SIGQUIT),
        ("ABRT", SIGABRT),
    ] {
        assert_put_back(test, "signal", Some((name, number)), None);
    }
}

/// The program handles SIGTERM itself, with a handler that was there before the guard or after.
fn handle(part: &str) {
    let came = Arc::new(AtomicBool::new(false));
    let register = || signal_hook::flag::register(SIGTERM, Arc::clone(&came)).unwrap();
    if part == "before" {
        register();
    }
    let raw = RawMode::new(io::stdin()).unwrap();
    if part == "after" {
        register();
    }
    say("in raw mode");
    while !came.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    say("has handled it");
    let mut key = [0];
    io::Read::read_exact(&mut io::stdin(), &mut key).unwrap();
    drop(raw);
    // With its handler on top, ours is still below it; another guard must not make a loop of them.
    drop(RawMode::new(io::stdin()).unwrap());
    came.store(false, Ordering::SeqCst);
    signal_hook::low_level::raise(SIGTERM).unwrap();
    assert!(came.load(Ordering::SeqCst));
}

#[test]
fn a_signal_that_the_program_handles_is_left_to_it() {
    if let Some(part) = part() {
        return handle(&part);
    }
    for part in ["before", "after"] {
        let mut program = OnATerminal::test(this_test!(), part);
        program.wait_for("in raw mode");
        program.signal("TERM");
        program.wait_for("has handled it");
        assert!(program.is_raw(), "it goes on");
        program.type_in("x");
        assert!(program.wait().success(), "{}", program.shown());
        program.assert_as_before();
    }
}

#[test]
fn an_ignored_signal_stays_ignored() {
    if part().is_some() {
        return play("signal");
    }
    let script = "trap '' HUP; \"$@\"";
    let mut program = OnATerminal::shell(script, this_test!(), "signal");
    program.wait_for("in raw mode");
    program.signal("HUP");
    // The one after it ends the program.
    program.signal("TERM");
    assert_eq!(program.wait().code(), Some(128 + SIGTERM));
    program.assert_as_before();
}

/// The effects of the signals without a guard.
fn dispositions() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Not SigQ, which counts the signals of all processes of the user.
    let names = ["SigBlk:", "SigIgn:", "SigCgt:"];
    let masks = status
        .lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)));
    masks.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_handler_is_left_behind_by_the_last_guard() {
    in_own_process(this_test!(), || {
        let before = dispositions();
        let pty = Pty::open().unwrap();
        let first = RawMode::new(pty.terminal()).unwrap();
        let during = dispositions();
        if cfg!(target_os = "linux") {
            assert_ne!(during, before);
        }
        let second = RawMode::new(pty.master()).unwrap();
        drop(first);
        assert_eq!(dispositions(), during);
        drop(second);
        assert_eq!(dispositions(), before);
    });
}

#[test]
fn guards_of_several_terminals_are_put_back_one_by_one() {
    let terminals: Vec<Pty> = (0..5).map(|_| Pty::open().unwrap()).collect();
    let before: Vec<_> = terminals
        .iter()
        .map(|pty| settings_of(pty.terminal()))
        .collect();
    for _ in 0..3 {
        let guards: Vec<_> = terminals
            .iter()
            .map(|pty| RawMode::new(pty.terminal()).unwrap())
            .collect();
        for (i, guard) in guards.into_iter().enumerate() {
            assert_ne!(settings_of(terminals[i].terminal()), before[i]);
            drop(guard);
            assert_eq!(settings_of(terminals[i].terminal()), before[i]);
        }
    }
}

#[test]
fn guards_may_come_and_go_while_signals_arrive() {
    in_own_process(this_test!(), || {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // SIGCONT sets raw mode again, of those guards that are not about to end.
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    signal_hook::low_level::raise(libc::SIGCONT).unwrap();
                }
            });
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let pty = Pty::open().unwrap();
                        let before = settings_of(pty.terminal());
                        for _ in 0..300 {
                            let raw = RawMode::new(pty.terminal()).unwrap();
                            assert_ne!(settings_of(pty.terminal()), before);
                            raw.pause().unwrap();
                            assert_eq!(settings_of(pty.terminal()), before);
                            raw.resume().unwrap();
                            drop(raw);
                            assert_eq!(settings_of(pty.terminal()), before);
                        }
                    })
                })
                .collect();
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            done.store(true, Ordering::SeqCst);
            assert!(results.iter().all(Result::is_ok));
        });
    });
}

#[test]
fn several_guards_of_one_terminal_put_it_back_with_the_last_in_whichever_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1]] {
        let pty = Pty::open().unwrap();
        let before = settings_of(pty.terminal());
        let guard = || Some(RawMode::new(pty.terminal()).unwrap());
        let mut guards = [guard(), guard(), guard()];
        let during = settings_of(pty.terminal());
        for (dropped, at) in order.into_iter().enumerate() {
            assert_eq!(settings_of(pty.terminal()), during, "{order:?}");
            if dropped == 1 {
                // The entry of a guard that is gone is used again, by one that is younger.
                drop(guard());
            }
            guards[at] = None;
        }
        assert_eq!(settings_of(pty.terminal()), before, "{order:?}");
    }
}

#[test]
fn guards_of_several_threads_do_not_share_an_entry() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let pty = Pty::open().unwrap();
                let before = settings_of(pty.terminal());
                for _ in 0..2_000 {
                    let raw = RawMode::new(pty.terminal()).unwrap();
                    assert_ne!(settings_of(pty.terminal()), before);
                    drop(raw);
                    assert_eq!(settings_of(pty.terminal()), before);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_handler_of_the_program_misses_no_signal_while_guards_come_and_go() {
    in_own_process(this_test!(), || {
        let came = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGTERM, Arc::clone(&came)).unwrap();
        let sender = std::thread::spawn(move || {
            (0..50_000).all(|_| {
                signal_hook::low_level::raise(SIGTERM).unwrap();
                came.swap(false, Ordering::SeqCst)
            })
        });
        let pty = Pty::open().unwrap();
        while !sender.is_finished() {
            drop(RawMode::new(pty.terminal()).unwrap());
        }
        assert!(sender.join().unwrap());
    });
}

#[test]
fn a_panic_puts_the_terminal_back() {
    let pty = Pty::open().unwrap();
    let before = settings_of(pty.terminal());
    catch_unwind(AssertUnwindSafe(|| {
        let _raw = RawMode::new(pty.terminal()).unwrap();
        assert_ne!(settings_of(pty.terminal()), before);
        panic!("unwinds");
    }))
    .unwrap_err();
    assert_eq!(settings_of(pty.terminal()), before);
}

#[test]
fn raw_mode_can_be_left_for_a_while() {
    let pty = Pty::open().unwrap();
    let before = settings_of(pty.terminal());
    let raw = RawMode::new(pty.terminal()).unwrap();
    let during = settings_of(pty.terminal());
    raw.pause().unwrap();
    assert_eq!(settings_of(pty.terminal()), before);
    raw.resume().unwrap();
    assert_eq!(settings_of(pty.terminal()), during);
    raw.pause().unwrap();
    // An editor may have its own settings, which are not ours to put back.
    let editor = RawMode::new(pty.terminal()).unwrap();
    drop(raw);
    assert_eq!(settings_of(pty.terminal()), during);
    drop(editor);
    assert_eq!(settings_of(pty.terminal()), before);
}

#[test]
fn what_is_not_a_terminal_is_refused_with_advice() {
    let (reader, _writer) = os_pipe::pipe().unwrap();
    let directory = TempDir::new();
    let file = std::fs::File::create(directory.join("file")).unwrap();
    for error in [
        RawMode::new(&reader).unwrap_err(),
        RawMode::new(&file).unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        let message = error.to_string();
        assert!(message.starts_with("set raw mode (fd "), "{message}");
        assert!(message.contains("open /dev/tty"), "{message}");
    }
}

#[test]
fn a_terminal_that_vanishes_leaves_a_guard_with_nothing_to_do() {
    let (master, terminal) = Pty::open().unwrap().into_parts();
    let raw = RawMode::new(&terminal).unwrap();
    drop(master);
    let error = raw.pause().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    drop(raw);
    let error = RawMode::new(&terminal).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
}
