//! The way to ask: all descriptors or only the recently active ones, blocking or not.
//!
//! select(2) and poll(2) look at every descriptor that they get, and a call that sleeps also
//! registers with each of them. Of many descriptors, mostly the same few are active: the *hot*
//! ones, which were ready, or whose interest was set, lately. So a call for all is followed by a
//! [`Round`], in which the waits ask the hot ones alone, and sleep on those alone. It lasts nine
//! times as long as the processor time of a call for all, but at most [`LONGEST`]. If a hot one is
//! ready in it, the loop is busy: then all are asked without sleeping, and the next round begins.
//! Otherwise all are asked by a call that sleeps until any of them is ready. So asking all takes a
//! tenth of the time at most, however many there are and however seldom something happens, unless
//! that puts off an idle descriptor for more than [`LONGEST`]. A loop in which nothing happens
//! sleeps. A round in which no hot one was ready is a failed [`Trial`]: the next wait asks all, and
//! more waits do so if the next rounds fail, too; in the end for [`REST`] times as long as such a
//! round, since others may have been ready in it. While the loop is busy, another round begins only
//! after a [`Comparison`] of what the calls for all find with the hot ones.
//!
//! More descriptors than go into one [`Part`] are asked in parts, together with the hot ones. The
//! parts are spread over the round: before each is a *period*, its share of the round. So a hot
//! one waits for one part, or for those that became due while a handler ran, and not for all. And
//! an event that comes just after its descriptor was looked at does not wait for two calls for
//! all. (In a round after a call for all, parts are asked once the loop is busy. A loop that is
//! not asks all in one call, since that call may have to sleep.)

mod asks;
mod comparison;
mod round;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub(super) use asks::{Asks, wait};
use comparison::Comparison;
pub(super) use round::Part;
use round::Round;

use super::trial::Trial;

/// While other waits ask only the hot descriptors, asking all takes 1/`SHARE` of the time.
const SHARE: u32 = 10;

/// Upper bound on the length of a round, however long asking all takes.
const LONGEST: Duration = Duration::from_micros(1_500);

/// After several rounds in a row in which no hot descriptor was ready, none begins for so many
/// times the length of the last one.
const REST: u32 = 32;

/// Of the rounds that are over when the next wait begins, the call for all after one in so many is
/// measured.
const UNUSED: u8 = 16;

/// The number of askings of all in which a descriptor must be idle to no longer count as hot.
pub(super) const COLD: u8 = 4;

/// Below this number all descriptors are asked in each wait: it costs no more.
const MANY: usize = 64;

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
    comparison: Comparison,
    /// `None` if the hot ones are not tried.
    round: Option<Round>,
    /// The thread's processor time when the current asking began, if it is measured.
    began: Option<Duration>,
    /// The length of the next round.
    length: Duration,
    /// No round begins before this time: for `rest` times the length of the last failed round.
    rest_until: Option<Instant>,
    rest: u32,
    /// The number of rounds, one after the other, that were over when a wait began; more than
    /// [`UNUSED`] if the last one was not.
    unused: u8,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            adaptive: true,
            probe: Trial::new(),
            hot: Trial::new(),
            comparison: Comparison::default(),
            round: None,
            began: None,
            length: Duration::ZERO,
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
            self.hot_tried(false);
        }
        few
    }

    /// Checks whether the loop is busy, and the last try to ask the hot ones alone has failed.
    fn doubts_hot(&self) -> bool {
        self.probe.is_due() && self.probe.works() && !self.hot.works()
    }

    /// Notes the result of a try to ask the hot ones alone.
    fn hot_tried(&mut self, worked: bool) {
        self.hot.tried(worked);
        self.comparison = Comparison::default();
    }

    fn hot_found(&mut self) {
        self.hot_tried(true);
        self.rest = 0;
        if let Some(round) = &mut self.round {
            round.busy = true;
        }
    }

    /// Returns the time until which the hot ones are asked alone. `None` if there is no round.
    fn next_call(&self) -> Option<Instant> {
        self.round.as_ref().map(Round::next_call)
    }

    /// Checks whether the call after that time asks a part, and not all.
    fn asks_part(&self) -> bool {
        self.round.as_ref().is_some_and(Round::asks_part)
    }

    /// Notes that no hot descriptor was ready in the round.
    fn round_failed(&mut self, now: Instant) {
        self.hot_tried(false);
        // The others were not asked for so long, and one of them may have been ready.
        let began = self.round.as_ref().map_or(now, |round| round.began);
        let length = now.saturating_duration_since(began);
        self.rest_until = Some(now + length * self.rest);
        self.rest = (2 * self.rest).clamp(1, REST);
    }

    /// Checks whether a round that has failed was too short a time ago for another one.
    fn rests(&self, now: Instant) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    /// Checks whether to measure the next call for all. Reading the clock takes as long as some ten
    /// descriptors. So where the rounds are over before the next wait begins, one call in so many
    /// is measured, and that round counts as a failed one: the hot ones need not be known.
    fn is_to_be_measured(&mut self) -> bool {
        if self.unused < UNUSED {
            self.unused += 1;
            return false;
        }
        if self.unused == UNUSED {
            self.hot_tried(false);
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
