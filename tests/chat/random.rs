//! Random numbers and bytes from a seed, so that a failure can be repeated.

/// A linear congruential generator.
pub struct Random(pub u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far from each other.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Returns a number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    /// Returns bytes of a small alphabet, in which terminators are likely, and likely to overlap
    /// themselves.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| b"aab"[self.below(3)]).collect()
    }
}
