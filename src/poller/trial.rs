//! Trials of a shortcut that pays only at times.

/// Upper bound on waits between two tries of something that keeps failing.
const SELDOM: u8 = 64;

/// A shortcut that is taken as long as it works, and tried at growing intervals while it does
/// not.
#[derive(Debug)]
pub(crate) struct Trial {
    /// The number of waits before the next try.
    left: u8,
    /// The number of waits after the next failure.
    distance: u8,
}

impl Trial {
    /// Makes the trial of a new loop, which counts as idle at first.
    pub(crate) fn new() -> Self {
        Self {
            left: 1,
            distance: 2,
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.left == 0
    }

    /// Checks whether a try is due, or will be after one more wait.
    pub(crate) fn is_due_next(&self) -> bool {
        self.left <= 8
    }

    /// Checks whether the last try worked.
    #[cfg(any(feature = "select", feature = "poll", test))]
    pub(crate) fn works(&self) -> bool {
        self.distance == 1
    }

    pub(crate) fn tried(&mut self, worked: bool) {
        if worked {
            self.distance = 1;
        } else {
            self.left = self.distance;
            self.distance = (self.distance * 2).min(SELDOM);
        }
    }

    /// Counts a wait without a try.
    pub(crate) fn pass(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Notes that the loop is idle.
    pub(crate) fn rest(&mut self) {
        self.left = SELDOM;
        self.distance = SELDOM;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_is_tried_again_at_once_and_what_fails_ever_more_seldom() {
        let mut trial = Trial::new();
        let mut tries_failing = 0;
        for _ in 0..1_000 {
            if trial.is_due() {
                tries_failing += 1;
                trial.tried(false);
            }
            trial.pass();
        }
        assert!(tries_failing < 25, "{tries_failing}");
        while !trial.is_due() {
            trial.pass();
        }
        assert!(!trial.works());
        for _ in 0..100 {
            trial.tried(true);
            assert!(trial.is_due() && trial.works());
        }
    }
}
