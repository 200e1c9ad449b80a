//! Cancelling: one method for timers, signals, children and lookups.

use super::EventLoop;

/// An id that [`EventLoop::cancel`] takes. Implement it for ids of your own that name something in
/// a loop.
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
    /// Cancels the timer, callback or request that the id names, and drops its function. Returns
    /// false if it has ended or was cancelled before.
    fn cancel(self, event_loop: &mut EventLoop) -> bool;
}

impl EventLoop {
    /// Cancels the timer, callback or request that an id names, and drops its function. Returns
    /// false if it has ended (a timer has fired for the last time) or was cancelled before.
    ///
    /// Any handler and any callback may cancel anything, including a timer that is due in the same
    /// pass, and itself.
    #[inline]
    pub fn cancel(&mut self, id: impl Cancel) -> bool {
        id.cancel(self)
    }
}
