//! The classes of errors: the effect of each on its channel, and lost connections.

use std::io;

use super::Error;

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

/// Checks whether an error of accept(2) concerns one connection, or is temporary.
pub(crate) fn is_passing(errno: i32) -> bool {
    // Linux passes on errors that are pending on the new connection. Its manual says to
    // treat them like EAGAIN.
    #[cfg(accept_passes_on_errors)]
    if matches!(
        errno,
        libc::ENONET
            | libc::ENOSR
            | libc::EOPNOTSUPP
            | libc::EPROTONOSUPPORT
            | libc::ESOCKTNOSUPPORT
    ) {
        return true;
    }
    matches!(
        errno,
        libc::EAGAIN
            | libc::EINTR
            | libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ETIMEDOUT
    )
}
