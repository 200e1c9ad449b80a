//! Nobody else's flags are touched: a file that is a channel works for everybody else as
//! if it were not, also when the program that made it a channel is killed.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, Probe, again, on_every_backend, settle, this_test, with_every_loop};
use crate::on_a_terminal::{OnATerminal, PROGRAM, part};
use fdloop::{Backend, EventLoop, FileDispatcher};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const LINE: &str = "a line of output to the very terminal that is a channel";
const LINES: usize = (1 << 20) / (LINE.len() + 2);

/// Prints a mebibyte to the terminal while it is a channel, in the way of a program that does
/// not know about that.
#[allow(clippy::print_stdout, reason = "it is the program's output")]
fn print_a_lot() {
    with_every_loop(|event_loop| {
        let keyboard = FileDispatcher::reader(io::stdin(), Probe::silent()).unwrap();
        let screen = FileDispatcher::writer(io::stdout(), Probe::silent()).unwrap();
        event_loop.add(keyboard).unwrap();
        let screen = event_loop.add(screen).unwrap();
        settle(event_loop);
        // After what the harness has begun to say.
        println!();
        for _ in 0..LINES {
            println!("{LINE}");
        }
        let screen = event_loop.get_mut(screen).unwrap();
        screen.send(b"and the last one\n").unwrap();
        settle(event_loop);
    });
}

#[test]
fn a_program_prints_a_mebibyte_to_the_terminal_that_is_its_channel() {
    if part().is_some() {
        return print_a_lot();
    }
    let mut program = OnATerminal::test(this_test!(), "print");
    assert!(program.wait().success(), "{}", program.shown());
    program.wait_for("test result");
    let shown = program.shown();
    let rounds = Backend::ALL.len();
    let count = |line: &str| shown.lines().filter(|shown| *shown == line).count();
    assert_eq!(count(LINE), rounds * LINES);
    assert_eq!(count("and the last one"), rounds);
}

/// Has its standard output as a channel, and is killed.
fn be_killed(backend: Backend) -> ! {
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let mut output = FileDispatcher::writer(io::stdout(), Probe::silent()).unwrap();
    output.send(b"before the end").unwrap();
    event_loop.add(output).unwrap();
    settle(&mut event_loop);
    let pid = std::process::id().to_string();
    let status = Command::new("kill").args(["-s", "KILL", &pid]).status();
    thread::sleep(PATIENCE);
    panic!("it was not killed: {status:?}");
}

/// `{ prog; head -c 300000 /dev/zero; } | { sleep; wc -c; }`, where the reader begins when the
/// pipe is full, as after a sleep.
#[test]
#[cfg(target_os = "linux")]
fn a_pipe_still_blocks_after_the_program_was_killed() {
    if let Some(part) = part() {
        be_killed(part.parse().unwrap());
    }
    let test = this_test!();
    on_every_backend(|backend| fill_a_pipe_after(test, backend));
}

#[cfg(target_os = "linux")]
fn fill_a_pipe_after(test: &str, backend: Backend) {
    const ZEROS: usize = 300_000;
    let program = again(test);
    let mut command = Command::new("sh");
    let script = format!("\"$@\"; head -c {ZEROS} /dev/zero");
    command
        .args(["-c", &script, "sh"])
        .env(PROGRAM, backend.to_string());
    command.arg(program.get_program()).args(program.get_args());
    let (mut reader, writer) = os_pipe::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    command.stdout(writer.try_clone().unwrap());
    command.stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let deadline = Instant::now() + PATIENCE;
    // Full, or the next program has failed to fill it and ended.
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the pipe never fills");
        let mut entry = [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut entry, PollTimeout::ZERO).unwrap() == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    drop(writer);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{complaints}");
    assert!(complaints.contains("Killed"), "{complaints}");
    let zeros = all.iter().filter(|byte| **byte == 0).count();
    assert_eq!(zeros, ZEROS, "{complaints}");
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("before the end"));
}

/// A key that is typed while the program ends is the shell's: the channel has read nothing ahead.
#[test]
fn keys_that_were_not_read_are_left_to_the_next_program() {
    if part().is_some() {
        let mut event_loop = EventLoop::new().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| {
            io.recv(&mut [0; 3])?;
            io.close();
            Ok(())
        });
        let keyboard = FileDispatcher::reader(io::stdin(), probe).unwrap();
        event_loop.add(keyboard).unwrap();
        io::stdout().write_all(b"type now\n").unwrap();
        event_loop.run().unwrap();
        assert!(seen.heard("read"));
        return;
    }
    let script = "\"$@\"; read line; echo \"the shell got [$line]\"";
    let mut program = OnATerminal::shell(script, this_test!(), "keys");
    program.wait_for("type now");
    program.type_in("ab\nfor the shell\n");
    program.wait_for("the shell got [for the shell]");
    assert!(program.wait().success());
    program.assert_as_before();
}
