//! The clock of a loop, and the time at which it has something to do.

use std::time::{Duration, Instant};

use super::EventLoop;
use crate::poller::Deadline;

impl EventLoop {
    /// Returns the time by which timers fire and waits end: the monotonic clock's, or the
    /// [poller](crate::Poller::now)'s.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.poller.now()
    }

    /// Returns the deadline `timeout` from now.
    pub(super) fn deadline_after(&self, timeout: Option<Duration>) -> Deadline {
        Deadline::from_now(timeout, || self.poller.now())
    }

    /// Returns the time at which the loop next has something to do without an event of a
    /// descriptor: that of its first timer, or [`Deadline::Now`] if a channel is to be settled.
    /// For a program that waits by itself, and then calls
    /// [`turn`](EventLoop::turn)`(Some(Duration::ZERO))`.
    ///
    /// ```
    /// use fdloop::{Deadline, EventLoop};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// assert_eq!(event_loop.next_deadline(), Deadline::Never);
    /// event_loop.call_later(Duration::from_secs(1), |_| Ok(()));
    /// assert!(event_loop.next_deadline().remaining().unwrap() <= Duration::from_secs(1));
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn next_deadline(&self) -> Deadline {
        let deferred = self.deferred.are_due();
        if deferred || !self.touched.is_empty() || !self.calls.is_empty() {
            return Deadline::Now;
        }
        let fresh = self.deadline_after(self.timers.first_delay());
        earlier(self.timers.deadline(), fresh)
    }
}

/// Returns the earlier of two deadlines.
pub(super) fn earlier(one: Deadline, other: Deadline) -> Deadline {
    match (one, other) {
        (Deadline::Now, _) | (_, Deadline::Now) => Deadline::Now,
        (Deadline::At(a), Deadline::At(b)) => Deadline::At(a.min(b)),
        (Deadline::Never, other) => other,
        (one, Deadline::Never) => one,
    }
}
