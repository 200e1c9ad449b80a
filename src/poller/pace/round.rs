//! A round: all descriptors are asked once, part by part, spread over its length.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::Asks;

/// Upper bound on the number of descriptors in a part.
pub(super) const PART: usize = 512;

/// Descriptors that are asked in one call of a round.
#[derive(Debug, Clone)]
pub(in crate::poller) struct Part {
    /// Their places in the poller's table.
    pub(in crate::poller) places: Range<usize>,
    /// The number of descriptors.
    pub(in crate::poller) size: usize,
}

impl Part {
    /// Makes the part before `end` of a table of `count` descriptors, each with a place.
    #[cfg(any(feature = "poll", test))]
    pub(in crate::poller) fn of_entries(count: usize, end: usize, size: usize) -> Self {
        let end = end.min(count);
        let places = end.saturating_sub(size)..end;
        let size = places.len();
        Self { places, size }
    }
}

/// The time until all were asked once more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// When all were last asked, or when the last round ended.
    pub(super) began: Instant,
    /// A hot one was ready.
    pub(super) busy: bool,
    /// The last round has asked parts, so that its first ones must follow in time.
    after_parts: bool,
    /// Of the poller's table, the places before this one are still to be asked. (In the table of
    /// poll(2), an entry that takes the place of one that was removed comes from the end, and so
    /// is not left out.)
    left: usize,
    /// Its length, which does not count the time that the parts take.
    length: Duration,
    /// The end of its last period. A part that takes some time moves it.
    pub(super) end: Instant,
    /// The end of the period before the next part.
    due: Instant,
}

impl Round {
    /// Begins a round, whose first period begins at `follows` if the last round has asked parts.
    pub(super) fn new<A: Asks>(asks: &A, length: Duration, follows: Option<Instant>) -> Self {
        let now = asks.now();
        let round = Self {
            began: now,
            busy: false,
            after_parts: follows.is_some(),
            left: asks.places(),
            length,
            end: follows.unwrap_or(now) + length,
            due: now,
        };
        round.with_due(asks)
    }

    /// Checks whether the call that is next asks a part, and not all.
    pub(super) fn asks_part(&self) -> bool {
        self.busy || self.after_parts && self.due < self.end
    }

    /// Returns the time until which the hot ones are asked alone.
    pub(super) fn next_call(&self) -> Instant {
        match self.asks_part() {
            true => self.due,
            false => self.end,
        }
    }

    /// Returns what is due at a time: the next part, or more parts if the loop has served for
    /// long, as one. `None` if it is best to ask all.
    pub(super) fn due_by<A: Asks>(&self, now: Instant, asks: &A) -> Option<Part> {
        // The next round should be half over.
        if now > self.end + self.length / 2 || asks.all() <= PART {
            return None;
        }
        let mut part = part_before(self.left, asks);
        while part.places.start > 0 {
            let next = part_before(part.places.start, asks);
            if now < self.due_of(&next, asks) {
                break;
            }
            part.places.start = next.places.start;
            part.size += next.size;
        }
        Some(part)
    }

    /// Notes that the parts before the place `left` are the next ones, after a part that took so
    /// long.
    pub(super) fn asked<A: Asks>(mut self, left: usize, took: Duration, asks: &A) -> Self {
        self.end += took;
        self.left = left;
        self.with_due(asks)
    }

    fn with_due<A: Asks>(mut self, asks: &A) -> Self {
        self.due = match asks.all() > PART {
            true => self.due_of(&part_before(self.left, asks), asks),
            false => self.end,
        };
        self
    }

    /// Returns the end of the period before a part. The periods are as long as the parts.
    fn due_of<A: Asks>(&self, part: &Part, asks: &A) -> Instant {
        let all = asks.places().max(1) as u32;
        let left = all.min(part.places.start as u32);
        self.end - self.length * left / all
    }
}

/// Returns the part that ends before a place. All parts are about as large.
fn part_before<A: Asks>(end: usize, asks: &A) -> Part {
    let all = asks.all();
    asks.part_before(end, all.div_ceil(all.div_ceil(PART).max(1)))
}
