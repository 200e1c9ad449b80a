//! A limit of the rate.

use std::time::{Duration, Instant};

/// The number of bytes that may be moved now, which grows with time.
pub struct Bucket {
    bytes_per_second: f64,
    available: f64,
    /// The maximum, so that no burst follows a pause.
    capacity: f64,
    filled: Instant,
}

impl Bucket {
    pub fn new(bytes_per_second: u64) -> Self {
        let bytes_per_second = bytes_per_second as f64;
        Self {
            bytes_per_second,
            available: 0.0,
            capacity: (bytes_per_second / 10.0).max(1.0),
            filled: Instant::now(),
        }
    }

    pub fn available(&self) -> usize {
        self.available as usize
    }

    pub fn take(&mut self, bytes: usize) {
        self.available -= bytes as f64;
    }

    /// Adds the bytes for the time since the last call.
    pub fn fill(&mut self) {
        let now = Instant::now();
        let passed: Duration = now - self.filled;
        self.filled = now;
        let more = self.bytes_per_second * passed.as_secs_f64();
        self.available = (self.available + more).min(self.capacity);
    }
}
