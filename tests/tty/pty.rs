//! Programs on pseudo-terminals, whose masters are channels.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::process::{Command, Stdio};

use crate::common::{
    Probe, again, fd_flags, settle, this_test, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{FileDispatcher, Pty, Socket};
use nix::fcntl::OFlag;

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn both_sides_are_close_on_exec() {
    let pty = Pty::open().unwrap();
    assert!(fd_flags(pty.master()).0);
    assert!(fd_flags(pty.terminal()).0);
}

#[test]
fn a_child_has_the_terminal_for_everything() {
    with_every_loop(|event_loop| {
        let script = "tty <&0; [ -t 1 ] && [ -t 2 ] && ps -o sid= -p $$ >/dev/null; \
                      echo to the screen >/dev/tty";
        let mut command = sh(script);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let (mut child, master) = Pty::open().unwrap().spawn(&mut command).unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(FileDispatcher::reader(master, probe).unwrap())
            .unwrap();
        turn_until_empty(event_loop);
        let shown = String::from_utf8_lossy(&seen.received()).into_owned();
        assert!(shown.starts_with("/dev/"), "{shown}");
        assert!(shown.ends_with("to the screen\r\n"), "{shown}");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_child_that_writes_and_exits_is_read_to_its_end() {
    with_every_loop(|event_loop| {
        for bytes in [1, 3_000, 4_095, 4_096, 100_000] {
            let script = format!("head -c {bytes} /dev/zero | tr '\\0' y");
            let (mut child, master) = Pty::open().unwrap().spawn(&mut sh(&script)).unwrap();
            // What was written fits, so the child may be gone before anything is read.
            if bytes <= 3_000 {
                assert!(child.wait().unwrap().success());
            }
            let (probe, seen) = Probe::new();
            event_loop
                .add(FileDispatcher::reader(master, probe).unwrap())
                .unwrap();
            turn_until_empty(event_loop);
            assert_eq!(seen.received_len(), bytes);
            assert!(seen.received().iter().all(|byte| *byte == b'y'));
            assert_eq!(
                seen.events()[seen.events().len() - 2..],
                ["eof", "close"],
                "EIO is the end of file"
            );
            assert!(seen.errors().is_empty() && seen.reason().is_none());
            assert!(child.wait().unwrap().success());
        }
    });
}

#[test]
fn a_grandchild_keeps_the_channel_open_unless_the_program_ends_it() {
    with_every_loop(|event_loop| {
        for ends_with_child in [true, false] {
            // The grandchild lives until its input ends, which is this pipe's writer.
            let (reader, writer) = os_pipe::pipe().unwrap();
            let pty = Pty::open().unwrap();
            let terminal = pty.terminal().try_clone_to_owned().unwrap();
            let mut grandchild = Command::new("cat")
                .stdin(reader)
                .stdout(terminal)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let script = "head -c 3000 /dev/zero | tr '\\0' y";
            let (mut child, master) = pty.spawn(&mut sh(script)).unwrap();
            assert!(child.wait().unwrap().success());
            let (probe, seen) = Probe::new();
            let channel = event_loop
                .add(FileDispatcher::reader(master, probe).unwrap())
                .unwrap();
            if ends_with_child {
                let screen = event_loop.get_mut(channel).unwrap();
                screen.end_input_when_empty().unwrap();
                turn_until_empty(event_loop);
                assert_eq!(seen.received_len(), 3_000);
                drop(writer);
            } else {
                turn_until(event_loop, "all is read", || seen.received_len() == 3_000);
                settle(event_loop);
                assert!(event_loop.contains(channel), "with the last holder");
                (&writer).write_all(b"afterwards").unwrap();
                drop(writer);
                turn_until_empty(event_loop);
                assert!(seen.received().ends_with(b"yafterwards"));
            }
            assert_eq!(seen.events()[seen.events().len() - 2..], ["eof", "close"]);
            grandchild.wait().unwrap();
        }
    });
}

#[test]
fn input_that_ends_when_empty_is_read_when_it_is_wanted() {
    with_every_loop(|event_loop| {
        let (reader, mut writer) = os_pipe::pipe().unwrap();
        writer.write_all(b"before").unwrap();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let mut channel = FileDispatcher::reader(reader, probe).unwrap();
        channel.end_input_when_empty().unwrap();
        event_loop.add(channel).unwrap();
        settle(event_loop);
        assert!(seen.events().is_empty(), "{:?}", seen.events());
        seen.wants_read.set(true);
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"before");
        assert_eq!(seen.count("eof"), 1);
    });
}

#[test]
fn input_of_a_socket_cannot_end_when_empty() {
    let (ours, _theirs) = Socket::pair().unwrap();
    let mut channel = fdloop::Dispatcher::new(ours, Probe::silent()).unwrap();
    let error = channel.end_input_when_empty().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("may still be under way"),
        "{error}"
    );
    channel.close();
    let error = channel.end_input_when_empty().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let directory = crate::common::TempDir::new();
    let plain = directory.file("plain");
    File::create(&plain).unwrap();
    for (program, kind) in [
        ("no-such-program-anywhere", ErrorKind::NotFound),
        (plain.as_str(), ErrorKind::PermissionDenied),
    ] {
        let error = Pty::open()
            .unwrap()
            .spawn(&mut Command::new(program))
            .unwrap_err();
        assert_eq!(error.kind(), kind);
        let message = error.to_string();
        assert!(message.contains(program), "{message}");
        assert!(message.contains("on a pseudo-terminal"), "{message}");
    }
}

#[test]
fn what_is_typed_reaches_the_program() {
    with_every_loop(|event_loop| {
        let script = "read line; echo \"got $line\"";
        let (mut child, master) = Pty::open().unwrap().spawn(&mut sh(script)).unwrap();
        let (probe, seen) = Probe::new();
        let mut keyboard = FileDispatcher::with_send(master, probe).unwrap();
        keyboard.send(b"hello\n").unwrap();
        event_loop.add(keyboard).unwrap();
        turn_until_empty(event_loop);
        // The terminal's echo comes first.
        assert_eq!(seen.received(), b"hello\r\ngot hello\r\n");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_program_gets_the_signals_of_its_terminal_although_its_parent_ignores_them() {
    // The shell starts this test again as nohup(1) would.
    let script = "trap '' HUP INT QUIT TSTP; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]);
    let program = again(this_test!());
    command.arg(program.get_program()).args(program.get_args());
    if std::env::var_os("FDLOOP_IGNORING").is_some() {
        let script = "grep SigIgn /proc/self/status || echo SigIgn: 0";
        let (mut child, master) = Pty::open().unwrap().spawn(&mut sh(script)).unwrap();
        let mut shown = Vec::new();
        // EIO is the end.
        let _ = io::Read::read_to_end(&mut File::from(master), &mut shown);
        child.wait().unwrap();
        let shown = String::from_utf8(shown).unwrap();
        let (_, mask) = shown.trim().split_once(':').unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP] {
            assert_eq!(mask >> (signal - 1) & 1, 0, "signal {signal}: {mask:x}");
        }
        return;
    }
    let output = command.env("FDLOOP_IGNORING", "1").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{shown}"
    );
}

#[test]
fn closing_the_master_hangs_up() {
    use std::os::unix::process::ExitStatusExt;
    // A read may find the end before the signal comes.
    let script = "echo ready; while :; do read line; done";
    let (mut child, master) = Pty::open().unwrap().spawn(&mut sh(script)).unwrap();
    let mut ready = [0; 7];
    io::Read::read_exact(&mut File::from(master.try_clone().unwrap()), &mut ready).unwrap();
    drop(master);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGHUP));
}

#[test]
fn the_master_of_a_spawned_program_is_the_only_one() {
    // Nothing keeps the terminal open in this process, so the end is found at once.
    let (mut child, master) = Pty::open()
        .unwrap()
        .spawn(&mut Command::new("true"))
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!crate::common::status_flags(&master).contains(OFlag::O_NONBLOCK));
    let end = io::Read::read(&mut File::from(master), &mut [0; 16]);
    let errno = end.as_ref().err().and_then(io::Error::raw_os_error);
    assert!(matches!(end, Ok(0)) || errno == Some(libc::EIO), "{end:?}");
}
