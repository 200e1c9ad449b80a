//! Random numbers from a seed, so that a failure can be repeated.

use std::cell::Cell;

/// A linear congruential generator, which several owners of a case can share.
#[derive(Default)]
pub struct Random(Cell<u64>);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// Starts again from a seed.
    pub fn restart(&self, seed: u64) {
        self.0.set(seed);
    }

    /// Returns a number below `n`.
    pub fn below(&self, n: usize) -> usize {
        let next = self
            .0
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0.set(next);
        (next >> 33) as usize % n
    }

    pub fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }
}
