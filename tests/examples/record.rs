//! `record`: its screen, its recording, and the terminal afterwards.
#![allow(clippy::print_stderr, reason = "a test says what it leaves out")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::programs::{example, with_each_backend};
use crate::common::{PATIENCE, Settings, TempDir, settings_of};
use fdloop::{Backend, Pty, WindowSize};
use serde_json::Value;

fn record(backend: Backend, arguments: &[&str]) -> Command {
    let mut command = Command::new(example("record"));
    command.arg("--backend").arg(backend.to_string());
    command.args(arguments);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Records a script without a terminal.
fn record_script(backend: Backend, cast: &str, options: &[&str], script: &str) -> Output {
    let mut arguments = vec!["-o", cast];
    arguments.extend(options);
    arguments.extend(["--", "sh", "-c", script]);
    record(backend, &arguments).output().unwrap()
}

/// The header and the events of a recording.
#[track_caller]
fn parsed(cast: &str) -> (Value, Vec<(f64, String, String)>) {
    let text = fs::read_to_string(cast).unwrap();
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let event = |line| serde_json::from_str::<(f64, String, String)>(line).unwrap();
    (header, lines.map(event).collect())
}

/// Everything that was shown, according to a recording.
#[track_caller]
fn shown(cast: &str) -> String {
    let (_, events) = parsed(cast);
    let output = events.into_iter().filter(|(_, code, _)| code == "o");
    output.map(|(_, _, data)| data).collect()
}

#[test]
fn the_exit_code_is_the_commands() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let cast = dir.file("cast");
        for (script, code) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("exit 255", 255),
            ("kill -s TERM $$", 143),
            ("kill -s KILL $$", 137),
        ] {
            for format in ["2", "3"] {
                let ended = record_script(backend, &cast, &["--format", format], script);
                assert_eq!(ended.status.code(), Some(code), "{script}: {ended:?}");
                assert!(ended.stderr.is_empty(), "{ended:?}");
                let (header, events) = parsed(&cast);
                assert_eq!(header["version"].to_string(), format);
                if format == "3" {
                    let (_, kind, data) = events.last().unwrap();
                    assert_eq!((kind.as_str(), data), ("x", &code.to_string()));
                }
            }
        }
    });
}

#[test]
fn what_cannot_be_done_is_said() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let (cast, plain) = (dir.file("cast"), dir.file("plain"));
        fs::write(&plain, "").unwrap();
        let nowhere = dir.file("nowhere/cast");
        let full = ["-o", "/dev/full", "--", "true"];
        for (arguments, code, said) in [
            (
                &["-o", &cast, "no-such-program"][..],
                127,
                "no-such-program",
            ),
            (&["-o", &cast, &plain], 126, "Permission denied"),
            (&["-o", &nowhere, "true"], 1, "No such file or directory"),
            (
                &full,
                1,
                "cannot write the recording: No space left on device",
            ),
            (&["-o", &cast, "--format", "1"], 2, "only 2 and 3"),
            (&["--play", &nowhere], 1, "cannot open"),
            (&["--play", &plain], 2, "it is empty"),
            (
                &["--play", &cast, "--speed", "0"],
                2,
                "not a number above 0",
            ),
        ] {
            if arguments == full && !cfg!(target_os = "linux") {
                continue;
            }
            let ended = record(backend, arguments).output().unwrap();
            assert_eq!(ended.status.code(), Some(code), "{ended:?}");
            let complaint = String::from_utf8_lossy(&ended.stderr);
            assert!(complaint.contains(said), "{complaint}");
        }
    });
}

#[test]
fn standard_input_need_not_be_a_terminal() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let cast = dir.file("cast");
        for (input, expected) in [
            ("one\ntwo\n", "one\r\ntwo\r\n"),
            ("unfinished", "unfinished"),
            ("", ""),
        ] {
            let script = "echo ready; cat; echo the end";
            let arguments = ["-o", &cast, "--input", "--", "sh", "-c", script];
            let mut child = record(backend, &arguments).stdin(Stdio::piped()).spawn();
            let child = child.as_mut().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let mut stdout = child.stdout.take().unwrap();
            let mut ready = [0; 7];
            stdout.read_exact(&mut ready).unwrap();
            stdin.write_all(input.as_bytes()).unwrap();
            drop(stdin);
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).unwrap();
            assert!(child.wait().unwrap().success());
            assert_eq!(rest, format!("{expected}the end\r\n"));
            let (_, events) = parsed(&cast);
            let keys = events.iter().filter(|(_, code, _)| code == "i");
            let keys: String = keys.map(|(_, _, data)| data.as_str()).collect();
            assert_eq!(keys, input);
        }
        // Closed at the start.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" <&-", "sh"]);
        command
            .arg(example("record"))
            .args(["-o", &cast, "echo", "hello"]);
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(ended.stdout, b"hello\r\n");
    });
}

