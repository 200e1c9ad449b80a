//! The flags of a pipe after a program was killed, which cannot put them back. Only Linux gives a
//! pipe an open file description of its own.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, Probe, again, on_every_backend, settle, this_test};
use crate::on_a_terminal::{PROGRAM, part};
use fdloop::{Backend, EventLoop, FileDispatcher};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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
fn a_pipe_still_blocks_after_the_program_was_killed() {
    if let Some(part) = part() {
        be_killed(part.parse().unwrap());
    }
    let test = this_test!();
    on_every_backend(|backend| fill_a_pipe_after(test, backend));
}

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
