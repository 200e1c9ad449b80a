//! Times of timers: nanoseconds since an epoch, in 64 bits.

use std::time::{Duration, Instant};

/// A time that no clock reaches. (After 584 years.)
pub(super) const NEVER: u64 = u64::MAX - 2;

/// The time before the first timer within which past deadlines keep their order.
const PAST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The time from which timers count, long before the first one is made. Earlier times count as
/// this one.
#[derive(Debug, Default)]
pub(super) struct Epoch(Option<Instant>);

impl Epoch {
    /// Converts a time to nanoseconds. The first call begins the epoch: its time must be near the
    /// present.
    #[inline]
    pub(super) fn nanos(&mut self, at: Instant) -> u64 {
        let epoch = *self.0.get_or_insert_with(|| {
            // Some clocks begin at 0, before which no time can be expressed.
            at.checked_sub(PAST).unwrap_or(at)
        });
        nanos(at.saturating_duration_since(epoch))
    }

    /// Converts the time `delay` after `now` to nanoseconds.
    #[inline]
    pub(super) fn nanos_after(&mut self, now: Instant, delay: Duration) -> u64 {
        self.nanos(now).saturating_add(nanos(delay)).min(NEVER)
    }

    /// Checks whether the epoch has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Converts nanoseconds to a time. `None` if no clock reaches it.
    pub(super) fn time(&self, nanos: u64) -> Option<Instant> {
        if nanos >= NEVER {
            return None;
        }
        self.0?.checked_add(Duration::from_nanos(nanos))
    }
}

/// Converts a duration to nanoseconds: [`NEVER`] for one that is too long.
#[inline]
pub(super) fn nanos(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    let nanos = seconds.saturating_add(u64::from(duration.subsec_nanos()));
    nanos.min(NEVER)
}