/// Random text: characters of one to four bytes, and what terminals act on.
fn random_text(len: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = String::with_capacity(len + 8);
    while text.len() < len {
        let number = random();
        match number % 10 {
            0 => text.push_str("\x1b[31m"),
            1 => text.push_str("\r\n"),
            2..=5 => text.push(char::from(b' ' + (number >> 8) as u8 % 95)),
            _ => text.extend(char::from_u32((number >> 16) as u32 % 0x11_0000)),
        }
    }
    text
}

/// Prints what a recording shows, with the reader of asciinema itself.
const ASCIINEMA: &str = r#"
import sys
from asciinema import asciicast
with asciicast.open_from_url(sys.argv[1]) as recording:
    for _, code, text in recording.events():
        if code == "o":
            sys.stdout.buffer.write(text.encode())
"#;

#[test]
fn ten_megabytes_are_recorded_and_shown_byte_for_byte() {
    let dir = TempDir::new();
    let file = dir.file("text");
    let text = random_text(10_000_000);
    fs::write(&file, &text).unwrap();
    with_each_backend(|backend| {
        let cast = dir.file(&backend.to_string());
        let script = format!("stty raw; cat {file}");
        let ended = record_script(backend, &cast, &[], &script);
        assert!(ended.status.success());
        assert!(ended.stdout == text.as_bytes(), "on the screen");
        assert!(shown(&cast) == text, "in the recording");
        // Another reader of the format, if it is installed.
        let mut python = Command::new("/usr/bin/python3");
        let output = python.args(["-c", ASCIINEMA, &cast]).output();
        match output {
            Ok(output) if output.status.success() => {
                assert!(output.stdout == text.as_bytes(), "by asciinema");
            }
            _ => eprintln!("left out: Debian's package asciinema is not installed"),
        }
    });
}

#[test]
fn bytes_that_are_not_text_are_shown_as_they_are() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let (file, cast) = (dir.file("bytes"), dir.file("cast"));
        let bytes: Vec<u8> = random_text(200_000).bytes().map(|b| b ^ 0x40).collect();
        fs::write(&file, &bytes).unwrap();
        let script = format!("stty raw; cat {file}; printf '\\303'");
        let ended = record_script(backend, &cast, &[], &script);
        let expected = [&bytes[..], b"\xc3"].concat();
        assert!(ended.stdout == expected);
        assert!(shown(&cast) == String::from_utf8_lossy(&expected));
    });
}

#[test]
fn the_session_ends_with_the_command_and_not_with_what_it_leaves_behind() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let (cast, fifo) = (dir.file("cast"), dir.file("fifo"));
        nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script =
            format!("trap '' HUP; read line <{fifo} & head -c 3000 /dev/zero | tr '\\0' y");
        let ended = record_script(backend, &cast, &[], &script);
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(ended.stdout, [b'y'; 3_000]);
        assert_eq!(shown(&cast).len(), 3_000);
        // The process that outlives the command still runs: it reads this line.
        drop(File::options().write(true).open(&fifo).unwrap());
    });
}

/// `record` on a terminal of its own.
struct Session {
    child: std::process::Child,
    master: File,
    terminal: OwnedFd,
    before: Settings,
    shown: thread::JoinHandle<Vec<u8>>,
}

impl Session {
    #[track_caller]
    fn start(backend: Backend, arguments: &[&str]) -> Self {
        let pty = Pty::with_size(WindowSize::new(24, 80)).unwrap();
        let terminal = pty.terminal().try_clone_to_owned().unwrap();
        let before = settings_of(&terminal);
        let (child, master) = pty.spawn(&mut record(backend, arguments)).unwrap();
        let master = File::from(master);
        let mut screen = master.try_clone().unwrap();
        let shown = thread::spawn(move || {
            let mut shown = Vec::new();
            // On Linux, the end is an error.
            let _ = screen.read_to_end(&mut shown);
            shown
        });
        Self {
            child,
            master,
            terminal,
            before,
            shown,
        }
    }

