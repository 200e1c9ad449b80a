//! Timers: functions that the loop calls at a time.

mod delay;
mod due;
mod fire;
mod fresh;
mod generation;
mod id;
mod places;
mod queue;
mod schedule;
#[cfg(test)]
mod tests;
mod time;

use std::mem;

use super::EventLoop;
use super::id::Serial;
use crate::error::Result;
use crate::poller::Deadline;
use crate::sys::stored::Stored;
use delay::Delay;
use due::Due;
use generation::Generation;
pub(super) use generation::Kind;
pub use id::TimerId;
use places::{Place, Places};
use queue::{Entry, Queue};
use time::Epoch;

/// The function of a timer.
type Act = Stored<EventLoop, Fired, Result<()>>;

/// The entry of a timer that fires, and the time by which it does.
#[derive(Debug, Clone, Copy)]
struct Fired {
    entry: Entry,
    now: u64,
}

/// The timers of a loop.
#[derive(Default)]
pub(super) struct Timers {
    epoch: Epoch,
    places: Places,
    counts: Counts,
    /// The places of the timers that have a delay and not yet a time: see [`fresh`].
    fresh: Vec<u32>,
    queue: Queue,
    /// Timers whose time has come and which the pass has not reached.
    due: Due,
    /// True if there is memory to free before the loop waits.
    is_oversized: bool,
}

#[derive(Debug, Default)]
struct Counts {
    /// Timers that keep `run` going.
    one_shots: usize,
    others: usize,
    /// Stale entries in the queue and among those that are due.
    stale: usize,
}

impl Counts {
    #[inline]
    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::OneShot => self.one_shots += 1,
            Kind::Internal | Kind::Periodic => self.others += 1,
        }
    }

    /// Notes that a timer is about to be removed.
    #[inline]
    fn remove(&mut self, timer: &Place) {
        match timer.kind() {
            Kind::OneShot => self.one_shots -= 1,
            Kind::Internal | Kind::Periodic => self.others -= 1,
        }
    }

    /// Notes that the entry of a timer, if it has one, is about to become stale.
    #[inline]
    fn note_stale(&mut self, timer: &Place) {
        if timer.has_entry() {
            self.stale += 1;
        }
    }

    #[inline]
    fn timers(&self) -> usize {
        self.one_shots + self.others
    }
}

/// Fewer stale entries than this are left alone.
const FEW: usize = 1024;

/// The number of stale entries for each timer at which all of those are removed.
const MANY: usize = 3;

/// The number of timers whose memory is kept for later ones.
const KEPT: usize = 16 * 1024;

