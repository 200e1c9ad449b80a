//! The error type of the crate.

mod classes;
mod conversions;
mod parts;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

pub(crate) use classes::{Effect, is_disconnected, is_passing};
pub use parts::{Misuse, Panic, SystemError};

/// A result whose error is [`Error`], unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of every fallible call of the crate, and of every handler.
///
/// Errors of [`std::io`] turn into it with `?`, and so do those of the standard library that
/// handlers meet when they parse and convert, `Box<dyn Error + Send + Sync>`, and text. For
/// any other error, write `.map_err(Error::other)?`.
///
/// ```
/// use fdloop::{Error, Result};
///
/// fn port(line: &[u8]) -> Result<u16> {
///     let line = std::str::from_utf8(line)?;
///     let port = line.strip_prefix("port ").ok_or("expected a port")?;
///     Ok(port.parse()?)
/// }
/// assert_eq!(port(b"port 80")?, 80);
/// assert_eq!(port(b"name x").unwrap_err().to_string(), "expected a port");
/// # Ok::<(), Error>(())
/// ```
///
/// [`Poller`](crate::Poller) and [`Transport`](crate::Transport), which programs implement
/// over system calls, return [`io::Error`] as [`io::Read`] does. An `Error` passes through
/// these unchanged: it is converted into an `io::Error`, and back.
///
/// The loop acts on the error that a handler returns:
///
/// - [`Error::ExitNow`] and [`Error::fatal`] leave [`EventLoop::run`](crate::EventLoop::run),
///   which returns them;
/// - `WouldBlock` and `Interrupted` are not errors: the handler is called again at the next
///   event;
/// - an error of the channel's own descriptor that means a lost connection
///   ([`is_disconnected`](Error::is_disconnected)) calls `handle_close`;
/// - any other calls `handle_error`, which by default logs it and closes. That includes EPIPE
///   of another file or channel that the handler writes to.
///
/// An error is the channel's own if a method of its [`Endpoint`](crate::Endpoint) or
/// [`Io`](crate::Io) returned it, so that [`fd`](Error::fd) is the channel's number.
///
/// `Debug` shows the text of `Display` and the causes that it omits. So a `main` that returns
/// an error prints a readable message.
#[non_exhaustive]
pub enum Error {
    /// Leaves the loop: every handler passes it on, and `run` returns it. asyncore's `ExitNow`.
    ExitNow,
    /// An input or output error of a handler's own.
    Io(io::Error),
    /// A failed system call, with the action and the descriptor.
    System(Box<SystemError>),
    /// A use of the crate that cannot work, with a message that says what to do instead.
    Misuse(Box<Misuse>),
    /// A piece of a chat's input is longer than its limit, in bytes, which is the value. If
    /// `handle_error` lets the channel go on, the whole piece is dropped: see
    /// [`ChatIo::set_limit`](crate::ChatIo::set_limit).
    LineTooLong(usize),
    /// A handler panicked, in a loop that catches panics.
    Panicked(Box<Panic>),
    /// Any other error of a handler.
    Other(io::Error),
    /// An error that leaves the loop: see [`Error::fatal`].
    Fatal(Box<Error>),
}

