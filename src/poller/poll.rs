//! The poll(2) backend.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::bits::events_of;
use super::pace::Pace;
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
/// Under load it asks without blocking first, which costs the kernel less. Of 64 descriptors or
/// more, most waits ask only the recently active ones. All are asked whenever no active one is
/// ready, and otherwise so often that it takes a tenth of the time. While some descriptors are
/// busy, an event of an idle one may be reported that much later: in the first wait that begins 2
/// milliseconds after it happened, at the latest. (Where asking all takes more than 0.2
/// milliseconds, this bound makes it take more than a tenth of the time.) No event is lost.
///
/// A shortcut that finds nothing is tried at growing intervals, at most 64 waits: a loop that
/// sleeps most of the time makes one call in each other wait. A wait whose deadline has passed
/// makes at most two calls, and does not block. [`Deadline::Now`] always asks all, in one call.
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

/// The number of askings of all in which a descriptor must be idle to no longer count as
/// active.
const COLD: u8 = 4;

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

    /// Removes those that were idle too often from the active ones, after all were asked.
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

    /// Asks all without blocking, and appends the ready ones to `ready`. Returns whether there
    /// are any.
    #[inline]
    fn ask_now(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        let found = poll_now(&mut self.all.entries)?;
        Ok(self.report(found, ready))
    }

    /// Asks all, and blocks until some are ready or the deadline has come. Returns whether some
    /// are ready.
    fn ask_and_block(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        loop {
            let timeout = self.clamp(deadline.timeout());
            match sys::poll(&mut self.all.entries, timeout) {
                // The timeout was clamped, and the deadline has not come yet.
                Ok(0) if !deadline.has_passed() => {}
                Ok(found) => return Ok(self.report(found, ready)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Shortens a timeout where the kernel would sleep through the hang-up of a descriptor
    /// without events.
    fn clamp(&self, timeout: Option<Duration>) -> Option<Duration> {
        if cfg!(poll_wakes_unasked) || self.unasked == 0 {
            return timeout;
        }
        Some(timeout.map_or(HANGUP_INTERVAL, |timeout| timeout.min(HANGUP_INTERVAL)))
    }

    /// Reports the ready ones of all, of which there are `found`.
    #[inline]
    fn report(&mut self, found: usize, ready: &mut Vec<Event>) -> bool {
        if found == 0 {
            return false;
        }
        collect(&self.all.entries, found, ready);
        if self.pace.tells_hot(self.all.entries.len()) {
            self.note_active(ready);
        }
        true
    }

    /// Asks only the recently active descriptors, if that is likely to pay.
    fn ask_the_hot(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        if self.pace.try_hot(self.idle.len(), self.all.entries.len()) {
            let found = poll_now(&mut self.hot.entries)?;
            self.pace.hot_found(found > 0);
            if found > 0 {
                collect(&self.hot.entries, found, ready);
                self.note_active(ready);
                return Ok(true);
            }
        }
        self.cool_down();
        Ok(false)
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
        match (self.hot.place(number), events) {
            (Some(place), None) => self.make_cold(number, place),
            (Some(place), Some(events)) => self.hot.entries[place].events = events,
            (None, _) => {}
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        if deadline == Deadline::Now {
            return self.ask_now(ready).map(drop);
        }
        if !self.idle.is_empty() && self.ask_the_hot(ready)? {
            return Ok(());
        }
        let all = self.all.entries.len();
        if self.pace.try_probe() || deadline.has_passed() {
            let found = self.ask_now(ready)?;
            self.pace.probe_found(found, all);
            if found || deadline.has_passed() {
                return Ok(());
            }
        }
        let found = self.ask_and_block(deadline, ready)?;
        self.pace.block_found(found, all);
        Ok(())
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
        poller.pace.block_found(true, usize::MAX);
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
}
