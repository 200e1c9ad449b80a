//! Descriptors for tests.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::termios::{
    ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, cfmakeraw, tcgetattr, tcsetattr,
};

use super::PATIENCE;

/// The settings of a terminal: those that every C library fills in. musl leaves others as they
/// were.
pub type Settings = (InputFlags, OutputFlags, ControlFlags, LocalFlags, [u8; 4]);

/// Returns the settings of a terminal.
#[track_caller]
pub fn settings_of(terminal: impl AsFd) -> Settings {
    let settings = tcgetattr(terminal).unwrap();
    (
        settings.input_flags,
        settings.output_flags,
        settings.control_flags,
        settings.local_flags,
        [libc::VMIN, libc::VTIME, libc::VINTR, libc::VSUSP].map(|at| settings.control_chars[at]),
    )
}

/// A temporary directory, which is removed when this is dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, since the path of a Unix socket has room for about 100 bytes.
        let name = format!("fdloop-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the path of a file in the directory, for a command line.
    pub fn file(&self, name: &str) -> String {
        self.join(name).into_os_string().into_string().unwrap()
    }

    /// Returns the names of the files in the directory.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        entries.map(|entry| name(entry.unwrap())).collect()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // An error would hide the failure of the test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns whether a descriptor is close-on-exec, and whether it is non-blocking.
#[track_caller]
pub fn fd_flags(fd: impl AsFd) -> (bool, bool) {
    let own = fcntl(&fd, FcntlArg::F_GETFD).unwrap();
    let shared = fcntl(&fd, FcntlArg::F_GETFL).unwrap();
    (
        FdFlag::from_bits_retain(own).contains(FdFlag::FD_CLOEXEC),
        OFlag::from_bits_retain(shared).contains(OFlag::O_NONBLOCK),
    )
}

/// Opens a pseudo-terminal in raw mode. Returns the master and the terminal.
pub fn raw_pty() -> (File, File) {
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut modes = tcgetattr(&pty.slave).unwrap();
    cfmakeraw(&mut modes);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &modes).unwrap();
    (File::from(pty.master), File::from(pty.slave))
}

/// Returns the status flags of the open file description.
#[track_caller]
pub fn status_flags(fd: impl AsFd) -> OFlag {
    OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL).unwrap())
}

/// Runs `act`, which must not block, in a thread of its own, so that a test that blocks fails instead
/// of hanging.
#[track_caller]
pub fn at_once<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(act()));
    let result = result.recv_timeout(PATIENCE);
    let result = result.expect("it blocks, or panicked");
    thread.join().unwrap().unwrap();
    result
}

/// Returns data in which a missing or misplaced piece shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 251 + i) as u8).collect()
}

/// Makes a pipe that holds 200,000 bytes, or as many as fit if its size cannot be set, and whose
/// writer is closed. Returns the reader and the bytes.
pub fn stuffed_pipe() -> (os_pipe::PipeReader, Vec<u8>) {
    let (reader, mut writer) = os_pipe::pipe().unwrap();
    #[cfg(target_os = "linux")]
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1 << 18)).unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut data = pattern(200_000);
    let written = write_what_fits(&mut writer, &data);
    #[cfg(target_os = "linux")]
    assert_eq!(written, data.len());
    data.truncate(written);
    (reader, data)
}

/// Makes a Unix socket that holds at least 50,000 bytes, and whose peer is closed. Returns the socket
/// and the bytes.
pub fn stuffed_stream() -> (UnixStream, Vec<u8>) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    let size = nix::sys::socket::sockopt::SndBuf;
    nix::sys::socket::setsockopt(&writer, size, &400_000).unwrap();
    writer.set_nonblocking(true).unwrap();
    let mut data = pattern(200_000);
    let written = write_what_fits(&mut writer, &data);
    assert!(written >= 50_000, "only {written} bytes fit into a socket");
    data.truncate(written);
    (reader, data)
}

fn write_what_fits(writer: &mut impl Write, data: &[u8]) -> usize {
    let mut written = 0;
    while written < data.len() {
        match writer.write(&data[written..]) {
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    written
}
