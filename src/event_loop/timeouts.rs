//! Timeouts of channels.

use std::os::fd::RawFd;
use std::time::Duration;

use super::EventLoop;
use super::id::Key;
use super::pass::Errand;
use super::timers::TimerId;

/// The timer of each channel that has a timeout, by number. As long as the highest such number.
#[derive(Default)]
pub(super) struct Timeouts(Vec<Option<TimerId>>);

impl Timeouts {
    #[inline]
    pub(super) fn take(&mut self, fd: RawFd) -> Option<TimerId> {
        self.0.get_mut(fd as usize)?.take()
    }

    fn has(&self, fd: RawFd) -> bool {
        self.0.get(fd as usize).is_some_and(Option::is_some)
    }

    fn insert(&mut self, fd: RawFd, timer: TimerId) {
        let number = fd as usize;
        if self.0.len() <= number {
            self.0.resize(number + 1, None);
        }
        self.0[number] = Some(timer);
    }
}

impl EventLoop {
    /// Sets the time after which [`Channel::handle_timeout`](crate::Channel::handle_timeout) is
    /// called once, for the channel whose method runs. `None` means never. A later call replaces
    /// an earlier one. Does nothing outside a channel's methods. The time counts as that of
    /// [`call_later`](EventLoop::call_later).
    ///
    /// For a dispatcher, use [`Endpoint::set_timeout`](crate::Endpoint::set_timeout), which
    /// measures the time since bytes were last received or sent.
    ///
    /// ```
    /// use fdloop::{Channel, EventLoop, Result};
    /// use std::os::fd::{AsRawFd, RawFd};
    /// use std::time::Duration;
    ///
    /// /// Waits for a byte, but not for ever.
    /// struct Patient(os_pipe::PipeReader);
    /// impl AsRawFd for Patient {
    ///     fn as_raw_fd(&self) -> RawFd {
    ///         self.0.as_raw_fd()
    ///     }
    /// }
    /// impl Channel for Patient {
    ///     fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
    ///         event_loop.set_timeout(Some(Duration::from_millis(2)));
    ///         Ok(())
    ///     }
    ///     fn handle_timeout(&mut self, event_loop: &mut EventLoop) -> Result<()> {
    ///         event_loop.stop();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (reader, _writer) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(Patient(reader))?;
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn set_timeout(&mut self, delay: Option<Duration>) {
        let Some(key) = self.serving else {
            return;
        };
        let old = self.timeouts.take(key.fd);
        let Some(delay) = delay else {
            self.cancel_timeout(old);
            return;
        };
        if let Some(timer) = old {
            if self.reset(timer, delay) {
                return self.timeouts.insert(key.fd, timer);
            }
        }
        if self.watches.current(key).is_some() {
            let timer = self.add_timer(delay, move |event_loop| {
                event_loop.timeouts.take(key.fd);
                event_loop.visit(key, Errand::Timeout)
            });
            self.timeouts.insert(key.fd, timer);
        }
    }

    /// Checks whether a timeout is set for the channel whose method runs. One that was set in
    /// another loop, or before the channel was removed and added again, is not.
    #[must_use]
    pub fn has_timeout(&self) -> bool {
        self.serving.is_some_and(|key| self.timeouts.has(key.fd))
    }

    /// Forgets the timeout of a channel that leaves the loop.
    #[inline]
    pub(super) fn forget_timeout(&mut self, key: Key) {
        let timer = self.timeouts.take(key.fd);
        self.cancel_timeout(timer);
    }

    fn cancel_timeout(&mut self, timer: Option<TimerId>) {
        if let Some(timer) = timer {
            self.cancel(timer);
        }
    }
}
