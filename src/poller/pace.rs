//! The way to ask: all descriptors or only the recently active ones, blocking or not.

use std::time::{Duration, Instant};

use super::trial::Trial;

/// While other waits ask only the recently active descriptors, asking all takes 1/`SHARE` of the
/// time.
const SHARE: u32 = 10;

/// Upper bound on the time for which asking all is put off, however long it takes.
const LONGEST: Duration = Duration::from_millis(2);

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
    /// The latest time at which all are asked again, if only some are asked meanwhile.
    all_due: Option<Instant>,
    /// The time at which the current asking of all began, if it was due.
    began: Option<Instant>,
    /// The time for which the next asking of all is put off.
    pause: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            adaptive: true,
            probe: Trial::new(),
            hot: Trial::new(),
            all_due: None,
            began: None,
            pause: Duration::ZERO,
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
        let now = Instant::now();
        if self.all_due.is_some_and(|due| now < due) {
            return true;
        }
        self.began = Some(now);
        false
    }

    /// Records whether asking only the hot ones has found `something`.
    pub(super) fn hot_found(&mut self, something: bool) {
        self.hot.tried(something);
    }

    /// Checks whether to ask without blocking first.
    pub(super) fn try_probe(&mut self) -> bool {
        self.adaptive && self.probe.is_due()
    }

    /// Records whether asking `all` without blocking has found `something`.
    #[inline]
    pub(super) fn probe_found(&mut self, something: bool, all: usize) {
        self.probe.tried(something);
        if all >= MANY {
            self.many_probed(something, all);
        }
    }

    #[inline(never)]
    fn many_probed(&mut self, something: bool, all: usize) {
        self.note_cost();
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

    /// Computes for how long the next asking is put off, after one that did not sleep.
    fn note_cost(&mut self) {
        if let Some(began) = self.began.take() {
            self.pause = (began.elapsed() * (SHARE - 1)).min(LONGEST);
        }
    }

    fn note_all_asked(&mut self, all: usize) {
        self.began = None;
        if self.tells_hot(all) {
            // Reading the clock has a cost, too.
            let due = self.hot.is_due().then(|| Instant::now() + self.pause);
            self.all_due = due;
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

    /// Makes a schedule under which the hot descriptors are asked alone.
    fn hot_pace() -> Pace {
        let mut pace = Pace::new();
        pace.block_found(true, 1_000);
        // The cost is not known yet.
        assert!(!pace.try_hot(10, 1_000));
        std::thread::sleep(Duration::from_micros(100));
        pace.probe_found(true, 1_000);
        pace
    }

    #[test]
    fn hot_descriptors_that_had_nothing_once_are_asked_alone_again() {
        let mut pace = hot_pace();
        pace.all_due = Some(Instant::now() + LONGEST * 1_000);
        assert!(pace.try_hot(10, 1_000));
        pace.hot_found(false);
        pace.pause = LONGEST * 1_000;
        let again = (0..4).any(|_| {
            pace.probe_found(true, 1_000);
            pace.try_hot(10, 1_000)
        });
        assert!(again);
    }

    #[test]
    fn asking_all_is_put_off_for_nine_times_as_long_as_it_took() {
        let mut pace = hot_pace();
        assert!(pace.pause >= Duration::from_micros(900) && pace.pause <= LONGEST);
        // A blocking call does not show the cost.
        let before = pace.pause;
        pace.block_found(true, 1_000);
        assert_eq!(pace.pause, before);
        let put_off = pace.all_due.unwrap().duration_since(Instant::now());
        assert!(put_off <= before);
    }

    #[test]
    fn asking_all_is_put_off_for_two_milliseconds_at_most_however_long_it_takes() {
        let mut pace = hot_pace();
        pace.all_due = Some(Instant::now());
        assert!(!pace.try_hot(10, 1_000));
        std::thread::sleep(LONGEST);
        pace.probe_found(true, 1_000);
        assert_eq!(pace.pause, LONGEST);
        std::thread::sleep(LONGEST);
        assert!(!pace.try_hot(10, 1_000), "it is due");
    }
}
