//! The places of timers.

use std::mem;

use super::Act;
use super::delay::Delay;
use super::generation::{Generation, Kind};
use super::queue::Entry;
use crate::event_loop::id::Serial;

/// A number that no place has.
// Not an `Option`, which is written as two halves and read as one whole: the read then waits until
// both have left the processor's store buffer.
const NO_PLACE: u32 = u32::MAX;

/// The place of a timer. As long as a cache line, since timers are cancelled in any order, and most
/// lines are then not in a cache.
// Not aligned to lines, so that an allocator can extend the array without copying it. The fields that
// cancelling needs come first, and are rarely in two lines.
#[repr(C)]
pub(super) struct Place {
    owner: Owner,
    pub(super) delay: Delay,
    pub(super) act: Act,
}

#[derive(Clone, Copy)]
enum Owner {
    Vacant {
        /// The next vacant place, or [`NO_PLACE`].
        next: u32,
    },
    Timer {
        serial: Serial,
        generation: Generation,
    },
}

impl Place {
    /// Returns the number of the timer, if there is one.
    #[inline]
    pub(super) fn serial(&self) -> Option<Serial> {
        match self.owner {
            Owner::Timer { serial, .. } => Some(serial),
            Owner::Vacant { .. } => None,
        }
    }

    #[inline]
    pub(super) fn generation(&self) -> Generation {
        match self.owner {
            Owner::Timer { generation, .. } => generation,
            Owner::Vacant { .. } => Generation::NONE,
        }
    }

    /// Gives the timer, if there is one, the generation of that number. Its entries become stale.
    #[inline]
    pub(super) fn renew(&mut self, serial: Serial) -> Generation {
        let new = Generation::new(serial, self.kind());
        if let Owner::Timer { generation, .. } = &mut self.owner {
            *generation = new;
        }
        new
    }

    /// Notes that the function of a periodic timer runs. The entry was taken.
    #[inline]
    pub(super) fn set_running(&mut self) {
        if let Owner::Timer { generation, .. } = &mut self.owner {
            *generation = Generation::NONE;
        }
    }

    /// Checks whether `entry` is the timer's.
    #[inline]
    pub(super) fn is_at(&self, entry: &Entry) -> bool {
        self.generation() == entry.generation
    }

    /// Checks whether the timer has an entry, in the queue or among those that are due.
    #[inline]
    pub(super) fn has_entry(&self) -> bool {
        !self.delay.is_fresh() && self.generation() != Generation::NONE
    }

    /// Returns the kind of the timer.
    #[inline]
    pub(super) fn kind(&self) -> Kind {
        self.generation().kind()
    }

    /// Checks whether the place has a periodic timer whose function runs.
    pub(super) fn is_running(&self) -> bool {
        self.serial().is_some() && self.act.is_empty()
    }
}

/// Places by number.
pub(super) struct Places {
    places: Vec<Place>,
    /// The number of places that were taken at some time. The others are vacant, in no list.
    used: u32,
    /// The first vacant place of those that were taken at some time, or [`NO_PLACE`].
    vacant: u32,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            used: 0,
            vacant: NO_PLACE,
        }
    }
}

impl Places {
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Place> {
        self.places.get(number as usize)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Place> {
        self.places.get_mut(number as usize)
    }

    /// Takes a vacant place for a timer. Returns its number and the place, whose function is to be
    /// filled in.
    #[inline]
    pub(super) fn insert(&mut self, serial: Serial, generation: Generation) -> (u32, &mut Place) {
        let vacant = self.get(self.vacant).map(|place| place.owner);
        let number = match vacant {
            Some(Owner::Vacant { next }) => mem::replace(&mut self.vacant, next),
            _ => self.use_another(),
        };
        let place = &mut self.places[number as usize];
        place.owner = Owner::Timer { serial, generation };
        (number, place)
    }

    /// Returns the number of a place that was not taken before.
    #[inline]
    fn use_another(&mut self) -> u32 {
        let number = self.used;
        self.used += 1;
        match self.places.get_mut(number as usize) {
            // The place may have been in the list of fresh timers before that was cleared.
            Some(place) => place.delay = Delay::NONE,
            None => self.places.push(Place {
                owner: Owner::Vacant { next: NO_PLACE },
                delay: Delay::NONE,
                act: Act::default(),
            }),
        }
        number
    }

    /// Removes the timer of that number from its place, and drops its function. `note` is called
    /// before, since a function may panic when it is dropped. Returns false if the timer is gone.
    #[inline]
    pub(super) fn remove(
        &mut self,
        number: u32,
        serial: Serial,
        note: impl FnOnce(&Place),
    ) -> bool {
        let place = self.places.get_mut(number as usize);
        let Some(place) = place.filter(|place| place.serial() == Some(serial)) else {
            return false;
        };
        note(place);
        let next = mem::replace(&mut self.vacant, number);
        place.owner = Owner::Vacant { next };
        place.act.clear();
        true
    }

    /// Returns the number of places that have been taken since the last [`reset`](Self::reset).
    #[inline]
    pub(super) fn used(&self) -> usize {
        self.used as usize
    }

    /// Returns all places to the state before they were first taken, so that the next timers are side
    /// by side in memory. All must be vacant, and the list of fresh timers is to be cleared.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.used = 0;
        self.vacant = NO_PLACE;
    }

    /// Frees the places after the last one that is taken, if at least half of all are after it.
    pub(super) fn shorten(&mut self) {
        let is_taken = |number: &u32| {
            self.get(*number)
                .is_some_and(|place| place.serial().is_some())
        };
        let last = (0..self.used).rev().find(is_taken);
        let used = last.map_or(0, |last| last + 1);
        if used > self.used / 2 {
            return;
        }
        self.used = used;
        self.places.truncate(used as usize);
        self.places.shrink_to_fit();
        self.vacant = NO_PLACE;
        for number in 0..used {
            let vacant = self.vacant;
            let owner = self.get_mut(number).map(|place| &mut place.owner);
            if let Some(Owner::Vacant { next }) = owner {
                *next = vacant;
                self.vacant = number;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity()
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_as_long_as_a_cache_line() {
        assert_eq!(size_of::<Place>(), 64);
    }
}
