//! Options that a loop is made with.

use super::EventLoop;
use crate::error::Result;
use crate::poller::Backend;

/// Makes an [`EventLoop`] with options; from [`EventLoop::builder`].
///
/// ```
/// use fdloop::{Backend, EventLoop};
///
/// let event_loop = EventLoop::builder()
///     .backend(Backend::default())
///     .catch_panics(true)
///     .build()?;
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Builder {
    backend: Backend,
    catch_panics: bool,
}

impl Builder {
    /// The system call to wait with.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Whether a panic in a handler is given to that channel's `handle_error`, as
    /// [`Error::Panicked`](crate::Error::Panicked), and the loop goes on. By
    /// default it passes through the loop, which closes that channel alone and
    /// can be run again. A program built with `panic = "abort"` has no choice.
    #[must_use]
    pub fn catch_panics(mut self, catch: bool) -> Self {
        self.catch_panics = catch;
        self
    }

    /// Makes the loop.
    ///
    /// # Errors
    ///
    /// None today; a loop may come to need descriptors of its own.
    pub fn build(self) -> Result<EventLoop> {
        Ok(EventLoop::from_parts(
            self.backend.poller(),
            self.catch_panics,
        ))
    }
}
