//! Calling the timers whose time has come.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::queue::Entry;
use super::{Action, COLLECTED, Every, Place, Slot, Timers, earlier};
use crate::error::{Error, Result};
use crate::event_loop::EventLoop;
use crate::event_loop::pass::Errand;
use crate::poller::Deadline;

/// The name in messages.
const PERIODIC: &str = "a periodic timer";

impl Timers {
    /// Moves the entries whose time has come to `due`.
    fn collect_due(&mut self, now: u64) {
        let Some(first) = self.queue.first() else {
            return;
        };
        if first.at > now {
            return;
        }
        // Timers that an error has left from an earlier pass come first.
        let mut left = mem::take(&mut self.due);
        let mut due = Vec::new();
        if left.is_empty() {
            mem::swap(&mut left, &mut due);
        }
        self.queue.take_until(now, &mut due);
        for entry in &due {
            match self.slots.get_mut(entry.slot) {
                Some(Place(Slot::Taken(timer))) if timer.seq == entry.seq => timer.seq |= COLLECTED,
                _ => self.stale -= 1,
            }
        }
        self.skip_stale();
        due.reverse();
        due.extend(left);
        self.due = due;
    }

    /// Takes the next due timer out, if there is one. A periodic one stays in its place without
    /// its function.
    fn take_due(&mut self) -> Option<(Entry, Action)> {
        while let Some(entry) = self.due.pop() {
            let Some(Place(Slot::Taken(timer))) = self.slots.get_mut(entry.slot) else {
                continue;
            };
            if !timer.is_at(&entry) {
                continue;
            }
            if let Action::Every(every) = &timer.action {
                let running = Action::Running(every.start);
                return Some((entry, mem::replace(&mut timer.action, running)));
            }
            return self.remove(entry.slot).map(|timer| (entry, timer.action));
        }
        self.due.shrink_to(super::KEPT);
        self.free_if_empty();
        None
    }

    /// Gives a periodic timer its function back, unless that has cancelled it, and schedules its
    /// next call, unless that has.
    fn resume(&mut self, entry: Entry, mut every: Every, now: u64) {
        let Some(Place(Slot::Taken(timer))) = self.slots.get_mut(entry.slot) else {
            return;
        };
        let Action::Running(start) = timer.action else {
            return;
        };
        every.start = start;
        let period = every.period;
        timer.action = Action::Every(every);
        if timer.is_at(&entry) {
            let missed = now.saturating_sub(start) / period;
            let next = missed
                .saturating_add(1)
                .saturating_mul(period)
                .saturating_add(start);
            self.schedule(entry.slot, next.min(super::NEVER));
        }
    }
}

impl EventLoop {
    /// Brings a wait's deadline forward to the time of the first timer.
    #[cold]
    pub(in crate::event_loop) fn deadline_with_timers(&mut self, deadline: Deadline) -> Deadline {
        if self.timers.has_fresh() {
            self.date_timers();
        }
        self.timers.skip_stale();
        earlier(deadline, self.timers.deadline())
    }

    /// Gives the timers that were made since the last reading of the clock their times.
    #[cold]
    #[inline(never)]
    pub(in crate::event_loop) fn date_timers(&mut self) {
        let now = self.timers.nanos(self.poller.now());
        self.timers.date(now);
        self.timers.skip_stale();
    }

    /// Calls the timers whose time has come. Those that become due meanwhile wait for the next
    /// pass, so that a timer that sets itself anew does not keep descriptors waiting.
    #[inline(never)]
    pub(in crate::event_loop) fn fire_timers(&mut self) -> Result<()> {
        let now = self.timers.nanos(self.poller.now());
        self.timers.date(now);
        self.timers.skip_stale();
        self.timers.collect_due(now);
        while let Some((entry, action)) = self.timers.take_due() {
            match action {
                Action::Once(act) => self.call_free("a timer", |this| act.call(this))?,
                Action::Every(every) => self.call_periodic(entry, every, now)?,
                Action::Settle(key) => self.touch(key),
                Action::Timeout(key) => {
                    self.timeouts.take(key.fd);
                    self.visit(key, Errand::Timeout)?;
                }
                Action::Running(_) => {}
            }
        }
        self.timers.skip_stale();
        Ok(())
    }

    fn call_periodic(&mut self, entry: Entry, mut every: Every, now: u64) -> Result<()> {
        let called = catch_unwind(AssertUnwindSafe(|| (every.act)(self)));
        match called {
            Ok(result) => {
                self.timers.resume(entry, every, now);
                self.call_free(PERIODIC, |_| result)
            }
            Err(panic) => {
                self.timers.end_running(entry);
                if !self.catch_panics {
                    resume_unwind(panic);
                }
                self.call_free(PERIODIC, |_| Err(Error::panicked(&*panic)))
            }
        }
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
        self.add_timer_after(delay, Action::Settle(key));
    }
}
