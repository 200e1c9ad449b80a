//! The poll(2) backend.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::bits::events_of;
use super::pace::{self, Asks, COLD, Pace, Part};
use super::table::{Table, collect, number_of, poll_now};
use super::{Deadline, Event, HANGUP_INTERVAL, Interest, Poller, check_number, index};
use crate::sys::poll as sys;

/// A [`Poller`] over poll(2), or ppoll(2) where there is one.
///
/// The array that the system call takes is kept from wait to wait. A table by number has the
/// index of each descriptor in it, so that adding, changing and removing take constant time.
/// Timeouts are exact to the nanosecond with ppoll, and rounded up to a millisecond without.
///
/// # Pace
///
/// Each call looks at every descriptor that it gets, and a call that blocks also registers with
/// each. So under load the poller asks without blocking first. Of 64 descriptors or more, most waits
/// ask, and block on, only the active ones: those that were ready lately, or whose interest was set
/// lately. All are asked so often that it takes a tenth of the time. An idle one is asked again
/// after 1.5 milliseconds at the latest, and the time that asking all takes: by a wait that blocks
/// then, or by one of the first two that begin afterwards. While some descriptors are busy, an event
/// of an idle one may be reported that much later. (Where asking all takes more than 0.17
/// milliseconds, this bound makes it take more than a tenth of the time. Without ppoll(2) a wait may
/// block for a millisecond longer.) Of more than 512 descriptors, a wait under load asks only a part
/// of the idle ones, so that a busy one waits for that part, or for those that became due while a
/// handler ran. No event is lost.
///
/// A shortcut that finds nothing is tried at growing intervals, at most 64 waits: a loop that
/// sleeps most of the time makes one call in each other wait. A wait whose deadline has passed
/// does not block. [`Deadline::Now`] always asks all, in one call.
/// [`set_adaptive`](PollPoller::set_adaptive) turns all of this off.
pub struct PollPoller {
    all: Table,
    /// Copies of the entries of the recently active descriptors.
    hot: Table,
    /// For each of those, the number of askings of all in which it was idle.
    idle: Vec<u8>,
    /// The number of descriptors with only [`Interest::HANGUP`], and so without events.
    unasked: usize,
    pace: Pace,
}

impl Default for PollPoller {
    fn default() -> Self {
        Self::new()
    }
}

impl PollPoller {
    /// Makes a poller that watches nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            all: Table::default(),
            hot: Table::default(),
            idle: Vec::new(),
            unasked: 0,
            pace: Pace::new(),
        }
    }

    /// Sets whether to adapt to the load; on unless set. Off, every wait is one call for all
    /// descriptors that may block.
    pub fn set_adaptive(&mut self, adaptive: bool) {
        self.pace.set_adaptive(adaptive);
        self.cool_down();
    }

    fn make_hot(&mut self, number: usize, place: usize) {
        self.hot.insert(number, self.all.entries[place]);
        self.idle.push(0);
    }

    fn make_cold(&mut self, number: usize, place: usize) {
        self.hot.remove(number, place);
        self.idle.swap_remove(place);
    }

    /// Counts ready descriptors as active.
    fn note_active(&mut self, ready: &[Event]) {
        for event in ready {
            let number = event.fd as u32 as usize;
            match (self.hot.place(number), self.all.place(number)) {
                (Some(place), _) => self.idle[place] = 0,
                (None, Some(place)) => self.make_hot(number, place),
                (None, None) => {}
            }
        }
    }

    /// Reports the ready ones of all, of which there are `found`. Returns whether there are any.
    #[inline(always)]
    fn report(&mut self, found: usize, ready: &mut Vec<Event>) -> bool {
        if found == 0 {
            return false;
        }
        let known = ready.len();
        collect(&self.all.entries, found, ready);
        if self.pace.tells_hot(self.all.entries.len()) {
            self.note_active(&ready[known..]);
        }
        true
    }

    /// Reports the ready ones of the hot ones, of which there are `found`. Returns whether there are
    /// any.
    fn report_hot(&mut self, found: usize, ready: &mut Vec<Event>) -> bool {
        if found == 0 {
            return false;
        }
        let known = ready.len();
        collect(&self.hot.entries, found, ready);
        self.note_active(&ready[known..]);
        true
    }

    /// Returns the longest time for which one call may block. `None` without bound.
    fn longest(&self) -> Option<Duration> {
        // The kernel sleeps through the hang-up of a descriptor without events.
        let sleeps_through = !cfg!(poll_wakes_unasked) && self.unasked > 0;
        sleeps_through.then_some(HANGUP_INTERVAL)
    }
}

impl Asks for PollPoller {
    fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    fn hot(&self) -> usize {
        self.idle.len()
    }

    fn all(&self) -> usize {
        self.all.entries.len()
    }

    #[inline(never)]
    fn ask_hot(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        let found = ask(&mut self.hot.entries, deadline, None)?;
        Ok(self.report_hot(found, ready))
    }

    #[inline(always)]
    fn ask_hot_now(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        let found = poll_now(&mut self.hot.entries)?;
        Ok(self.report_hot(found, ready))
    }

    #[inline(never)]
    fn ask_all(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        let longest = self.longest();
        let found = ask(&mut self.all.entries, deadline, longest)?;
        Ok(self.report(found, ready))
    }

    #[inline(always)]
    fn ask_all_now(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        let found = poll_now(&mut self.all.entries)?;
        Ok(self.report(found, ready))
    }

    fn places(&self) -> usize {
        self.all.entries.len()
    }

