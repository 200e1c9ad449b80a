//! Fresh timers: made in a pass, with a delay, and without a time yet.
//!
//! Reading the clock takes longer than all the rest of making a timer. So the handlers of a pass
//! only note the delays of their timers, and when they have returned, one reading of the clock gives
//! all these timers their times. A timer that is cancelled before is never in the queue.

use super::queue::Entry;
use super::{FRESH, KEPT, NEVER, Place, Slot, Timers};

/// Entries whose `at` is a delay, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    entries: Vec<Entry>,
    stale: usize,
}

impl Fresh {
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Notes that the entry of a generation has become stale.
    #[inline]
    pub(super) fn note_stale(&mut self, seq: u64, is_live: impl Fn(&Entry) -> bool) {
        if self.entries.last().is_some_and(|last| last.seq == seq) {
            self.entries.pop();
            return;
        }
        self.stale += 1;
        if self.stale > KEPT && self.stale > self.entries.len() / 4 * 3 {
            self.entries.retain(is_live);
            self.stale = 0;
        }
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.stale = 0;
        if self.entries.capacity() > KEPT {
            self.entries = Vec::new();
        }
    }
}

impl Timers {
    /// Checks whether there are timers without a time, perhaps all cancelled.
    #[inline]
    pub(in crate::event_loop) fn has_fresh(&self) -> bool {
        !self.fresh.entries.is_empty()
    }

    /// Returns the shortest delay of the timers without a time.
    pub(super) fn first_delay(&self) -> Option<u64> {
        let live = |entry: &&Entry| Self::is_at(&self.slots, entry, FRESH);
        let live = self.fresh.entries.iter().filter(live);
        live.map(|entry| entry.at).min()
    }

    /// Gives all timers without a time theirs, as if they were made at `now`.
    pub(super) fn date(&mut self, now: u64) {
        let slots = &mut self.slots;
        self.fresh.entries.retain_mut(|entry| {
            let Some(Place(Slot::Taken(timer))) = slots.get_mut(entry.slot) else {
                return false;
            };
            if timer.seq != entry.seq | FRESH {
                return false;
            }
            timer.seq = entry.seq;
            entry.at = entry.at.saturating_add(now).min(NEVER);
            true
        });
        self.queue.push_all(&self.fresh.entries);
        self.fresh.clear();
    }

    #[cfg(test)]
    pub(super) fn capacity_of_fresh(&self) -> usize {
        self.fresh.entries.capacity()
    }
}
