//! The generator of a world.

use std::time::Duration;

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014. Its
/// 64 bits of state may have any value, so every seed is a good one.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`; 0 if that is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product. Small limits make its bias negligible.
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Returns a number from `low` to `high`; `low` if that is not below `high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low).checked_add(1) {
            Some(numbers) => low + self.below(numbers),
            None => self.next(),
        }
    }

    /// Returns a time from `low` to `high` in whole microseconds, or one of these two; `low` if that
    /// is not below `high`.
    pub(super) fn time(&mut self, low: Duration, high: Duration) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let time = Duration::from_micros(self.between(micros(low), micros(high)));
        time.min(high).max(low)
    }

    /// Returns a length from 1 to `most`, and 0 if that is 0.
    pub(super) fn length(&mut self, most: usize) -> usize {
        match most {
            0 => 0,
            most => self.between(1, most as u64) as usize,
        }
    }

    /// Returns true with a probability of `percent` in a hundred.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        // Without a draw, so that a world without noise does not depend on how often it asks.
        percent > 0 && self.below(100) < u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        // The first numbers of the reference implementation for this seed.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn times_are_within_their_limits_however_short_or_long_these_are() {
        let mut random = Random::new(0);
        let [short, long] = [1, 900].map(Duration::from_nanos);
        assert!((short..=long).contains(&random.time(short, long)));
        assert_eq!(random.time(long, short), long);
        assert_eq!(random.time(Duration::MAX, Duration::MAX), Duration::MAX);
        assert!(random.time(short, Duration::MAX) >= short);
    }

    #[test]
    fn numbers_are_within_their_limits_and_reach_them() {
        let mut random = Random::new(0);
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            let number = random.between(3, 7);
            seen[number as usize - 3] += 1;
        }
        assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
        assert_eq!((random.below(0), random.between(9, 2)), (0, 9));
        assert_eq!(random.between(u64::MAX, u64::MAX), u64::MAX);
        let high = (0..100).filter(|_| random.between(0, u64::MAX) > u64::MAX / 2);
        assert!((20..80).contains(&high.count()));
        assert_eq!((random.length(0), random.length(1)), (0, 1));
        assert!(!random.chance(0) && random.chance(100));
    }
}
