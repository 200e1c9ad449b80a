//! Fresh timers: made in a pass, with a delay, and without a time yet.
//!
//! Reading the clock takes longer than all the rest of making a timer. So the handlers of a pass
//! only note the delays of their timers, and when they have returned, one reading of the clock gives
//! all these timers their times. A timer that is cancelled before is never in the queue.
//!
//! The list of fresh timers has the numbers of their places. The place of a timer that is cancelled
//! stays in the list, and is not added again for its next timer. So each place is in the list at most
//! once, however many timers a pass makes and cancels.

use std::mem;
use std::time::Duration;

use super::delay::Delay;
use super::queue::Entry;
use super::time::NEVER;
use super::{KEPT, Timers};

impl Timers {
    /// Checks whether there are timers without a time, perhaps all cancelled.
    #[inline]
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Returns the shortest delay of the timers without a time. `None` if none ever ends.
    pub(in crate::event_loop) fn first_delay(&self) -> Option<Duration> {
        let places = self.fresh.iter().filter_map(|slot| self.places.get(*slot));
        let taken = places.filter(|place| place.serial().is_some());
        let first = taken.filter_map(|place| place.delay.after(0)).min();
        first.filter(|at| *at < NEVER).map(Duration::from_nanos)
    }

    /// Gives all timers without a time theirs, as if they were made at `now`.
    pub(super) fn date(&mut self, now: u64) {
        let places = &mut self.places;
        let dated = self.fresh.drain(..).filter_map(|slot| {
            let place = places.get_mut(slot)?;
            let delay = mem::replace(&mut place.delay, Delay::NONE);
            place.serial()?;
            Some(Entry {
                at: delay.after(now)?,
                generation: place.generation(),
                slot,
            })
        });
        self.queue.push_all(dated);
        self.is_oversized |= self.fresh.capacity() > KEPT;
    }
}