    #[track_caller]
    fn wait_until_raw(&self) {
        let deadline = Instant::now() + PATIENCE;
        while settings_of(&self.terminal) == self.before {
            assert!(Instant::now() < deadline, "raw mode is never set");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end. The terminal must be as before.
    #[track_caller]
    fn finish(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let after = settings_of(&self.terminal);
        drop(self.terminal);
        let shown = String::from_utf8_lossy(&self.shown.join().unwrap()).into_owned();
        assert_eq!(after, self.before, "{shown}");
        (status, shown)
    }
}

#[test]
fn the_terminal_is_as_before_on_every_way_out() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let cast = dir.file("cast");
        let session = Session::start(backend, &["-o", &cast, "--", "sh", "-c", "exit 3"]);
        let (status, _) = session.finish();
        assert_eq!(status.code(), Some(3));

        let session = Session::start(backend, &["-o", &cast, "no-such-program"]);
        let (status, shown) = session.finish();
        assert_eq!(status.code(), Some(127));
        assert!(shown.ends_with("(os error 2)\r\n"), "{shown}");

        for (name, number) in [("TERM", 15), ("HUP", 1), ("INT", 2), ("QUIT", 3)] {
            let session = Session::start(backend, &["-o", &cast, "cat"]);
            session.wait_until_raw();
            let pid = session.child.id().to_string();
            let kill = Command::new("kill").args(["-s", name, &pid]).status();
            assert!(kill.unwrap().success());
            let (status, shown) = session.finish();
            assert_eq!(status.code(), Some(128 + number), "{name}: {shown}");
        }
    });
}

#[test]
fn a_recording_that_cannot_be_written_any_more_ends_the_session() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let fifo = dir.file("fifo");
        nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = File::options().read(true).write(true).open(&fifo).unwrap();
        let session = Session::start(backend, &["-o", &fifo, "cat"]);
        session.wait_until_raw();
        drop(reader);
        (&session.master).write_all(b"hello\r").unwrap();
        let (status, shown) = session.finish();
        assert_eq!(status.code(), Some(1), "{shown}");
        let said = "record: cannot write the recording: Broken pipe";
        assert!(shown.contains(said), "{shown}");
    });
}

#[test]
fn a_terminal_that_vanishes_ends_the_session_and_the_command() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let (cast, fifo) = (dir.file("cast"), dir.file("fifo"));
        nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        // The trap tells that the command has got SIGHUP too. (A read may find the end before.)
        let script = format!(
            "trap 'echo hung up >{fifo}; exit' HUP; echo ready; while :; do read line; done"
        );
        let pty = Pty::with_size(WindowSize::new(24, 80)).unwrap();
        let mut command = record(backend, &["-o", &cast, "--", "sh", "-c", &script]);
        let (mut child, master) = pty.spawn(&mut command).unwrap();
        let mut ready = [0; 7];
        File::from(master).read_exact(&mut ready).unwrap();
        // The master is closed.
        assert_eq!(fs::read_to_string(&fifo).unwrap(), "hung up\n");
        let status = child.wait().unwrap();
        assert!(!status.success(), "{status}");
        assert!(shown(&cast).starts_with("ready"));
    });
}

#[test]
fn a_storm_of_sizes_loses_nothing_and_ends_with_the_last() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let (file, cast) = (dir.file("text"), dir.file("cast"));
        let line = "a line of the output that a window is resized under";
        let lines = (1 << 20) / line.len();
        fs::write(&file, format!("{line}\n").repeat(lines)).unwrap();
        let last = "50 132";
        let script = format!(
            "cat {file}; while [ \"$(stty size)\" != '{last}' ]; do :; done; echo the last"
        );
        let session = Session::start(backend, &["-o", &cast, "--", "sh", "-c", &script]);
        session.wait_until_raw();
        for i in 0..1_000 {
            let size = WindowSize::new(20 + i % 40, 60 + i % 90);
            size.set(session.master.as_fd()).unwrap();
        }
        WindowSize::new(50, 132).set(&session.master).unwrap();
        let (status, screen) = session.finish();
        assert!(status.success(), "{status}");
        let count = |text: &str| text.lines().filter(|shown| *shown == line).count();
        assert_eq!(count(&screen), lines);
        assert!(screen.ends_with("the last\r\n"));
        assert!(shown(&cast) == screen, "recorded as it was shown");
        let (_, events) = parsed(&cast);
        let sizes: Vec<_> = events.iter().filter(|(_, code, _)| code == "r").collect();
        assert_eq!(sizes.last().unwrap().2, "132x50");
    });
}