    fn part_before(&self, end: usize, size: usize) -> Part {
        Part::of_entries(self.places(), end, size)
    }

    fn ask_part(&mut self, part: &Part, ready: &mut Vec<Event>) -> io::Result<bool> {
        // The cold ones are appended to the hot ones for this call.
        let hot = self.hot.entries.len();
        for entry in &self.all.entries[part.places.clone()] {
            if self.hot.place(number_of(entry)).is_none() {
                self.hot.entries.push(*entry);
            }
        }
        let known = ready.len();
        let found = poll_now(&mut self.hot.entries);
        if let Ok(found @ 1..) = found {
            collect(&self.hot.entries, found, ready);
        }
        self.hot.entries.truncate(hot);
        self.note_active(&ready[known..]);
        Ok(found? > 0)
    }

    /// Removes those that were idle too often from the active ones.
    fn cool_down(&mut self) {
        if !self.pace.tells_hot(self.all.entries.len()) {
            self.hot.clear();
            self.idle.clear();
            return;
        }
        let mut place = 0;
        while place < self.idle.len() {
            if self.idle[place] >= COLD {
                self.make_cold(number_of(&self.hot.entries[place]), place);
            } else {
                self.idle[place] += 1;
                place += 1;
            }
        }
    }
}

/// Calls poll(2) until some of `entries` are ready or the deadline has come, and for at most
/// `longest` at a time. Returns the number of ready entries.
#[inline]
fn ask(
    entries: &mut [sys::PollFd],
    deadline: Deadline,
    longest: Option<Duration>,
) -> io::Result<usize> {
    if deadline == Deadline::Now {
        return poll_now(entries);
    }
    loop {
        let timeout = deadline.timeout();
        let timeout = timeout.into_iter().chain(longest).min();
        match sys::poll(entries, timeout) {
            // The timeout was clamped, and the deadline has not come yet.
            Ok(0) if !deadline.has_passed() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl fmt::Debug for PollPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fds = self.all.entries.iter().map(|entry| entry.fd);
        f.write_str("PollPoller ")?;
        f.debug_set().entries(fds).finish()
    }
}

impl Poller for PollPoller {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let number = index(fd)?;
        let events = (!interest.is_empty()).then(|| events_of(interest));
        let place = self.all.place(number);
        if place.is_none() && events.is_some() {
            check_number(fd)?;
        }
        self.unasked -= usize::from(place.is_some_and(|place| self.all.entries[place].events == 0));
        self.unasked += usize::from(events == Some(0));
        self.all.set(fd, number, events);
        match (self.hot.place(number), self.all.place(number)) {
            (Some(hot), None) => self.make_cold(number, hot),
            (Some(hot), Some(place)) => {
                self.hot.entries[hot].events = self.all.entries[place].events;
                self.idle[hot] = 0;
            }
            // It was not asked yet, or not for this interest.
            (None, Some(place)) if self.pace.tells_hot(self.all.entries.len()) => {
                self.make_hot(number, place);
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        pace::wait(self, deadline, ready)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Readiness;
    use super::*;

    /// Checks that the active ones are among all, with the same interest.
    fn check_invariants(poller: &PollPoller) {
        poller.all.check_invariants();
        poller.hot.check_invariants();
        assert_eq!(poller.idle.len(), poller.hot.entries.len());
        let unasked = poller.all.entries.iter().filter(|entry| entry.events == 0);
        assert_eq!(poller.unasked, unasked.count());
        for entry in &poller.hot.entries {
            let place = poller.all.place(number_of(entry)).unwrap();
            assert_eq!(poller.all.entries[place].events, entry.events);
        }
    }

    #[test]
    fn adding_changing_and_removing_in_any_order_keeps_the_places() {
        let mut poller = PollPoller::new();
        let mut seed = 1_u32;
        for _ in 0..5_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let fd = (seed >> 8) as RawFd % 200;
            let interest = Interest::from_bits_truncate((seed >> 24) as u8);
            poller.set(fd, interest).unwrap();
            check_invariants(&poller);
            match seed >> 28 {
                0..4 => {
                    let readiness = Readiness::READABLE;
                    let fd = (seed >> 12) as RawFd % 200;
                    poller.note_active(&[Event { fd, readiness }]);
                }
                4 => poller.cool_down(),
                _ => {}
            }
            check_invariants(&poller);
        }
    }

    #[test]
    fn the_parts_ask_all_that_are_watched_all_the_time_whatever_moves() {
        // They are not open, and so every call for one reports it.
        let first: RawFd = 100_000;
        let mut poller = PollPoller::new();
        let mut seed = 1_u32;
        for round in 0..300 {
            let watched = 100 + round % 100;
            for fd in first..first + watched {
                let events = Some(events_of(Interest::READABLE));
                poller.all.set(fd, fd as usize, events);
            }
            let mut gone = Vec::new();
            let mut ready = Vec::new();
            let mut left = poller.places();
            while left > 0 {
                let part = poller.part_before(left, 16);
                assert!(poller.ask_part(&part, &mut ready).unwrap());
                left = part.places.start;
                for _ in 0..2 {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let fd = first + (seed >> 8) as RawFd % watched;
                    poller.set(fd, Interest::empty()).unwrap();
                    gone.push(fd);
                }
            }
            for fd in (first..first + watched).filter(|fd| !gone.contains(fd)) {
                assert!(ready.iter().any(|event| event.fd == fd), "fd {fd}");
            }
        }
    }
}
