//! The schedule by which an `EpollPoller` checks that its descriptors are still the files that
//! they were.

use std::ops::Range;
use std::time::{Duration, Instant};

/// The time in which all descriptors are checked, or longer if that would cost more than the
/// [`SHARE`].
const PERIOD: Duration = Duration::from_millis(100);

/// Checking takes at most 1/`SHARE` of the time.
const SHARE: u32 = 50;

/// The length of a step under load, where events wait for its end.
const BUSY_STEP: usize = 64;

/// The length of a step of a loop that has nothing else to do.
const IDLE_STEP: usize = 1024;

/// The number of waits under load for which the clock is read once.
const WAITS: u8 = 16;

/// The progress of the checks over a table, whose length the poller passes to each call.
///
/// Other code can close a descriptor only while it runs: between two waits, or in another
/// thread. So every descriptor is checked after each wait that returned, in steps. When all were
/// checked, a wait sleeps without further checks, however long.
#[derive(Debug)]
pub(super) struct Checks {
    /// The place in the table at which the next step begins.
    next: usize,
    /// The places that were not checked since the current wait began.
    left: usize,
    /// The time at which the next step is due. `None` before the first wait.
    due: Option<Instant>,
    /// The time from the last step to the next.
    pause: Duration,
    /// The number of waits since the clock was read.
    waits: u8,
}

impl Checks {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            left: 0,
            due: None,
            pause: PERIOD,
            waits: 0,
        }
    }

    /// Begins a wait for the descriptors in a table of `length`.
    #[inline]
    pub(super) fn begin_wait(&mut self, length: usize) {
        self.left = length;
        if self.due.is_none() && length > 0 {
            self.due = Some(Instant::now() + PERIOD);
        }
    }

    /// Shortens a timeout so that a sleeping loop wakes for the next step, if one is left.
    #[inline]
    pub(super) fn clamp(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.left == 0 {
            return timeout;
        }
        Some(timeout.map_or(self.pause, |timeout| timeout.min(self.pause)))
    }

    /// Checks whether a step is due. `busy` is true if the wait has found something.
    #[inline]
    pub(super) fn is_due(&mut self, busy: bool) -> bool {
        if busy && self.waits < WAITS {
            // Reading the clock has a cost, too.
            self.waits += 1;
            return false;
        }
        self.waits = 0;
        self.left > 0 && self.due.is_none_or(|due| due <= Instant::now())
    }

    /// Begins a step over a table of `length`. Returns the places to check.
    pub(super) fn begin_step(&mut self, busy: bool, length: usize) -> Step {
        let most = if busy { BUSY_STEP } else { IDLE_STEP };
        let begin = if self.next < length { self.next } else { 0 };
        Step {
            places: begin..length,
            most,
            began: Instant::now(),
            begin,
        }
    }

    /// Ends a step over a table of `length`.
    pub(super) fn end_step(&mut self, step: Step, length: usize) {
        let now = Instant::now();
        self.next = step.places.start;
        let visited = self.next - step.begin;
        self.left = self.left.saturating_sub(visited);
        let share = visited as f64 / length.max(1) as f64;
        let cost = now.duration_since(step.began) * SHARE;
        self.pause = cost.max(PERIOD.mul_f64(share)).min(10 * PERIOD);
        self.due = Some(now + self.pause);
    }
}

/// A step: some places of the table.
#[derive(Debug)]
pub(super) struct Step {
    /// The number of places that were not visited.
    places: Range<usize>,
    /// The number of descriptors that the step may still check.
    most: usize,
    began: Instant,
    begin: usize,
}

impl Step {
    /// Returns the next place to look at.
    pub(super) fn next_place(&mut self) -> Option<usize> {
        if self.most == 0 {
            None
        } else {
            self.places.next()
        }
    }

    /// Counts a check, which takes a system call. (Looking at a vacant place takes none.)
    pub(super) fn count(&mut self) {
        self.most -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a step over a table of which every second place is vacant. Returns the places that
    /// were checked.
    fn step(checks: &mut Checks, busy: bool, length: usize) -> Vec<usize> {
        let mut step = checks.begin_step(busy, length);
        let mut checked = Vec::new();
        while let Some(place) = step.next_place() {
            if place % 2 == 0 {
                checked.push(place);
                step.count();
            }
        }
        checks.end_step(step, length);
        checked
    }

    #[test]
    fn the_steps_after_a_wait_check_every_descriptor_once_and_then_the_loop_sleeps() {
        for busy in [false, true] {
            let (mut checks, length) = (Checks::new(), 10_000);
            for _ in 0..3 {
                checks.begin_wait(length);
                let mut checked = Vec::new();
                while checks.clamp(None).is_some() {
                    let some = step(&mut checks, busy, length);
                    assert!(some.len() <= if busy { BUSY_STEP } else { IDLE_STEP });
                    checked.extend(some);
                }
                assert_eq!(checked, (0..length).step_by(2).collect::<Vec<_>>());
                assert_eq!(checks.clamp(Some(PERIOD * 2)), Some(PERIOD * 2));
                assert!(!checks.is_due(false));
            }
        }
    }

    #[test]
    fn a_wait_that_returns_meanwhile_makes_another_round_necessary() {
        let (mut checks, length) = (Checks::new(), 3_000);
        checks.begin_wait(length);
        assert_eq!(step(&mut checks, false, length).len(), IDLE_STEP);
        checks.begin_wait(length);
        let mut checked = Vec::new();
        while checks.clamp(None).is_some() {
            checked.extend(step(&mut checks, false, length));
        }
        checked.sort_unstable();
        checked.dedup();
        assert_eq!(checked.len(), length / 2);
    }

    #[test]
    fn the_pause_after_a_step_keeps_the_share_and_the_period() {
        let mut checks = Checks::new();
        checks.begin_wait(100);
        let slow = checks.begin_step(false, 100);
        std::thread::sleep(Duration::from_millis(1));
        checks.end_step(slow, 100);
        assert!(checks.pause >= Duration::from_millis(1) * SHARE);
        // All were checked in one step, so the pause is the whole period.
        step(&mut checks, false, 100);
        assert!(checks.pause >= PERIOD);
        assert!(!checks.is_due(false), "not before the pause is over");
    }

    #[test]
    fn a_table_that_has_shrunk_is_checked_from_its_beginning() {
        let mut checks = Checks::new();
        checks.begin_wait(3_000);
        step(&mut checks, false, 3_000);
        assert_eq!(step(&mut checks, false, 10), [0, 2, 4, 6, 8]);
        assert!(step(&mut checks, false, 0).is_empty());
    }
}
