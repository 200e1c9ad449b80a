//! Points in time to wait for, and the timeouts that the system calls take.

use std::time::{Duration, Instant};

/// The longest single wait asked of the kernel.
///
/// Apple's select fails with EINVAL past 10^8 seconds, and poll counts milliseconds in an `int`
/// (24 days). A longer wait is made in steps of this length, so that timeouts are clamped and
/// never wrap.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The time at which a wait ends at the latest.
///
/// The crate computes with deadlines on the monotonic clock, so that a wait that a signal
/// interrupts does not become longer. Timeouts exist only at the system call. [`Deadline::Now`]
/// and [`Deadline::Never`] need no clock.
///
/// ```
/// use fdloop::Deadline;
/// use std::time::Duration;
///
/// assert_eq!(Deadline::after(Some(Duration::ZERO)), Deadline::Now);
/// assert_eq!(Deadline::after(Some(Duration::MAX)), Deadline::Never);
/// assert_eq!(Deadline::after(None), Deadline::Never);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Ask and return at once.
    Now,
    /// Wait until this instant.
    At(Instant),
    /// Wait until something happens.
    Never,
}

impl Deadline {
    /// Returns the deadline `timeout` from now: [`Deadline::Never`] for `None`, or if `timeout`
    /// is past the end of the clock.
    #[must_use]
    pub fn after(timeout: Option<Duration>) -> Self {
        Self::from_now(timeout, Instant::now)
    }

    /// Returns the deadline `timeout` from `now`, which is called only if it is needed.
    pub(crate) fn from_now(timeout: Option<Duration>, now: impl FnOnce() -> Instant) -> Self {
        match timeout {
            Some(Duration::ZERO) => Self::Now,
            Some(timeout) => now().checked_add(timeout).map_or(Self::Never, Self::At),
            None => Self::Never,
        }
    }

    /// Returns the earlier one of the deadline and `instant`.
    #[cfg(any(feature = "select", feature = "poll"))]
    pub(crate) fn or_at(self, instant: Instant) -> Self {
        match self {
            Self::Now => Self::Now,
            Self::At(deadline) => Self::At(deadline.min(instant)),
            Self::Never => Self::At(instant),
        }
    }

    /// Returns the timeout of a single system call: `None` without bound, else at most a day,
    /// and zero once the deadline has passed.
    pub(crate) fn timeout(self) -> Option<Duration> {
        Some(self.remaining()?.min(LONGEST_WAIT))
    }

    /// Returns the time until the deadline: zero once it has passed, `None` for
    /// [`Deadline::Never`].
    ///
    /// ```
    /// use fdloop::Deadline;
    /// use std::time::Duration;
    ///
    /// let deadline = Deadline::after(Some(Duration::from_secs(60)));
    /// assert!(deadline.remaining().unwrap() > Duration::from_secs(1));
    /// assert_eq!(Deadline::Now.remaining(), Some(Duration::ZERO));
    /// assert_eq!(Deadline::Never.remaining(), None);
    /// ```
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        match self {
            Self::Now => Some(Duration::ZERO),
            Self::At(instant) => Some(instant.saturating_duration_since(Instant::now())),
            Self::Never => None,
        }
    }

    /// Checks whether the deadline has come.
    ///
    /// ```
    /// use fdloop::Deadline;
    /// use std::time::Instant;
    ///
    /// assert!(Deadline::Now.has_passed() && Deadline::At(Instant::now()).has_passed());
    /// assert!(!Deadline::Never.has_passed());
    /// ```
    #[must_use]
    pub fn has_passed(self) -> bool {
        match self {
            Self::Now => true,
            Self::At(instant) => instant <= Instant::now(),
            Self::Never => false,
        }
    }
}

/// Converts `timeout` to a `timeval`, rounded up. Rounded down, the last fraction of a
/// microsecond would be spent spinning.
#[cfg(feature = "select")]
pub(super) fn timeval(timeout: Duration) -> libc::timeval {
    let micros = timeout.subsec_nanos().div_ceil(1_000);
    let carry = micros == 1_000_000;
    // The types are not named, since libc deprecates naming them for musl.
    libc::timeval {
        tv_sec: (timeout.as_secs() + u64::from(carry)) as _,
        tv_usec: (if carry { 0 } else { micros }) as _,
    }
}

/// Converts `timeout` to a `timespec`, which is exact.
#[cfg(all(has_ppoll, any(feature = "select", feature = "poll")))]
pub(super) fn timespec(timeout: Duration) -> libc::timespec {
    // Not a literal: on some targets the structure has private padding.
    *nix::sys::time::TimeSpec::from_duration(timeout).as_ref()
}

/// Converts `timeout` to milliseconds, rounded up. Rounded down, a wait of 900 µs would spin.
#[cfg(any(test, not(has_ppoll), with_epoll))]
pub(super) fn millis(timeout: Duration) -> libc::c_int {
    let whole = timeout.as_secs().saturating_mul(1_000);
    let part = timeout.subsec_nanos().div_ceil(1_000_000);
    libc::c_int::try_from(whole.saturating_add(part.into())).unwrap_or(libc::c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "select")]
    fn a_timeval_rounds_up_and_carries() {
        let value = timeval(Duration::from_nanos(1));
        assert_eq!((value.tv_sec, value.tv_usec), (0, 1));
        let value = timeval(Duration::new(1, 999_999_001));
        assert_eq!((value.tv_sec, value.tv_usec), (2, 0));
    }

    #[test]
    fn milliseconds_round_up_and_are_clamped() {
        assert_eq!(millis(Duration::from_micros(900)), 1);
        assert_eq!(millis(Duration::from_micros(1_001)), 2);
        assert_eq!(millis(Duration::MAX), libc::c_int::MAX);
    }

    #[test]
    fn a_far_deadline_is_clamped_and_a_passed_one_is_zero() {
        let far = Deadline::after(Some(Duration::from_secs(3_000_000_000)));
        assert_eq!(far.timeout(), Some(LONGEST_WAIT));
        assert!(!far.has_passed());
        let passed = Deadline::At(Instant::now());
        assert_eq!(passed.timeout(), Some(Duration::ZERO));
        assert!(passed.has_passed());
    }
}