impl Timers {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.one_shots | self.counts.others == 0
    }

    /// Checks whether the loop may wait without a look at its timers: no timer was made after the last
    /// one ended, and no memory is to be freed.
    #[inline]
    pub(super) fn are_at_rest(&self) -> bool {
        self.places.used() | usize::from(self.is_oversized) == 0
    }

    /// Checks whether timers are to get their times, or stale entries are left.
    #[inline]
    pub(super) fn are_unsettled(&self) -> bool {
        self.has_fresh() || self.counts.stale > 0 || (self.is_empty() && self.places.used() > 0)
    }

    /// Checks whether a timer keeps `run` going.
    #[inline]
    pub(super) fn has_one_shots(&self) -> bool {
        self.counts.one_shots > 0
    }

    /// Returns the time of the first timer.
    pub(super) fn deadline(&self) -> Deadline {
        if self.is_empty() {
            return Deadline::Never;
        }
        if self.due.iter().any(|entry| self.is_live(entry)) {
            return Deadline::Now;
        }
        let first = match self.queue.first() {
            Some(first) if self.counts.stale == 0 || self.is_live(&first) => Some(first.at),
            // Timers were cancelled in the present pass.
            _ => self.first_live(),
        };
        match first.and_then(|first| self.epoch.time(first)) {
            Some(at) => Deadline::At(at),
            None => Deadline::Never,
        }
    }

    /// Searches for the first time in the queue.
    #[cold]
    fn first_live(&self) -> Option<u64> {
        let live = self.queue.iter().filter(|entry| self.is_live(entry));
        live.map(|entry| entry.at).min()
    }

    /// Adds a timer that fires at that time. Returns the place for its function.
    #[inline]
    fn add(&mut self, serial: Serial, kind: Kind, at: u64) -> (TimerId, &mut Act) {
        self.counts.add(kind);
        let generation = Generation::new(serial, kind);
        let (slot, place) = self.places.insert(serial, generation);
        // An earlier timer of the place may have been cancelled while it was fresh.
        place.delay = place.delay.ended();
        self.queue.push(Entry {
            at,
            generation,
            slot,
        });
        (TimerId { slot, serial }, &mut place.act)
    }

    /// Adds a timer that gets its time later: see [`fresh`]. Returns the place for its function.
    #[inline]
    fn add_fresh(&mut self, serial: Serial, kind: Kind, delay: Delay) -> (TimerId, &mut Act) {
        self.counts.add(kind);
        let generation = Generation::new(serial, kind);
        let (slot, place) = self.places.insert(serial, generation);
        if !mem::replace(&mut place.delay, delay).is_listed() {
            self.fresh.push(slot);
        }
        (TimerId { slot, serial }, &mut place.act)
    }

    /// Changes the time of a timer.
    fn schedule(&mut self, slot: u32, serial: Serial, at: u64) {
        let Some(place) = self.places.get_mut(slot) else {
            return;
        };
        self.counts.note_stale(place);
        place.delay = place.delay.ended();
        let generation = place.renew(serial);
        self.queue.push(Entry {
            at,
            generation,
            slot,
        });
        self.tidy_if_stale();
    }

    /// Gives a timer another delay, which counts from when it gets its time.
    #[inline]
    fn schedule_fresh(&mut self, slot: u32, serial: Serial, delay: Delay) {
        let Some(place) = self.places.get_mut(slot) else {
            return;
        };
        self.counts.note_stale(place);
        place.renew(serial);
        if !mem::replace(&mut place.delay, delay).is_listed() {
            self.fresh.push(slot);
        }
        self.tidy_if_stale();
    }

    /// Returns the place of the timer that an id names.
    #[inline]
    fn find(&self, id: TimerId) -> Option<&Place> {
        let place = self.places.get(id.slot);
        place.filter(|place| place.serial() == Some(id.serial))
    }

    /// Checks whether an entry is the one of its timer.
    #[inline]
    fn is_live(&self, entry: &Entry) -> bool {
        let place = self.places.get(entry.slot);
        place.is_some_and(|place| place.is_at(entry))
    }

    /// Cancels a timer and drops its function. Returns false if no timer has that id. The timers
    /// must [skip the stale entries](Self::skip_stale) before the loop waits.
    #[inline]
    fn cancel(&mut self, id: TimerId) -> bool {
        let counts = &mut self.counts;
        let cancelled = self.places.remove(id.slot, id.serial, |timer| {
            counts.note_stale(timer);
            counts.remove(timer);
        });
        self.tidy_if_stale();
        cancelled
    }

    /// Removes the stale entries if there are many for each timer.
    #[inline]
    fn tidy_if_stale(&mut self) {
        if self.counts.stale > FEW && self.counts.stale / MANY > self.counts.timers() {
            self.tidy();
        }
    }

    /// Removes all entries. No timer is left.
    fn clear(&mut self) {
        self.is_oversized |= self.places.used() > KEPT;
        self.is_oversized |= self.due.clear(KEPT);
        self.places.reset();
        self.fresh.clear();
        self.queue.clear();
        self.counts.stale = 0;
    }

    /// Frees the memory of timers that are gone, if it is much. A callback often makes as many timers
    /// again, and touching memory that is new to the process takes longer than all the rest of making
    /// them: so this is called before a wait, and after timers have fired.
    fn free_unused(&mut self) {
        if !mem::take(&mut self.is_oversized) {
            return;
        }
        if self.is_empty() {
            self.places = Places::default();
            self.queue = Queue::default();
            self.fresh = Vec::new();
        } else {
            self.places.shorten();
            // Places that are gone would be listed again when they are new.
            self.fresh.retain(|slot| self.places.get(*slot).is_some());
            self.queue.shrink();
            self.fresh.shrink_to(KEPT);
        }
    }

    /// Prepares the timers for a wait.
    // Apart, since the callers are compiled into programs.
    #[inline(never)]
    fn settle(&mut self) {
        self.skip_stale();
        self.free_unused();
    }

    /// Removes stale entries from the front of the queue, so that the first one is live.
    #[inline]
    fn skip_stale(&mut self) {
        if self.is_empty() {
            return self.clear();
        }
        while self.counts.stale > 0 {
            match self.queue.first() {
                Some(first) if !self.is_live(&first) => {
                    self.queue.remove_first();
                    self.counts.stale -= 1;
                }
                _ => return,
            }
        }
    }

    /// Removes all stale entries.
    #[cold]
    fn tidy(&mut self) {
        let places = &self.places;
        let is_live = |entry: &Entry| {
            let place = places.get(entry.slot);
            place.is_some_and(|place| place.is_at(entry))
        };
        self.queue.retain(is_live);
        self.due.retain(is_live);
        self.counts.stale = 0;
        self.is_oversized = true;
    }
}
