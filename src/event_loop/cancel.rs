//! One method for everything in a loop that can be cancelled.

use super::EventLoop;

/// An id that [`EventLoop::cancel`] takes. Ids of your own that stand for something in a loop can
/// be one as well.
///
/// ```
/// use fdloop::{Cancel, EventLoop, TimerId};
/// use std::time::Duration;
///
/// /// A request, which is repeated until it is cancelled.
/// #[derive(Clone, Copy)]
/// struct Request {
///     repetition: TimerId,
/// }
/// impl Cancel for Request {
///     fn cancel(self, event_loop: &mut EventLoop) -> bool {
///         event_loop.cancel(self.repetition)
///     }
/// }
///
/// let mut event_loop = EventLoop::new()?;
/// let repetition = event_loop.call_every(Duration::from_secs(1), |_| Ok(()));
/// let request = Request { repetition };
/// assert!(event_loop.cancel(request));
/// assert!(!event_loop.cancel(request));
/// # Ok::<(), fdloop::Error>(())
/// ```
pub trait Cancel {
    /// Cancels what the id stands for, and drops its function. Returns false if it has come to its
    /// end, or was cancelled before.
    fn cancel(self, event_loop: &mut EventLoop) -> bool;
}

impl EventLoop {
    /// Cancels a timer or something else that an id stands for, and drops its function. Returns
    /// false if it has come to its end (a timer has fired for the last time), or was cancelled
    /// before.
    ///
    /// Any handler and any callback may cancel anything, also a timer whose time has come in the
    /// same pass, and a callback itself.
    #[inline]
    pub fn cancel(&mut self, id: impl Cancel) -> bool {
        id.cancel(self)
    }
}
