//! Ids of timers.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::event_loop::EventLoop;
use crate::event_loop::cancel::Cancel;
use crate::event_loop::id::Serial;

/// The id of a timer: small and copyable. [`EventLoop::call_later`], [`EventLoop::call_at`] and
/// [`EventLoop::call_every`] return it; [`EventLoop::cancel`] and [`EventLoop::reset`] take it.
///
/// The id of a timer that has fired for the last time, or was cancelled, finds nothing.
#[derive(Clone, Copy)]
pub struct TimerId {
    pub(super) slot: u32,
    pub(super) serial: Serial,
}

impl Cancel for TimerId {
    #[inline]
    fn cancel(self, event_loop: &mut EventLoop) -> bool {
        let cancelled = event_loop.timers.cancel(self);
        event_loop.settle_timers();
        cancelled
    }
}

impl PartialEq for TimerId {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for TimerId {}

impl Hash for TimerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.serial.hash(state);
    }
}

impl fmt::Debug for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerId(#{:x})", self.serial)
    }
}
