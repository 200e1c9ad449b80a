//! Running the loop to its end.

use std::time::Duration;

use super::EventLoop;
use crate::error::Result;

/// How [`EventLoop::run_with`] runs: the arguments of asyncore's `loop`.
///
/// ```
/// use fdloop::{EventLoop, RunOptions};
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new()?;
/// event_loop.run_with(RunOptions::new().timeout(Duration::from_secs(30)).count(10))?;
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    timeout: Option<Duration>,
    count: Option<u64>,
}

impl RunOptions {
    /// No timeout and no count: as [`EventLoop::run`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest that a pass waits. Without it a pass waits until something
    /// happens; with it the channels are asked again at least that often, which
    /// matters where their predicates look at things that change by themselves.
    /// (asyncore's default is 30 seconds.)
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many passes to make at most; 0 makes none.
    #[must_use]
    pub fn count(mut self, passes: u64) -> Self {
        self.count = Some(passes);
        self
    }
}

impl EventLoop {
    /// Makes passes until the last channel is closed or [`stop`](EventLoop::stop)
    /// is called.
    ///
    /// # Errors
    ///
    /// As for [`turn`](EventLoop::turn). Channels are left as they are, and `run`
    /// can be called again.
    pub fn run(&mut self) -> Result<()> {
        self.run_with(RunOptions::new())
    }

    /// Makes passes until the last channel is closed, as many are made as
    /// `options` has, or [`stop`](EventLoop::stop) is called. asyncore's `loop`.
    ///
    /// # Errors
    ///
    /// As for [`turn`](EventLoop::turn).
    pub fn run_with(&mut self, options: RunOptions) -> Result<()> {
        self.check_not_in_pass()?;
        self.running = true;
        let result = self.make_passes(options);
        self.running = false;
        self.stopping = false;
        result
    }

    fn make_passes(&mut self, options: RunOptions) -> Result<()> {
        let mut left = options.count;
        while left != Some(0) {
            // A handler that closes the last channel, or stops the loop, before
            // the wait must not be made to wait.
            self.prepare_pass()?;
            if self.is_empty() || self.stopping {
                break;
            }
            self.one_pass(options.timeout)?;
            left = left.map(|left| left - 1);
        }
        Ok(())
    }
}
