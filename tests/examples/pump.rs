//! `pump`, between files of all kinds.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::programs::{example, with_each_backend};
use crate::common::{TempDir, pattern};
use fdloop::{Backend, Pty, WindowSize};
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

fn pump(backend: Backend, arguments: &[&str]) -> Command {
    let mut command = Command::new(example("pump"));
    command.arg("--backend").arg(backend.to_string());
    command.args(arguments);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn assert_silent_success(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

const KINDS: [&str; 6] = ["pipe", "file", "fifo", "socket", "terminal", "null"];

/// A file of some kind for the program, and a thread's work at the other end of it.
type Side<T> = (OwnedFd, Box<dyn FnOnce() -> T + Send>);

/// A pseudo-terminal that passes everything on, and that no other test's program inherits.
fn raw() -> (File, File) {
    let (master, terminal) = Pty::open().unwrap().into_parts();
    let mut settings = tcgetattr(&terminal).unwrap();
    cfmakeraw(&mut settings);
    tcsetattr(&terminal, SetArg::TCSANOW, &settings).unwrap();
    (master.into(), terminal.into())
}

fn input(kind: &str, data: &[u8], dir: &TempDir) -> Side<()> {
    let all = data.to_vec();
    let write = |mut writer: Box<dyn Write + Send>| -> Box<dyn FnOnce() + Send> {
        Box::new(move || writer.write_all(&all).unwrap())
    };
    match kind {
        "pipe" => {
            let (reader, writer) = os_pipe::pipe().unwrap();
            (reader.into(), write(Box::new(writer)))
        }
        "file" => {
            fs::write(dir.join("in"), data).unwrap();
            (File::open(dir.join("in")).unwrap().into(), Box::new(|| ()))
        }
        "fifo" => {
            let path = dir.join("fifo-in");
            nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
            // Both ends at once, so that neither open waits.
            let both = File::options().read(true).write(true).open(&path).unwrap();
            let reader = File::open(&path).unwrap();
            let writer = File::options().write(true).open(&path).unwrap();
            drop(both);
            (reader.into(), write(Box::new(writer)))
        }
        "socket" => {
            let (reader, writer) = UnixStream::pair().unwrap();
            (reader.into(), write(Box::new(writer)))
        }
        "terminal" => {
            let (master, terminal) = raw();
            (master.into(), write(Box::new(terminal)))
        }
        _ => (File::open("/dev/null").unwrap().into(), Box::new(|| ())),
    }
}

fn output(kind: &str, len: usize, dir: &TempDir) -> Side<Vec<u8>> {
    let read = |mut reader: Box<dyn Read + Send>| -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        Box::new(move || {
            let mut data = vec![0; len];
            reader.read_exact(&mut data).unwrap();
            // The end of a terminal is an error on Linux.
            let rest = reader.read(&mut [0; 16]).unwrap_or(0);
            assert_eq!(rest, 0, "there is more");
            data
        })
    };
    match kind {
        "pipe" => {
            let (reader, writer) = os_pipe::pipe().unwrap();
            (writer.into(), read(Box::new(reader)))
        }
        "file" => {
            let path = dir.join("out");
            let file = File::create(&path).unwrap();
            // Read when the program has ended.
            (file.into(), Box::new(move || fs::read(&path).unwrap()))
        }
        "fifo" => {
            let path = dir.join("fifo-out");
            nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
            let both = File::options().read(true).write(true).open(&path).unwrap();
            let reader = File::open(&path).unwrap();
            let writer = File::options().write(true).open(&path).unwrap();
            drop(both);
            (writer.into(), read(Box::new(reader)))
        }
        "socket" => {
            let (reader, writer) = UnixStream::pair().unwrap();
            (writer.into(), read(Box::new(reader)))
        }
        "terminal" => {
            let (master, terminal) = raw();
            (terminal.into(), read(Box::new(master)))
        }
        _ => {
            let null = File::options().write(true).open("/dev/null").unwrap();
            (null.into(), Box::new(Vec::new))
        }
    }
}

#[test]
fn everything_is_copied_between_files_of_any_kind() {
    with_each_backend(|backend| {
        for from in KINDS {
            for to in KINDS {
                let dir = TempDir::new();
                let data = match from {
                    "null" => Vec::new(),
                    _ => pattern(300_000),
                };
                let (stdin, write) = input(from, &data, &dir);
                let (stdout, read) = output(to, data.len(), &dir);
                let mut command = pump(backend, &["--count"]);
                command.stdin(stdin).stdout(stdout);
                let child = command.spawn().unwrap();
                drop(command);
                let writer = thread::spawn(write);
                let (ended, copied) = match to {
                    "file" | "null" => (child.wait_with_output().unwrap(), read()),
                    _ => {
                        let reader = thread::spawn(read);
                        (child.wait_with_output().unwrap(), reader.join().unwrap())
                    }
                };
                writer.join().unwrap();
                assert!(ended.status.success(), "{from} to {to}: {ended:?}");
                assert!(to == "null" || copied == data, "{from} to {to}");
                let said = String::from_utf8_lossy(&ended.stderr);
                assert_eq!(said, format!("pump: {} bytes\n", data.len()));
            }
        }
    });
}

#[test]
fn a_reader_that_has_had_enough_ends_it_in_order() {
    with_each_backend(|backend| {
        let mut command = pump(backend, &["--count"]);
        command.stdin(File::open("/dev/zero").unwrap());
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 100_000]).unwrap();
        drop(stdout);
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let bytes = said.strip_prefix("pump: ").unwrap();
        let bytes: u64 = bytes.strip_suffix(" bytes\n").unwrap().parse().unwrap();
        assert!(bytes >= 100_000, "{said}");
    });
}

