//! The delay of a timer that has no time yet.

use super::time::NEVER;

/// The delay of a fresh timer in nanoseconds, or one of two states of other places. A place whose
/// fresh timer was cancelled keeps the delay, which has no meaning until the place is taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay(u64);

impl Delay {
    /// The place has no fresh timer, and is not in the list of those.
    pub(super) const NONE: Self = Self(NEVER + 1);

    /// The place has no fresh timer, but is in the list, since an earlier timer of the place was
    /// fresh.
    pub(super) const LISTED: Self = Self(NEVER + 2);

    /// Makes the delay of a fresh timer, of at most [`NEVER`] nanoseconds.
    #[inline]
    pub(super) fn new(nanos: u64) -> Self {
        debug_assert!(nanos <= NEVER);
        Self(nanos)
    }

    #[inline]
    pub(super) fn is_fresh(self) -> bool {
        self.0 <= NEVER
    }

    /// Checks whether the place is in the list of fresh timers.
    #[inline]
    pub(super) fn is_listed(self) -> bool {
        self != Self::NONE
    }

    /// Returns the state of the place once it has a timer with a time.
    #[inline]
    pub(super) fn ended(self) -> Self {
        if self.is_listed() {
            Self::LISTED
        } else {
            Self::NONE
        }
    }

    /// Returns the time of a fresh timer that was made at `now`.
    #[inline]
    pub(super) fn after(self, now: u64) -> Option<u64> {
        self.is_fresh()
            .then(|| now.saturating_add(self.0).min(NEVER))
    }
}
