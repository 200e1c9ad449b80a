//! The way to ask: all descriptors or only the recently active ones, blocking or not.

use std::time::{Duration, Instant};

use super::trial::Trial;

/// Upper bound on waits in a row that ask only the recently active descriptors.
const HOT_WAITS: u8 = 15;

/// Upper bound on the duration of such a series of waits.
const HOT_TIME: Duration = Duration::from_millis(1);

/// Below this number all descriptors are asked in each wait: it costs no more.
const MANY: usize = 64;

/// The results of the two shortcuts so far.
///
/// A system call that may sleep registers itself with every descriptor up to the first that is
/// ready, which costs more than looking at it. Under load something is almost always ready. So
/// a non-blocking call comes first, and a blocking one only if that found nothing. Of many
/// descriptors, mostly the same few are active. So most waits ask only those.
///
/// A shortcut that fails is given up and tried again later, so that it costs next to nothing
/// where it does not pay.
#[derive(Debug)]
pub(super) struct Pace {
    adaptive: bool,
    probe: Trial,
    hot: Trial,
    /// The number of waits in a row that asked only the hot descriptors.
    hot_waits: u8,
    /// The time at which all were last asked, if that matters.
    all_asked: Option<Instant>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            adaptive: true,
            probe: Trial::new(),
            hot: Trial::new(),
            hot_waits: 0,
            all_asked: None,
        }
    }

    pub(super) fn set_adaptive(&mut self, adaptive: bool) {
        *self = Self {
            adaptive,
            ..Self::new()
        };
    }

    /// Checks whether the poller should record which of `all` descriptors are active: whether
    /// those may be asked alone in this wait or the next.
    #[inline]
    pub(super) fn tells_hot(&self, all: usize) -> bool {
        self.adaptive && all >= MANY && self.hot.is_due_next()
    }

    /// Checks whether to ask only the `hot` ones of `all` descriptors.
    pub(super) fn try_hot(&mut self, hot: usize, all: usize) -> bool {
        if !self.tells_hot(all) || !self.hot.is_due() {
            return false;
        }
        if hot > all / 2 {
            self.hot.tried(false);
            return false;
        }
        if self.hot_waits >= HOT_WAITS {
            return false;
        }
        let now = Instant::now();
        now.duration_since(*self.all_asked.get_or_insert(now)) < HOT_TIME
    }

    /// Records whether asking only the hot ones has found `something`.
    pub(super) fn hot_found(&mut self, something: bool) {
        self.hot_waits += 1;
        self.hot.tried(something);
    }

    /// Checks whether to ask without blocking first.
    pub(super) fn try_probe(&mut self) -> bool {
        self.adaptive && self.probe.is_due()
    }

    /// Records whether asking `all` without blocking has found `something`.
    pub(super) fn probe_found(&mut self, something: bool, all: usize) {
        self.probe.tried(something);
        // If it found nothing, a call that may block follows, which ends the wait.
        if something {
            self.hot.pass();
        }
        self.note_all_asked(all);
    }

    /// Records whether a blocking call for `all` has found `something`. If not, it timed out.
    pub(super) fn block_found(&mut self, something: bool, all: usize) {
        if something {
            self.probe.pass();
            self.hot.pass();
        } else {
            self.probe.rest();
            self.hot.rest();
        }
        self.note_all_asked(all);
    }

    fn note_all_asked(&mut self, all: usize) {
        if self.tells_hot(all) {
            self.hot_waits = 0;
            // Reading the clock has a cost, too.
            self.all_asked = self.hot.is_due().then(Instant::now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_loop_tries_nothing() {
        let mut pace = Pace::new();
        for _ in 0..1_000 {
            assert!(!pace.try_probe());
            assert!(!pace.try_hot(1, 1_000));
            pace.block_found(false, 1_000);
        }
    }

    #[test]
    fn hot_descriptors_that_had_nothing_once_are_asked_alone_again() {
        let mut pace = Pace::new();
        pace.block_found(true, 1_000);
        assert!(pace.try_hot(10, 1_000));
        pace.hot_found(false);
        let again = (0..4).any(|_| {
            pace.probe_found(true, 1_000);
            pace.try_hot(10, 1_000)
        });
        assert!(again);
    }

    #[test]
    fn hot_descriptors_are_asked_alone_only_so_many_times_in_a_row() {
        let mut pace = Pace::new();
        pace.block_found(true, 1_000);
        let mut in_a_row = 0;
        for _ in 0..1_000 {
            if pace.try_hot(10, 1_000) {
                in_a_row += 1;
                assert!(in_a_row <= HOT_WAITS);
                pace.hot_found(true);
            } else {
                in_a_row = 0;
                pace.probe_found(true, 1_000);
            }
        }
    }
}
