//! The information about a signal that its callback gets.

use std::fmt;

use libc::c_int;

use crate::error::{Error, Result};
use crate::sys::signal::{Origin, perform_default};

/// A signal that has arrived: see [`EventLoop::on_signal`](crate::EventLoop::on_signal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignalInfo {
    signal: c_int,
    sender: Option<Sender>,
}

/// The process that has sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sender(Origin);

impl Sender {
    /// Returns the id of the process, which may have ended since. On Linux it is 0 for a process
    /// outside of this one's PID namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Returns the real user id of the process.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.0.uid
    }
}

impl SignalInfo {
    pub(super) fn new(signal: c_int, origin: Option<Origin>) -> Self {
        let sender = origin.map(Sender);
        Self { signal, sender }
    }

    /// Returns the number of the signal, such as `libc::SIGTERM`.
    #[must_use]
    pub fn signal(&self) -> c_int {
        self.signal
    }

    /// Returns the process that sent the signal, with kill(2) or sigqueue(3). For SIGCHLD it is the
    /// child.
    ///
    /// `None` for a signal that the kernel sent, such as for a key of the terminal or a timer, and
    /// where the platform does not report the sender: for sigqueue(3) on NetBSD, OpenBSD, DragonFly
    /// and illumos, and on processors without 64-bit atomics.
    #[must_use]
    pub fn sender(&self) -> Option<Sender> {
        self.sender
    }

    /// Performs the default action of the signal (signal(7)), for a program that cleans up first.
    /// For SIGTERM and most others the process ends, and its parent sees the signal. For SIGTSTP
    /// the process stops, and this returns when it is continued. For SIGWINCH nothing happens.
    ///
    /// While this runs, the signal is not caught, and a [`RawMode`](crate::RawMode) does not see
    /// it: [pause](crate::RawMode::pause) that before.
    ///
    /// ```no_run
    /// # fn restore_terminal() {}
    /// # fn set_terminal() {}
    /// let mut event_loop = fdloop::EventLoop::new()?;
    /// event_loop.on_signal(libc::SIGTSTP, |_, info| {
    ///     restore_terminal();
    ///     info.perform_default()?; // until `fg`
    ///     set_terminal();
    ///     Ok(())
    /// })?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of sigaction(2) and raise(3), which do not fail for a signal that was caught.
    pub fn perform_default(&self) -> Result<()> {
        let done = perform_default(self.signal);
        done.map_err(|e| Error::system(format!("perform the default of {self}"), None, e))
    }
}

/// Shows the name of the signal, or its number.
impl fmt::Display for SignalInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.signal) {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.signal),
        }
    }
}

/// Returns the name of a signal that POSIX has, or SIGWINCH.
pub(super) fn name(signal: c_int) -> Option<&'static str> {
    Some(match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGALRM => "SIGALRM",
        libc::SIGBUS => "SIGBUS",
        libc::SIGCHLD => "SIGCHLD",
        libc::SIGCONT => "SIGCONT",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGPROF => "SIGPROF",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSTOP => "SIGSTOP",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGTSTP => "SIGTSTP",
        libc::SIGTTIN => "SIGTTIN",
        libc::SIGTTOU => "SIGTTOU",
        libc::SIGURG => "SIGURG",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        _ => return None,
    })
}