impl Error {
    /// Wraps an error of the handler's own, or a message.
    ///
    /// ```
    /// let error = fdloop::Error::other("no greeting from the server");
    /// assert_eq!(error.to_string(), "no greeting from the server");
    /// ```
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Other(io::Error::other(error))
    }

    /// Makes an error that leaves the loop: it passes through every handler unchanged, as
    /// [`Error::ExitNow`] does, and [`run`](crate::EventLoop::run) returns it. For a failure
    /// after which the whole program cannot go on.
    ///
    /// Its text, its [`kind`](Error::kind) and its source are those of `error`. An `Error`
    /// or an [`io::Error`] stays what it is within [`Error::Fatal`].
    ///
    /// ```
    /// use fdloop::{Dispatcher, Error, EventLoop, Handler, Io, Result, Socket};
    /// use std::fs::File;
    ///
    /// struct Recorder;
    /// impl Handler for Recorder {
    ///     fn handle_write(&mut self, _: &mut Io<'_>) -> Result<()> {
    ///         File::create("/nowhere/at/all").map_err(Error::fatal)?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (ours, _theirs) = Socket::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(Dispatcher::new(ours, Recorder)?)?;
    /// let error = event_loop.run().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn fatal(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => match error.downcast::<io::Error>() {
                Ok(error) => Self::from(*error),
                Err(error) => Self::other(error),
            },
        };
        match error {
            Self::ExitNow | Self::Fatal(_) => error,
            error => Self::Fatal(Box::new(error)),
        }
    }

    /// Makes the error of a caught panic.
    #[cold]
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let message = text.unwrap_or_else(|| "(no message)".to_owned());
        Self::Panicked(Box::new(Panic { message }))
    }

    /// Makes the error of a failed system call on `fd`.
    #[cold]
    pub(crate) fn system(action: impl Into<String>, fd: Option<RawFd>, source: io::Error) -> Self {
        // A transport may pass on an error of this crate, which already has its context.
        let source = match source.downcast::<Self>() {
            Ok(error) => return error,
            Err(source) => source,
        };
        // Hot paths return `WouldBlock`, whose text is not used.
        if matches!(
            source.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        ) {
            return Self::Io(source);
        }
        Self::System(Box::new(SystemError {
            action: action.into(),
            fd,
            source,
            advice: None,
        }))
    }

    /// Adds a remedy to the error of a failed system call.
    #[cold]
    pub(crate) fn advise(mut self, advice: &'static str) -> Self {
        if let Self::System(error) = &mut self {
            error.advice = Some(advice);
        }
        self
    }

    /// Makes the error of a misuse. The message says what to do instead.
    #[cold]
    pub(crate) fn misuse(kind: io::ErrorKind, message: impl Into<String>) -> Self {
        Self::Misuse(Box::new(Misuse {
            kind,
            message: message.into(),
        }))
    }

    /// Returns the standard library's class of the error; `Other` if it has none.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Misuse(misuse) => misuse.kind,
            Self::LineTooLong(_) => io::ErrorKind::InvalidData,
            // It leaves the loop although its cause would not.
            Self::Fatal(error) if error.would_block() => io::ErrorKind::Other,
            Self::Fatal(error) => error.kind(),
            Self::ExitNow | Self::Panicked(_) | Self::Other(_) => io::ErrorKind::Other,
            Self::Io(_) | Self::System(_) => {
                self.io().map_or(io::ErrorKind::Other, io::Error::kind)
            }
        }
    }

    /// Returns the `errno` of the system call that caused the error, if any.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Fatal(error) => error.raw_os_error(),
            error => error.io().and_then(io::Error::raw_os_error),
        }
    }

    /// Returns the descriptor of the failed system call, if a method of this crate made the
    /// call. Errors of the standard library have none.
    #[must_use]
    pub fn fd(&self) -> Option<RawFd> {
        match self {
            Self::System(error) => error.fd,
            Self::Fatal(error) => error.fd(),
            _ => None,
        }
    }

    fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io(error) => Some(error),
            Self::System(error) => Some(&error.source),
            _ => None,
        }
    }

    /// Checks whether the error only means that the call would block, or was interrupted.
    #[must_use]
    pub fn would_block(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        )
    }

    /// Checks whether the error means that the connection is lost: ECONNRESET, ENOTCONN,
    /// ESHUTDOWN, ECONNABORTED, EPIPE, EBADF or ETIMEDOUT, or the corresponding `ErrorKind` of
    /// an error without `errno`.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.io().is_some_and(is_disconnected)
    }

    /// Checks whether the error leaves the loop, so that no channel handles it:
    /// [`ExitNow`](Error::ExitNow), or one made by [`fatal`](Error::fatal).
    #[must_use]
    pub fn is_exit(&self) -> bool {
        matches!(self, Self::ExitNow | Self::Fatal(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitNow => f.write_str("a handler asked to leave the loop"),
            Self::Io(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
            Self::Misuse(misuse) => misuse.fmt(f),
            Self::LineTooLong(limit) => {
                write!(
                    f,
                    "a piece of the input is longer than the {limit} bytes allowed"
                )
            }
            Self::Panicked(panic) => panic.fmt(f),
            Self::Other(error) => error.fmt(f),
            Self::Fatal(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // This is what a user sees when `main` returns it.
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let because = error.to_string();
            if !text.contains(&because) {
                text = format!("{text}: {because}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::System(error) => Some(&error.source),
            Self::Other(error) => error.source(),
            Self::Fatal(error) => error.source(),
            Self::ExitNow | Self::Misuse(_) | Self::LineTooLong(_) | Self::Panicked(_) => None,
        }
    }
}
