//! The extent of the measurements.

use std::time::Duration;

/// The extent of the measurements.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub short: bool,
    /// The number of turns of each peer.
    pub rounds: usize,
    /// Runs of the ring in a turn, at most and at least.
    pub ring_runs: usize,
    pub least_ring_runs: usize,
    /// No run beyond the least begins after so much time.
    pub ring_budget: Duration,
    /// The duration of the load of the echo and of the forwarder in a turn.
    pub load_time: Duration,
    /// Bytes sent to a chat in a turn.
    pub chat_bytes: usize,
    /// The duration for Python's servers, which take longer.
    pub asynchat_bytes: usize,
}

impl Effort {
    pub fn full() -> Self {
        Self {
            short: false,
            rounds: 9,
            ring_runs: 25,
            least_ring_runs: 3,
            ring_budget: Duration::from_millis(300),
            load_time: Duration::from_millis(300),
            chat_bytes: 1 << 30,
            asynchat_bytes: 8 << 20,
        }
    }

    pub fn short() -> Self {
        Self {
            short: true,
            rounds: 1,
            ring_runs: 5,
            least_ring_runs: 1,
            ring_budget: Duration::from_millis(30),
            load_time: Duration::from_millis(100),
            chat_bytes: 64 << 20,
            asynchat_bytes: 2 << 20,
        }
    }
}
