//! Conversions of errors that handlers meet, and from and to `io::Error`.

use std::error::Error as StdError;
use std::io;

use super::Error;

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