#[test]
fn a_recording_is_played_in_its_time() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let cast = dir.file("cast");
        for (recording, options, least) in [
            (
                "{\"version\": 2, \"width\": 80, \"height\": 24}\n[0.1, \"o\", \"one \"]\n\
                 [0.2, \"i\", \"x\"]\n[0.4, \"o\", \"two\"]\n",
                &["--speed", "2"][..],
                0.2,
            ),
            (
                "{\"version\": 3, \"term\": {\"cols\": 80, \"rows\": 24}}\n# a comment\n\
                 [0.1, \"o\", \"one \"]\n[3600, \"o\", \"two\"]\n[0.1, \"x\", \"0\"]\n",
                &["--idle-limit", "0.1"],
                0.3,
            ),
        ] {
            fs::write(&cast, recording).unwrap();
            let started = Instant::now();
            let mut arguments = vec!["--play", &cast];
            arguments.extend(options);
            let ended = record(backend, &arguments).output().unwrap();
            assert!(ended.status.success(), "{ended:?}");
            assert_eq!(ended.stdout, b"one two");
            let took = started.elapsed().as_secs_f64();
            assert!(took >= least, "{took}");
        }
        fs::write(&cast, "{\"version\": 2}\n[1, 2]\n").unwrap();
        let ended = record(backend, &["--play", &cast]).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("line 2 is not an event"), "{said}");
    });
}

#[test]
fn a_screen_that_takes_nothing_ends_the_playing() {
    if !cfg!(target_os = "linux") {
        return;
    }
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let cast = dir.file("cast");
        let recording = "{\"version\": 2}\n[0.01, \"o\", \"one \"]\n[3600, \"o\", \"two\"]\n";
        fs::write(&cast, recording).unwrap();
        let full = fs::File::create("/dev/full").unwrap();
        let mut playing = record(backend, &["--play", &cast]);
        let ended = playing.stdout(full).output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("No space left on device"), "{said}");
    });
}

#[test]
fn a_screen_that_takes_nothing_ends_the_recording_with_an_error() {
    if !cfg!(target_os = "linux") {
        return;
    }
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let cast = dir.file("cast");
        // A command that ends at once, and one that would not.
        for command in ["echo one", "echo one; exec sleep 3600"] {
            let full = fs::File::create("/dev/full").unwrap();
            let mut session = record(backend, &["-o", &cast, "--", "sh", "-c", command]);
            let ended = session.stdout(full).output().unwrap();
            assert_eq!(ended.status.code(), Some(1), "{ended:?}");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(said.contains("cannot show the output: "), "{said}");
            assert!(said.contains("No space left on device"), "{said}");
            // The file has everything that was recorded until then.
            let recording = fs::read_to_string(&cast).unwrap();
            assert!(recording.contains("one"), "{recording}");
        }
    });
}

#[test]
fn a_recording_that_is_longer_than_the_clock_is_played_to_there() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let cast = dir.file("cast");
        let recording = "{\"version\": 2}\n[0, \"o\", \"one\"]\n[1.8e19, \"o\", \"two\"]\n";
        fs::write(&cast, recording).unwrap();
        let mut playing = record(backend, &["--play", &cast]);
        let mut playing = playing.stdout(Stdio::piped()).spawn().unwrap();
        let mut shown = [0; 3];
        let read = playing.stdout.as_mut().unwrap().read_exact(&mut shown);
        let pid = playing.id().to_string();
        let killed = Command::new("kill").args(["-s", "TERM", &pid]).status();
        read.unwrap();
        assert!(killed.unwrap().success());
        assert_eq!(&shown, b"one");
        assert_eq!(playing.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn what_was_recorded_is_played() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let (file, cast) = (dir.file("text"), dir.file("cast"));
        let text = random_text(300_000);
        fs::write(&file, &text).unwrap();
        for format in ["2", "3"] {
            let script = format!("stty raw; cat {file}");
            let options = ["--format", format];
            assert!(
                record_script(backend, &cast, &options, &script)
                    .status
                    .success()
            );
            let ended = record(backend, &["--play", &cast, "--speed", "10"]).output();
            let ended = ended.unwrap();
            assert!(ended.status.success(), "{ended:?}");
            assert!(ended.stdout == text.as_bytes());
        }
    });
}