#[test]
fn a_reader_that_has_gone_while_nothing_comes_ends_it_too() {
    with_each_backend(|backend| {
        let mut command = pump(backend, &[]);
        let (reader, writer) = os_pipe::pipe().unwrap();
        command.stdin(reader).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_silent_success(&ended);
        drop(writer);
    });
}

#[test]
fn a_full_disk_is_an_error() {
    if !cfg!(target_os = "linux") {
        return;
    }
    with_each_backend(|backend| {
        let dir = TempDir::new();
        for kind in ["pipe", "file"] {
            let (stdin, write) = input(kind, b"some data", &dir);
            let full = File::options().write(true).open("/dev/full").unwrap();
            let mut command = pump(backend, &["--count"]);
            let child = command.stdin(stdin).stdout(full).spawn().unwrap();
            write();
            let ended = child.wait_with_output().unwrap();
            assert_eq!(ended.status.code(), Some(1), "{ended:?}");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(said.contains("No space left on device"), "{said}");
            assert!(said.contains("pump: 0 bytes"), "{said}");
        }
    });
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let mut command = pump(backend, &[]);
        command.stdin(File::open(dir.join(".")).unwrap());
        let ended = command.stdout(Stdio::piped()).output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("Is a directory"), "{said}");

        let mut command = pump(backend, &[]);
        command.stdin(File::open("/dev/zero").unwrap());
        let ended = command.stdout(File::open("/dev/null").unwrap()).output();
        let ended = ended.unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("open for reading only"), "{said}");
    });
}

#[test]
fn a_closed_standard_input_is_an_empty_one() {
    with_each_backend(|backend| {
        let backend = backend.to_string();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" <&-", "sh"]);
        command.arg(example("pump")).args(["--backend", &backend]);
        let ended = command.output().unwrap();
        assert_silent_success(&ended);
        assert!(ended.stdout.is_empty());
    });
}

#[test]
fn the_rate_is_never_exceeded() {
    with_each_backend(|backend| {
        let (stdin, write) = input("pipe", &pattern(100_000), &TempDir::new());
        let mut command = pump(backend, &["--rate", "200K"]);
        let started = Instant::now();
        let child = command.stdin(stdin).stdout(Stdio::piped()).spawn();
        drop(command);
        let writer = thread::spawn(write);
        let ended = child.unwrap().wait_with_output().unwrap();
        let least = Duration::from_secs_f64(100_000.0 / 204_800.0);
        assert!(started.elapsed() >= least, "{:?}", started.elapsed());
        assert_silent_success(&ended);
        assert!(ended.stdout == pattern(100_000));
        writer.join().unwrap();
    });
}

#[test]
fn the_progress_is_shown_on_a_terminal() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let (stdin, _) = input("file", &pattern(50_000), &dir);
        let pty = Pty::with_size(WindowSize::new(24, 100)).unwrap();
        let (master, terminal) = pty.into_parts();
        let mut command = pump(backend, &["--rate", "100K"]);
        command.stdin(stdin).stdout(Stdio::null()).stderr(terminal);
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut shown = Vec::new();
        // On Linux, its end is an error.
        let _ = File::from(master).read_to_end(&mut shown);
        assert!(child.wait().unwrap().success());
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("ETA 0:00:00"), "{shown}");
        let last = shown.rsplit('\r').find(|line| line.len() > 1).unwrap();
        assert!(last.contains("48.8 KiB"), "{last}");
        assert!(last.contains("100 %"), "{last}");
        assert!(last.contains("(50000 bytes)"), "{last}");
        assert!(shown.ends_with("\r\n"), "{shown:?}");
        // Each line begins anew, and none is longer than the window.
        for line in shown.split(['\r', '\n']) {
            assert!(line.len() < 100 + "\x1b[K".len(), "{line}");
        }
    });
}

#[test]
fn nonsense_arguments_are_refused() {
    for (arguments, said) in [
        (&["--rate", "fast"][..], "\"fast\" is not a number of bytes"),
        (&["--rate", "0"], "nothing moves"),
        (&["--size", "1X"], "\"1X\" is not"),
        (&["--size", "99999999T"], "is not a number"),
        (&["file"], "unexpected argument \"file\""),
    ] {
        let mut command = Command::new(example("pump"));
        let ended = command.args(arguments).stdin(Stdio::null()).output();
        let ended = ended.unwrap();
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert!(complaint.contains(said), "{complaint}");
    }
}
