//! The error of `try_add`.

use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;

/// The error of [`EventLoop::try_add`](crate::EventLoop::try_add): the reason, and the
/// channel itself, which is still open.
/// Turned into an [`Error`] with `?`, the channel is dropped and so closed.
///
/// ```
/// use fdloop::{EventLoop, Dispatcher, Handler, Socket};
/// # struct Quiet;
/// # impl Handler for Quiet {}
/// # fn main() -> fdloop::Result<()> {
/// let mut event_loop = EventLoop::new()?;
/// let mut channel = Dispatcher::new(Socket::pair()?.0, Quiet)?;
/// channel.close();
/// let error = event_loop.try_add(channel).unwrap_err();
/// println!("{}", error.error);
/// let _: Quiet = error.channel.into_handler();
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub struct AddError<C> {
    /// The channel that was not added.
    pub channel: C,
    /// The reason.
    pub error: Error,
}

impl<C> fmt::Debug for AddError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Display for AddError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<C> StdError for AddError<C> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

impl<C> From<AddError<C>> for Error {
    fn from(failed: AddError<C>) -> Self {
        failed.error
    }
}
