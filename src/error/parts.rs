//! The parts of an error that have accessors of their own.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

/// A system call that failed: see [`Error::System`](crate::Error::System).
#[derive(Debug)]
pub struct SystemError {
    pub(super) action: String,
    pub(super) fd: Option<RawFd>,
    pub(super) source: io::Error,
    /// The remedy, if it is known.
    pub(super) advice: Option<&'static str>,
}

impl SystemError {
    /// Returns the action that failed, such as `connect to 127.0.0.1:80`.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Returns the descriptor of the call, if there was one.
    #[must_use]
    pub fn fd(&self) -> Option<RawFd> {
        self.fd
    }

    /// Returns the error of the system call.
    #[must_use]
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }

    /// Returns the remedy, if the crate knows one.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.advice
    }
}

impl StdError for SystemError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fd {
            Some(fd) => write!(f, "{} (fd {fd})", self.action),
            None => f.write_str(&self.action),
        }?;
        write!(f, ": {}", self.source)?;
        match self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// A use of the crate that cannot work: see [`Error::Misuse`](crate::Error::Misuse).
#[derive(Debug)]
pub struct Misuse {
    pub(super) kind: io::ErrorKind,
    pub(super) message: String,
}

impl Misuse {
    /// Returns the class of the misuse.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }

    /// Returns the message, which names the descriptor and says what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl StdError for Misuse {}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A panic of a handler that was caught: see [`Error::Panicked`](crate::Error::Panicked).
#[derive(Debug)]
pub struct Panic {
    pub(super) message: String,
}

impl Panic {
    /// Returns the message of the panic.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl StdError for Panic {}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a handler panicked: {}", self.message)
    }
}
