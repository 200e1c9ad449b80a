//! Other programs, run by a test: the examples, and Python as the other side.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use fdloop::Backend;

/// The time for which a test waits for an event. Only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running program, which is killed and waited for when this is dropped.
pub struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    /// The output that a thread reads from stdout. It begins at the first use.
    pieces: Option<Receiver<Vec<u8>>>,
    /// The output that has arrived and was not taken yet.
    unread: Vec<u8>,
    stderr: Receiver<Vec<u8>>,
}

/// The result of a program.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Program {
    /// Starts an example, with a backend.
    #[track_caller]
    pub fn example(name: &str, backend: Backend, arguments: &[&str]) -> Self {
        let mut command = Command::new(example(name));
        command.arg("--backend").arg(backend.to_string());
        command.args(arguments);
        Self::start(name, command)
    }

    /// Starts an example with the highest limit of descriptors, at least some thousands.
    #[track_caller]
    pub fn example_with_many_descriptors(name: &str, backend: Backend, arguments: &[&str]) -> Self {
        let script = "ulimit -n 4096 2>/dev/null || ulimit -n $(ulimit -H -n); exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(example(name));
        command.arg("--backend").arg(backend.to_string());
        command.args(arguments);
        Self::start(name, command)
    }

    /// Starts a Python program with [`PRELUDE`] in front of it.
    #[track_caller]
    pub fn python(script: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(interpreter());
        // Without the user's and the site's packages: finding them would double the time.
        command
            .args(["-I", "-S"])
            .arg("-c")
            .arg(format!("{PRELUDE}\n{script}"));
        command.args(arguments);
        Self::start("python3", command)
    }

    /// Starts a command.
    #[track_caller]
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("these tests need {name}, which cannot be run: {error}"),
        };
        let stderr = child.stderr.take().expect("stderr is piped");
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            pieces: None,
            unread: Vec::new(),
            stderr: read_to_end(stderr),
            child,
        }
    }

    /// Returns the address of a server, which its first line has.
    #[track_caller]
    pub fn address(&mut self) -> String {
        let line = self.line();
        match line.strip_prefix("listening on ") {
            Some(address) => address.to_owned(),
            None => panic!("{} began with {line:?}, not with its address", self.name),
        }
    }

    /// Returns the next line of stdout.
    #[track_caller]
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            if !self.read_more() {
                let ended = self.wait();
                panic!("{} ended without another line: {ended:?}", self.name);
            }
        }
    }

    /// Writes a line to stdin.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").expect("the program takes a line");
    }

    /// Closes the reading end of stdout.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Returns the next piece of stdout, of any length, or `None` at its end.
    #[track_caller]
    pub fn piece(&mut self) -> Option<Vec<u8>> {
        if self.unread.is_empty() && !self.read_more() {
            return None;
        }
        Some(std::mem::take(&mut self.unread))
    }

    /// Sends a signal, such as `TERM`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {name}");
    }

    /// Waits for the program's end. Returns the output that was not taken yet.
    #[track_caller]
    pub fn finish(mut self) -> Ended {
        self.wait()
    }

    /// Waits for the end of a program that must succeed.
    #[track_caller]
    pub fn succeed(self) -> Ended {
        let name = self.name.clone();
        let ended = self.finish();
        assert!(ended.code == Some(0), "{name} failed: {ended:?}");
        ended
    }

    /// Ends a server with a signal. It must exit with code 0.
    #[track_caller]
    pub fn end_with(self, signal: &str) {
        self.signal(signal);
        self.succeed();
    }

    /// Returns the peak of its memory in KiB, if the system reports it.
    #[track_caller]
    pub fn peak_memory(&self) -> Option<u64> {
        kib_of(self.child.id(), "VmHWM:")
    }

    /// Returns the memory that it has, in KiB, where the system tells.
    #[track_caller]
    pub fn memory(&self) -> Option<u64> {
        memory(self.child.id())
    }

    /// Returns the number of its open descriptors, if the system reports it.
    #[track_caller]
    pub fn descriptors(&self) -> Option<usize> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let path = format!("/proc/{}/fd", self.child.id());
        let entries = std::fs::read_dir(path).expect("the program runs");
        Some(entries.count())
    }

    #[track_caller]
    fn wait(&mut self) -> Ended {
        self.stdin = None;
        if self.stdout.is_some() || self.pieces.is_some() {
            while self.read_more() {}
        }
        // A program that has closed stderr ends soon.
        let Ok(stderr) = self.stderr.recv_timeout(PATIENCE) else {
            panic!("{} did not end", self.name);
        };
        Ended {
            code: self.child.wait().expect("the program is ours").code(),
            stdout: std::mem::take(&mut self.unread),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Waits for more of stdout. Returns false at its end.
    #[track_caller]
    fn read_more(&mut self) -> bool {
        let stdout = self.stdout.take();
        let pieces = match (&self.pieces, stdout) {
            (Some(pieces), _) => pieces,
            (None, Some(stdout)) => self.pieces.insert(read_pieces(stdout)),
            (None, None) => return false,
        };
        match pieces.recv_timeout(PATIENCE) {
            Ok(piece) => {
                self.unread.extend_from_slice(&piece);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("{} said nothing for too long", self.name),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail if it was waited for before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads in a thread, at most a few pieces ahead.
fn read_pieces(mut stdout: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(4);
    thread::spawn(move || {
        let mut buf = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = stdout.read(&mut buf) {
            if sender.send(buf[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

fn read_to_end(mut stderr: ChildStderr) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        let _ = sender.send(text);
    });
    receiver
}

/// Returns the path of Python itself. What `python3` names may be a script that chooses
/// among versions each time (pyenv's takes ten times as long as Python's start).
#[track_caller]
pub fn interpreter() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut command = Command::new("python3");
        command.args(["-c", "import sys; print(sys.executable)"]);
        match command.output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned(),
            Err(error) => panic!("these tests need python3, which cannot be run: {error}"),
        }
    })
}

/// Returns the memory that a process has, in KiB, where the system tells.
#[track_caller]
pub fn memory(process: u32) -> Option<u64> {
    kib_of(process, "VmRSS:")
}

/// Returns a line of a process's status, in KiB, where the system has that.
#[track_caller]
fn kib_of(process: u32, line: &str) -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(path).expect("the program runs");
    let found = status.lines().find_map(|it| it.strip_prefix(line));
    let kib = found.and_then(|kib| kib.split_whitespace().next()?.parse().ok());
    Some(kib.expect("a number of KiB"))
}

/// Returns the path of an example. It is beside the directory of this test. Cargo builds the
/// examples before it runs all tests, but not before it runs this one alone.
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    let target = test.ancestors().nth(2).expect("a target directory");
    let path = target.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples` first, with the same options",
        path.display()
    );
    path
}

/// The beginning of the Python programs. `say` and `hear` are for talking to the test. The alarm ends
/// a program that hangs.
const PRELUDE: &str = r#"
import os, signal, socket, struct, sys, threading
signal.alarm(110)

def split(text):
    if '/' in text:
        return socket.AF_UNIX, text
    host, port = text.rsplit(':', 1)
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    return family, (host.strip('[]'), int(port))

def connect(text):
    family, address = split(text)
    s = socket.socket(family)
    s.settimeout(100)
    s.connect(address)
    return s

def listen(text, rcvbuf=None):
    family, address = split(text)
    s = socket.socket(family)
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(100)
    s.bind(address)
    s.listen(64)
    say('listening on', show(s.getsockname()))
    return s

def accept(listener):
    s, _ = listener.accept()
    s.settimeout(100)
    return s

def show(address):
    if isinstance(address, str):
        return address
    host, port = address[:2]
    return ('[%s]:%d' if ':' in host else '%s:%d') % (host, port)

def read_all(s):
    data = bytearray()
    while piece := s.recv(65536):
        data += piece
    return bytes(data)

def read_exactly(s, n):
    data = bytearray()
    while len(data) < n:
        piece = s.recv(n - len(data))
        assert piece, 'it ended after %d of %d bytes' % (len(data), n)
        data += piece
    return bytes(data)

def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()

def noise(n, seed):
    import random
    return random.Random(seed).randbytes(n)

def check(got, expected, what):
    assert len(got) == len(expected), '%s: %d of %d bytes' % (what, len(got), len(expected))
    assert got == expected, what + ' differs'

def background(f, *args):
    failures = []
    def run():
        try:
            f(*args)
        except BaseException as e:
            failures.append(e)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    def join():
        thread.join()
        if failures:
            raise failures[0]
    return join

def say(*words):
    print(*words, flush=True)

def hear():
    return input()
"#;
