//! The way to ask: all descriptors or only the recently active ones, blocking or not.
//!
//! select(2) and poll(2) look at every descriptor that they get, and a call that sleeps also
//! registers with each of them. Of many descriptors, mostly the same few are active: the *hot*
//! ones, which were ready, or whose interest was set, lately. So a call for all is followed by a
//! *round*, which asks all once more, without sleeping, in [`Part`]s of some hundred. Before each
//! part is a *period*, which is nine times as long as the processor time that the part takes. The
//! periods of a round together take at most [`LONGEST`]. The waits of a period ask the hot ones
//! alone, and sleep on those alone. If a hot one is ready in a round, the loop is busy, and the
//! next round follows. Otherwise a call for all that sleeps until any descriptor is ready takes the
//! place of the last part, and of the others if all were asked at once before. So asking all takes a tenth of the time at most, however many
//! there are and however seldom something happens, unless that puts off an idle descriptor for
//! more than [`LONGEST`]. A loop in which nothing happens sleeps. A round in which no hot one was
//! ready is a failed [`Trial`]: the next wait asks all, and more waits do so if the next rounds
//! fail, too; in the end for [`REST`] times as long as such a round, since others may have been
//! ready in it.
//!
//! A part takes about a tenth of a millisecond. The hot ones wait no longer for the idle ones. And
//! an event that comes just after its descriptor was looked at waits for the other parts and for
//! its own, not for two calls for all.

mod asks;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::{Duration, Instant};

pub(super) use asks::{Asks, wait};

use super::trial::Trial;

/// While other waits ask only the hot descriptors, asking all takes 1/`SHARE` of the time.
const SHARE: u32 = 10;

/// Upper bound on the periods of a round together, however long asking all takes.
const LONGEST: Duration = Duration::from_micros(1_750);

/// After several rounds in a row in which no hot descriptor was ready, none begins for so many
/// times the length of the last one.
const REST: u32 = 32;

/// The number of descriptors in a part at most, or a few more.
const PART: usize = 512;

/// Of the periods that are over when the next wait begins, one in so many is measured.
const UNUSED: u8 = 16;

/// Below this number all descriptors are asked in each wait: it costs no more.
const MANY: usize = 64;

/// Returns the number of descriptors in each part of `all`.
fn part_size(all: usize) -> usize {
    all.div_ceil(all.div_ceil(PART).max(1))
}

/// Descriptors that are asked in one call of a round.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Their places in the poller's table.
    pub(super) places: Range<usize>,
    /// The number of descriptors.
    pub(super) size: usize,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    /// When all were last asked, or when the last round ended.
    began: Instant,
    /// A hot one was ready.
    busy: bool,
    /// The last round has asked parts, so that its first ones must follow in time.
    after_parts: bool,
    /// Of the poller's table, the places before this one are still to be asked. (An entry that
    /// takes the place of one that was removed comes from the end, and so is not left out.)
    left: usize,
    /// The number of descriptors that were asked.
    asked: usize,
    /// The periods together.
    pause: Duration,
    /// When they began to count. The time that the parts take is not counted.
    begin: Instant,
    /// The end of the period before the next part.
    due: Instant,
}

impl Round {
    fn end(&self) -> Instant {
        self.begin + self.pause
    }

    /// Checks whether the call that is next asks a part, and not all.
    fn asks_part(&self) -> bool {
        self.busy || self.after_parts && self.due < self.end()
    }

    /// Returns the time until which the hot ones are asked alone.
    fn next_call(&self) -> Instant {
        match self.asks_part() {
            true => self.due,
            false => self.end(),
        }
    }

    /// Returns the end of the periods before the first `count` of `all` descriptors.
    fn due_of(&self, count: usize, all: usize) -> Instant {
        self.begin + self.pause * count as u32 / all.max(1) as u32
    }

    /// Returns how many of `all` descriptors should have been asked by now, in this round and in
    /// later ones.
    fn due_by(&self, now: Instant, all: usize) -> usize {
        let elapsed = now.saturating_duration_since(self.begin).as_nanos();
        let due = all as u128 * elapsed / self.pause.as_nanos().max(1);
        usize::try_from(due).unwrap_or(usize::MAX)
    }
}

/// The results of the two shortcuts so far: to ask without sleeping first, since under load
/// something is almost always ready, and to ask the hot descriptors alone.
///
/// A shortcut that fails is given up and tried again later, so that it costs next to nothing
/// where it does not pay.
#[derive(Debug)]
pub(super) struct Pace {
    adaptive: bool,
    probe: Trial,
    hot: Trial,
    /// `None` if the hot ones are not tried.
    round: Option<Round>,
    /// The thread's processor time when the current asking began, if it is measured.
    began: Option<Duration>,
    /// The periods of a round together.
    pause: Duration,
    /// No period begins before this time: for `rest` times the length of the last failed round.
    rest_until: Option<Instant>,
    rest: u32,
    /// The number of periods, one after the other, that were over when a wait began; more than
    /// [`UNUSED`] if the last one was not.
    unused: u8,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            adaptive: true,
            probe: Trial::new(),
            hot: Trial::new(),
            round: None,
            began: None,
            pause: Duration::ZERO,
            rest_until: None,
            rest: 0,
            unused: u8::MAX,
        }
    }

    pub(super) fn set_adaptive(&mut self, adaptive: bool) {
        *self = Self {
            adaptive,
            ..Self::new()
        };
    }

    /// Checks whether the poller should record which of `all` descriptors are hot: whether they
    /// may be asked alone soon.
    #[inline]
    pub(super) fn tells_hot(&self, all: usize) -> bool {
        self.adaptive && all >= MANY && self.hot.is_due_next()
    }

    /// Checks whether the `hot` ones of `all` descriptors may be asked alone now.
    fn tries_hot(&mut self, hot: usize, all: usize) -> bool {
        if hot == 0 || !self.tells_hot(all) || !self.hot.is_due() {
            return false;
        }
        let few = hot <= all / 2;
        if !few {
            self.hot.tried(false);
        }
        few
    }

    fn hot_found(&mut self) {
        self.hot.tried(true);
        self.rest = 0;
        if let Some(round) = &mut self.round {
            round.busy = true;
        }
    }

    /// Notes that no hot descriptor was ready in a round.
    fn round_failed(&mut self, round: &Round, now: Instant) {
        self.hot.tried(false);
        // The others were not asked for so long, and one of them may have been ready.
        let length = now.saturating_duration_since(round.began);
        self.rest_until = Some(now + length * self.rest);
        self.rest = (2 * self.rest).clamp(1, REST);
    }

    /// Checks whether a round that has failed was too short a time ago for another one.
    fn rests(&self, now: Instant) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    /// Checks whether to measure the next asking. Reading the clock takes as long as some ten
    /// descriptors. So where the periods are over before the next wait begins, one in so many is
    /// measured, and that counts as a failed one: the hot ones need not be known.
    fn is_to_be_measured(&mut self) -> bool {
        if self.unused < UNUSED {
            self.unused += 1;
            return false;
        }
        if self.unused == UNUSED {
            self.hot.tried(false);
        }
        self.unused = 0;
        true
    }

    /// Checks whether to ask without sleeping first.
    #[inline]
    fn try_probe(&mut self) -> bool {
        self.adaptive && self.probe.is_due()
    }

    /// Notes that a call for all that may sleep has found something, or else timed out.
    #[inline]
    fn slept(&mut self, found: bool) {
        if found {
            self.probe.pass();
        } else {
            self.probe.rest();
            self.hot.rest();
        }
    }
}
