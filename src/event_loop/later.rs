//! Settling a channel after a while.

use std::mem;
use std::time::{Duration, Instant};

use super::EventLoop;
use crate::poller::Deadline;

impl EventLoop {
    /// Brings a wait's deadline forward to the first time at which a channel is to be settled.
    #[cold]
    pub(super) fn deadline_with_later(&self, deadline: Deadline) -> Deadline {
        let first = self.later.iter().map(|(time, _)| *time).min();
        match (deadline, first) {
            (Deadline::Never, Some(first)) => Deadline::At(first),
            (Deadline::At(time), Some(first)) => Deadline::At(time.min(first)),
            (deadline, _) => deadline,
        }
    }

    /// Touches the channels whose time to be settled has come.
    #[cold]
    pub(super) fn touch_later(&mut self) {
        let now = Instant::now();
        let mut later = mem::take(&mut self.later);
        later.retain(|(time, key)| {
            let due = *time <= now;
            if due {
                self.touch(*key);
            }
            !due
        });
        self.later = later;
    }

    /// Schedules a call of [`Channel::settle`](crate::Channel::settle) after `delay`, for the
    /// channel whose method runs: at the beginning of the first pass after that. Does nothing
    /// outside a channel's methods. With a delay of 0 that is the next pass, which does not wait. A
    /// delay past the end of the clock never ends.
    ///
    /// A listener waits like this while the process has no descriptor left, since no event
    /// reports that it has one again.
    ///
    /// ```
    /// use fdloop::{Channel, EventLoop, Interest, Result};
    /// use os_pipe::PipeReader;
    /// use std::io::Write;
    /// use std::os::fd::{AsRawFd, RawFd};
    /// use std::time::{Duration, Instant};
    ///
    /// /// Reads its pipe from some time on.
    /// struct Late(PipeReader, Instant);
    ///
    /// impl AsRawFd for Late {
    ///     fn as_raw_fd(&self) -> RawFd {
    ///         self.0.as_raw_fd()
    ///     }
    /// }
    ///
    /// impl Channel for Late {
    ///     fn interest(&self, _: &EventLoop) -> Option<Interest> {
    ///         let due = Instant::now() >= self.1;
    ///         Some(if due { Interest::READABLE } else { Interest::empty() })
    ///     }
    ///     fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
    ///         // First called right after it was added.
    ///         let left = self.1.saturating_duration_since(Instant::now());
    ///         if !left.is_zero() {
    ///             event_loop.settle_later(left);
    ///         }
    ///         Ok(())
    ///     }
    ///     fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
    ///         event_loop.stop();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let (reader, mut writer) = os_pipe::pipe()?;
    /// # writer.write_all(b"x")?;
    /// let soon = Instant::now() + Duration::from_millis(5);
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(Late(reader, soon))?;
    /// event_loop.run()?;
    /// assert!(Instant::now() >= soon);
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn settle_later(&mut self, delay: Duration) {
        let Some(key) = self.serving else {
            return;
        };
        if delay.is_zero() {
            return self.touch(key);
        }
        let time = Instant::now().checked_add(delay);
        self.later.extend(time.map(|time| (time, key)));
    }
}
