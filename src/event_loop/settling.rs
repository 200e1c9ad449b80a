//! Settling: what channels do before the loop waits.

use std::time::Duration;

use super::EventLoop;
use super::id::Key;
use super::pass::Errand;
use crate::error::Result;

impl EventLoop {
    /// Notes that a channel must be settled and asked before the next wait.
    pub(super) fn touch(&mut self, key: Key) {
        let Some(watch) = self.watches.current_mut(key) else {
            return;
        };
        if !watch.touched {
            watch.touched = true;
            self.touched.push_back(key);
        }
    }

    /// Settles and asks every touched channel. Settling may touch others: those are
    /// settled in the next pass, for which this one does not wait. (Two that fill
    /// each other's output could go on for ever.)
    pub(super) fn settle_touched(&mut self) -> Result<()> {
        for _ in 0..self.touched.len() {
            let Some(key) = self.touched.pop_front() else {
                break;
            };
            if let Some(watch) = self.watches.current_mut(key) {
                watch.touched = false;
                self.visit(key, Errand::Settle)?;
            }
        }
        Ok(())
    }

    /// Schedules a call of [`Channel::settle`](crate::Channel::settle) after `delay`, for the
    /// channel whose method runs: at the beginning of the first pass after that. Does nothing
    /// outside a channel's methods. With a delay of 0 that is the next pass, which does not wait.
    /// A delay past the end of the clock never ends. Delays count as in
    /// [`call_later`](EventLoop::call_later).
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
        self.add_timer(delay, move |event_loop| {
            event_loop.touch(key);
            Ok(())
        });
    }
}
