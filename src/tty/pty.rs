//! Pseudo-terminals, and programs that run on them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use super::WindowSize;
use crate::error::{Error, Result};
use crate::sys::terminal;

/// A pseudo-terminal: a terminal, and its other end, the master. Bytes written to the master are
/// typed at the terminal, and the output of programs on the terminal is read from the master. See
/// pty(7).
///
/// Both sides are close-on-exec. (Where openpty(3) makes them, which is on every system but
/// Linux and Android, a program that another thread starts at the same moment may inherit them.)
///
/// # As a channel
///
/// Give the master to a [`FileDispatcher`](crate::FileDispatcher). Everything written to the
/// terminal is read, and then the input ends, when the last process has closed the terminal. A
/// process may outlive the program that was started, and keep the terminal open. To end with the
/// program instead, call [`end_input_when_empty`](crate::Endpoint::end_input_when_empty) when it
/// has exited.
///
/// ```
/// use fdloop::{EventLoop, FileDispatcher, Handler, Io, Pty, Result};
/// use std::process::Command;
///
/// struct Screen(Vec<u8>);
/// impl Handler for Screen {
///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
///         let mut buf = [0; 4096];
///         let n = io.recv(&mut buf)?;
///         self.0.extend_from_slice(&buf[..n]);
///         Ok(())
///     }
///     fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
///         assert_eq!(self.0, b"/dev/tty is mine\r\n");
///         Ok(())
///     }
/// }
///
/// let script = "[ -t 0 ] && echo /dev/tty is mine >/dev/tty";
/// let (mut child, master) = Pty::open()?.spawn(Command::new("sh").args(["-c", script]))?;
/// let mut event_loop = EventLoop::new()?;
/// event_loop.add(FileDispatcher::reader(master, Screen(Vec::new()))?)?;
/// event_loop.run()?;
/// assert!(child.wait()?.success());
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug)]
pub struct Pty {
    master: OwnedFd,
    terminal: OwnedFd,
}

impl Pty {
    /// Opens a pseudo-terminal. The size of its window is 0, which means unknown.
    ///
    /// # Errors
    ///
    /// The errors of posix_openpt(3) or openpty(3), such as the `errno` EMFILE if there are too
    /// many descriptors, and ENOSPC or EAGAIN if there are too many pseudo-terminals.
    pub fn open() -> Result<Self> {
        let opened = terminal::open_pty();
        let (master, terminal) =
            opened.map_err(|e| Error::system("open a pseudo-terminal", None, e))?;
        Ok(Self { master, terminal })
    }

    /// Opens a pseudo-terminal with a window of a given size.
    ///
    /// # Errors
    ///
    /// As for [`open`](Pty::open).
    pub fn with_size(size: WindowSize) -> Result<Self> {
        let pty = Self::open()?;
        // The size is set at the terminal, where illumos keeps it.
        size.set(&pty.terminal)?;
        Ok(pty)
    }

    /// Returns the master.
    #[must_use]
    pub fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Returns the terminal.
    #[must_use]
    pub fn terminal(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }

    /// Returns both sides: the master, and the terminal.
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, OwnedFd) {
        (self.master, self.terminal)
    }

    /// Starts `command` in a session of its own whose controlling terminal this is, with the
    /// terminal as its standard streams, whatever `command` had for them. Returns the child and
    /// the master. The terminal is closed here, so that the master's input ends when the child
    /// and its descendants have closed it.
    ///
    /// The child has the default dispositions of the signals that a terminal sends, also if this
    /// process ignores them, as one does that was started by nohup(1).
    ///
    /// When the last descriptor of the master is closed, the child's session gets SIGHUP. On Linux, a
    /// read that waits for input may return `EIO` before that, as in any terminal that vanishes.
    ///
    /// `command` cannot be used again: another child would have no terminal.
    ///
    /// # Errors
    ///
    /// The errors of [`Command::spawn`]: `NotFound` if the program does not exist,
    /// `PermissionDenied` if it is not executable.
    pub fn spawn(self, command: &mut Command) -> Result<(Child, OwnedFd)> {
        let Self { master, terminal } = self;
        let program = command.get_program().to_string_lossy().into_owned();
        let action = || format!("run {program:?} on a pseudo-terminal");
        let duplicate = || terminal.try_clone().map(Stdio::from);
        let streams = duplicate().and_then(|input| Ok((input, duplicate()?)));
        let (input, output) = streams.map_err(|e| Error::system(action(), None, e))?;
        command.stdin(input).stdout(output).stderr(terminal);
        terminal::control_by_stdin(command);
        let child = command.spawn();
        // Otherwise the command would keep the terminal open.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = child.map_err(|e| Error::system(action(), None, e))?;
        Ok((child, master))
    }
}
