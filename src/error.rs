//! The error type of the crate, and the classes of errors.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::os::fd::RawFd;

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
/// these unchanged: it turns into an `io::Error`, and back into what it was.
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

/// A system call that failed: see [`Error::System`].
#[derive(Debug)]
pub struct SystemError {
    action: String,
    fd: Option<RawFd>,
    source: io::Error,
    /// The remedy, if it is known.
    advice: Option<&'static str>,
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

/// A use of the crate that cannot work: see [`Error::Misuse`].
#[derive(Debug)]
pub struct Misuse {
    kind: io::ErrorKind,
    message: String,
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

/// A panic of a handler that was caught: see [`Error::Panicked`].
#[derive(Debug)]
pub struct Panic {
    message: String,
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
    /// [`Error::ExitNow`] does, and [`run`](crate::EventLoop::run) returns it. For what the
    /// whole program cannot go on without.
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

/// The effect of an error that a channel's method has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The error leaves the loop.
    Exit,
    /// Nothing: the method is called again at the next event.
    Nothing,
    /// The connection is lost: `handle_close` is called.
    End,
    /// `handle_error` is called.
    Failure,
}

impl Error {
    /// Classifies the error. `is_own_end` checks whether it means that the channel's own
    /// connection is lost.
    pub(crate) fn effect(&self, is_own_end: impl FnOnce(&Self) -> bool) -> Effect {
        if self.is_exit() {
            Effect::Exit
        } else if self.would_block() {
            Effect::Nothing
        } else if is_own_end(self) {
            Effect::End
        } else {
            Effect::Failure
        }
    }
}

/// See [`Error::is_disconnected`].
pub(crate) fn is_disconnected(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    match error.raw_os_error() {
        Some(errno) => matches!(
            errno,
            libc::ECONNRESET
                | libc::ENOTCONN
                | libc::ESHUTDOWN
                | libc::ECONNABORTED
                | libc::EPIPE
                | libc::EBADF
                | libc::ETIMEDOUT
        ),
        None => matches!(
            error.kind(),
            Kind::ConnectionReset
                | Kind::NotConnected
                | Kind::ConnectionAborted
                | Kind::BrokenPipe
                | Kind::TimedOut
        ),
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

impl From<io::Error> for Error {
    /// Restores the error that an `io::Error` was made from, and wraps any other.
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Io)
    }
}

/// Errors that handlers meet, which turn into [`Error::Other`] with `?`.
macro_rules! others {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::other(error)
            }
        }
    )+};
}

others!(
    std::char::ParseCharError,
    std::env::VarError,
    std::ffi::NulError,
    std::fmt::Error,
    std::net::AddrParseError,
    std::num::ParseFloatError,
    std::num::ParseIntError,
    std::num::TryFromIntError,
    std::str::ParseBoolError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::sync::mpsc::RecvError,
    std::sync::mpsc::TryRecvError,
    std::time::SystemTimeError,
    Box<dyn StdError + Send + Sync>,
    &str,
    String,
);

impl From<Error> for io::Error {
    /// Keeps the kind and the text with its descriptor. `raw_os_error` of the result is
    /// `None` for a failed system call: converting back gives an error that has it.
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            other => io::Error::new(other.kind(), other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem;

    fn errno(number: i32) -> Error {
        Error::from(io::Error::from_raw_os_error(number))
    }

    #[test]
    fn errno_classes_are_what_the_contract_names() {
        for number in [
            libc::ECONNRESET,
            libc::ENOTCONN,
            libc::ESHUTDOWN,
            libc::ECONNABORTED,
            libc::EPIPE,
            libc::EBADF,
            libc::ETIMEDOUT,
        ] {
            assert!(errno(number).is_disconnected(), "{number}");
            assert!(!errno(number).would_block(), "{number}");
        }
        assert!(errno(libc::EAGAIN).would_block());
        assert!(errno(libc::EINTR).would_block());
        assert!(!errno(libc::ECONNREFUSED).is_disconnected());
        assert!(Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_disconnected());
    }

    #[test]
    fn a_failed_call_names_what_and_where_and_why() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let error = Error::system("connect to 127.0.0.1:1", Some(7), refused);
        let text = error.to_string();
        assert!(
            text.starts_with("connect to 127.0.0.1:1 (fd 7): "),
            "{text}"
        );
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        assert!(error.source().is_some());
        assert_eq!(
            io::Error::from(error).kind(),
            io::ErrorKind::ConnectionRefused
        );
    }

