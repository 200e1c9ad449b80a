//! The options of a loop.

use super::EventLoop;
use crate::error::Result;
use crate::poller::{Backend, Poller};

/// The options of an [`EventLoop`], from [`EventLoop::builder`].
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
#[derive(Debug, Default)]
pub struct Builder {
    backend: Backend,
    poller: Option<Box<dyn Poller>>,
    catch_panics: bool,
}

impl Builder {
    /// Sets the system call to wait with.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Sets a poller of your own instead of a backend's: another system call, a simulated one
    /// for tests, or one that observes a backend's.
    ///
    /// ```
    /// use fdloop::{Backend, Deadline, Event, EventLoop, Interest, Poller};
    /// use std::{io, os::fd::RawFd};
    ///
    /// /// Logs how long each wait may take.
    /// #[derive(Debug)]
    /// struct Logged<P>(P);
    ///
    /// impl<P: Poller> Poller for Logged<P> {
    ///     fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
    ///         self.0.set(fd, interest)
    ///     }
    ///     fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
    ///         log::debug!("waiting for {:?}", deadline.remaining());
    ///         self.0.wait(deadline, ready)
    ///     }
    /// }
    ///
    /// let event_loop = EventLoop::builder()
    ///     .poller(Logged(Backend::default().poller()))
    ///     .catch_panics(true)
    ///     .build()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn poller(mut self, poller: impl Poller + 'static) -> Self {
        self.poller = Some(Box::new(poller));
        self
    }

    /// Sets whether a panic of a handler is passed to its channel's `handle_error`, as
    /// [`Error::Panicked`](crate::Error::Panicked), and the loop goes on. Off by default: a
    /// panic passes through the loop, which closes only that channel and can be run again. In a
    /// program built with `panic = "abort"` this has no effect.
    #[must_use]
    pub fn catch_panics(mut self, catch: bool) -> Self {
        self.catch_panics = catch;
        self
    }

    /// Makes the loop.
    ///
    /// # Errors
    ///
    /// None at present. Later versions may need descriptors.
    pub fn build(self) -> Result<EventLoop> {
        let poller = self.poller.unwrap_or_else(|| self.backend.poller());
        Ok(EventLoop::from_parts(poller, self.catch_panics))
    }
}
