//! Calling the timers whose time has come.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::generation::{Generation, Kind};
use super::places::Place;
use super::queue::Entry;
use super::time::NEVER;
use super::{Act, Fired, KEPT, TimerId, Timers};
use crate::error::Result;
use crate::event_loop::EventLoop;
use crate::event_loop::clock::earlier;
use crate::event_loop::id::Serial;
use crate::poller::Deadline;

/// A timer that fires.
struct DueTimer {
    entry: Entry,
    kind: Kind,
    act: Act,
}

/// A function that is called again and again.
pub(super) struct Periodic<F: ?Sized> {
    /// In nanoseconds, not 0.
    pub(super) period: u64,
    pub(super) act: F,
}

pub(super) type Every = Box<Periodic<dyn FnMut(&mut EventLoop) -> Result<()>>>;

/// Puts a function that is called again and again into the place of its timer.
#[inline]
pub(super) fn fill_periodic(place: &mut Act, every: Every) {
    place.fill(|event_loop: &mut EventLoop, fired| event_loop.call_periodic(every, fired));
}

impl Timers {
    /// Takes the next due timer out, if there is one. A periodic one stays in its place without its
    /// function.
    #[inline]
    fn take_due(&mut self) -> Option<DueTimer> {
        while let Some(entry) = self.due.take_first() {
            let place = self.places.get_mut(entry.slot);
            let Some(place) = place.filter(|place| place.is_at(&entry)) else {
                self.counts.stale -= 1;
                continue;
            };
            let Some(serial) = place.serial() else {
                continue;
            };
            let kind = place.kind();
            let act = place.act.take();
            if kind == Kind::Periodic {
                place.set_running();
            } else {
                let counts = &mut self.counts;
                let note = |timer: &Place| counts.remove(timer);
                self.places.remove(entry.slot, serial, note);
            }
            return Some(DueTimer { entry, kind, act });
        }
        self.is_oversized |= self.due.clear(KEPT);
        None
    }

    /// Returns the place of a periodic timer whose function was called, unless the function has
    /// cancelled the timer.
    fn running(&mut self, fired: Fired) -> Option<&mut Place> {
        let place = self.places.get_mut(fired.entry.slot);
        place.filter(|place| place.is_running())
    }

    /// Removes a periodic timer whose function has panicked, unless the function had cancelled it.
    fn end_running(&mut self, fired: Fired) {
        let Some(place) = self.running(fired) else {
            return;
        };
        if let Some(serial) = place.serial() {
            let slot = fired.entry.slot;
            self.cancel(TimerId { slot, serial });
        }
    }

    /// Gives a periodic timer its function back, unless the function has cancelled the timer.
    /// Schedules the next call, unless the function has.
    fn resume(&mut self, fired: Fired, every: Every, serial: Serial) {
        let Some(place) = self.running(fired) else {
            return;
        };
        let Fired { entry, now } = fired;
        let missed = now.saturating_sub(entry.at) / every.period;
        let next = missed
            .saturating_add(1)
            .saturating_mul(every.period)
            .saturating_add(entry.at);
        let is_scheduled = place.generation() != Generation::NONE;
        fill_periodic(&mut place.act, every);
        if !is_scheduled {
            self.schedule(entry.slot, serial, next.min(NEVER));
        }
    }
}

impl EventLoop {
    /// Brings a wait's deadline forward to the time of the first timer.
    #[cold]
    pub(in crate::event_loop) fn deadline_with_timers(&mut self, deadline: Deadline) -> Deadline {
        self.date_timers();
        self.timers.free_unused();
        earlier(deadline, self.timers.deadline())
    }

    /// Gives the timers that were made since the last reading of the clock their times, and makes sure
    /// that the first entry is live. Reads the clock only if there are such timers.
    #[cold]
    #[inline(never)]
    pub(in crate::event_loop) fn date_timers(&mut self) {
        if self.timers.has_fresh() && !self.timers.is_empty() {
            let now = self.timers.epoch.nanos(self.poller.now());
            self.timers.date(now);
        }
        self.timers.skip_stale();
    }

    /// Calls the timers whose time has come. Those that become due meanwhile wait for the next
    /// pass, so that a timer that sets itself anew does not keep descriptors waiting.
    #[inline(never)]
    pub(in crate::event_loop) fn fire_timers(&mut self) -> Result<()> {
        let now = self.timers.epoch.nanos(self.poller.now());
        self.timers.date(now);
        self.timers.due.fill(&mut self.timers.queue, now);
        while let Some(due) = self.timers.take_due() {
            let fired = Fired {
                entry: due.entry,
                now,
            };
            let what = match due.kind {
                Kind::OneShot => "a timer",
                Kind::Periodic => "a periodic timer",
                // The loop's own functions return only errors that leave it.
                Kind::Internal => {
                    due.act.call(self, fired).unwrap_or(Ok(()))?;
                    continue;
                }
            };
            self.call_free(what, |this| due.act.call(this, fired).unwrap_or(Ok(())))?;
        }
        self.timers.settle();
        Ok(())
    }

    fn call_periodic(&mut self, mut every: Every, fired: Fired) -> Result<()> {
        let called = catch_unwind(AssertUnwindSafe(|| (every.act)(self)));
        match called {
            Ok(result) => {
                let serial = self.take_serial();
                self.timers.resume(fired, every, serial);
                result
            }
            Err(panic) => {
                self.timers.end_running(fired);
                resume_unwind(panic)
            }
        }
    }
}