    #[test]
    fn what_main_returns_is_shown_in_words() {
        let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let error = Error::system("bind to 127.0.0.1:8080", Some(3), in_use);
        assert_eq!(format!("{error:?}"), error.to_string());
        assert_eq!(format!("{:?}", Error::ExitNow), Error::ExitNow.to_string());
        assert_eq!(format!("{:?}", Error::other("no greeting")), "no greeting");
    }

    /// One of each variant.
    fn one_of_each() -> Vec<Error> {
        vec![
            Error::ExitNow,
            errno(libc::ECONNRESET),
            Error::system(
                "connect",
                Some(7),
                io::Error::from_raw_os_error(libc::EBADF),
            )
            .advise("check the address"),
            Error::misuse(io::ErrorKind::Unsupported, "no"),
            Error::LineTooLong(3),
            Error::panicked(&"a message"),
            Error::other("no greeting"),
            Error::fatal(io::Error::from_raw_os_error(libc::ENOSPC)),
        ]
    }

    #[test]
    fn an_error_comes_back_from_an_io_error_as_it_was() {
        for (error, again) in one_of_each().into_iter().zip(one_of_each()) {
            let wrapped = io::Error::from(error);
            assert_eq!(wrapped.kind(), again.kind());
            assert_eq!(wrapped.to_string(), again.to_string());
            let back = Error::from(wrapped);
            assert_eq!(mem::discriminant(&back), mem::discriminant(&again));
            assert_eq!(back.kind(), again.kind());
            assert_eq!(back.raw_os_error(), again.raw_os_error());
            assert_eq!(back.is_disconnected(), again.is_disconnected());
            assert_eq!(back.to_string(), again.to_string());
        }
    }

    #[test]
    fn an_error_of_the_crate_is_not_hidden_in_that_of_a_system_call() {
        for (error, again) in one_of_each().into_iter().zip(one_of_each()) {
            if matches!(error, Error::Io(_)) {
                continue; // It gets the context that it does not have.
            }
            let outer = Error::system("write", Some(9), error.into());
            assert_eq!(outer.to_string(), again.to_string());
            assert_eq!(outer.raw_os_error(), again.raw_os_error());
        }
    }

    #[test]
    fn a_fatal_error_shows_the_one_that_it_was_made_of() {
        let error = Error::fatal(io::Error::from_raw_os_error(libc::EPIPE));
        assert!(error.is_exit() && !error.is_disconnected());
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let error = Error::fatal(errno(libc::EAGAIN));
        assert!(error.is_exit() && !error.would_block());
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        assert_eq!(Error::fatal("no disk").to_string(), "no disk");
        assert!(matches!(Error::fatal(Error::ExitNow), Error::ExitNow));
        // Once is enough.
        let Error::Fatal(inner) = Error::fatal(Error::fatal("no disk")) else {
            panic!("not fatal");
        };
        assert!(matches!(*inner, Error::Other(_)));
    }

    #[test]
    fn each_part_is_an_error_with_accessors() {
        fn is_error<T: StdError + Send + Sync + 'static>(_: &T) {}
        for error in one_of_each() {
            is_error(&error);
            match error {
                Error::System(error) => {
                    is_error(&*error);
                    assert_eq!(error.io_error().raw_os_error(), Some(libc::EBADF));
                    assert_eq!(error.advice(), Some("check the address"));
                    assert_eq!((error.action(), error.fd()), ("connect", Some(7)));
                }
                Error::Misuse(misuse) => {
                    is_error(&*misuse);
                    assert_eq!(misuse.kind(), io::ErrorKind::Unsupported);
                    assert_eq!(misuse.message(), "no");
                }
                Error::Panicked(panic) => {
                    is_error(&*panic);
                    assert_eq!(panic.to_string(), "a handler panicked: a message");
                }
                _ => {}
            }
        }
    }

    #[derive(Debug)]
    struct Caused(&'static str, Option<Box<Caused>>);

    impl fmt::Display for Caused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Caused {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn causes_that_are_not_in_the_text_are_shown_behind_it() {
        let cause = Caused("no such host", Some(Box::new(Caused("no route", None))));
        let error = Error::other(Caused("cannot reach it: no such host", Some(cause.into())));
        assert_eq!(error.to_string(), "cannot reach it: no such host");
        assert_eq!(
            format!("{error:?}"),
            "cannot reach it: no such host: no route"
        );
    }

    #[test]
    fn a_result_is_one_word_larger_than_an_io_error() {
        // Two registers where an io::Error is one word, as on 64-bit systems.
        let most = size_of::<io::Error>() + size_of::<usize>();
        assert_eq!(size_of::<Result<()>>(), most);
    }
}
