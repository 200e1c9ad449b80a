//! The poll(2) backend.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::pace::Pace;
use super::{Deadline, Event, Interest, Poller, Readiness, index};
use crate::sys::poll::{self as sys, PollFd};

/// A [`Poller`] over poll(2), or ppoll(2) where there is one.
///
/// The array that the system call takes is kept from wait to wait, and a table
/// by number says where in it each descriptor stands, so that adding, changing
/// and removing cost the same however many there are. Timeouts are exact to the
/// nanosecond with ppoll, and rounded up to a millisecond without.
///
/// # Pace
///
/// Under load it asks without blocking first, which costs the kernel less, and of
/// 64 descriptors or more it asks those that were active lately alone most of the
/// time: the others at the latest in every 16th wait, in the first wait that
/// begins more than a millisecond after they were last asked, and whenever the
/// active ones have nothing. So an event of a descriptor that was idle may be
/// reported that much later, while others are busy; never later, and nothing is
/// lost. What finds nothing is tried ever more seldom, down to once in 64 waits: a
/// loop that sleeps most of the time makes one call a wait otherwise.
/// [`set_adaptive`](PollPoller::set_adaptive) turns all of it off.
pub struct PollPoller {
    /// What the system call is given. Each descriptor stands once: first those
    /// that were active lately, then the others.
    entries: Vec<PollFd>,
    /// How many were active lately.
    hot: usize,
    /// For each of those, in how many askings of all it was not active.
    idle: Vec<u8>,
    /// For each number, one more than its index in `entries`; 0 if not there.
    places: Vec<u32>,
    pace: Pace,
}

/// In how many askings of all a descriptor must be idle to count among the others.
const COLD: u8 = 4;

impl Default for PollPoller {
    fn default() -> Self {
        Self::new()
    }
}

impl PollPoller {
    /// A poller that knows no descriptor.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            hot: 0,
            idle: Vec::new(),
            places: Vec::new(),
            pace: Pace::new(),
        }
    }

    /// Whether to adapt to the load, as it does unless told otherwise; if not,
    /// every wait is one call, over all descriptors, that may block.
    pub fn set_adaptive(&mut self, adaptive: bool) {
        self.pace.set_adaptive(adaptive);
        self.hot = 0;
        self.idle.clear();
    }

    fn place(&self, number: usize) -> Option<usize> {
        match self.places.get(number) {
            None | Some(0) => None,
            Some(&place) => Some(place as usize - 1),
        }
    }

    fn insert(&mut self, fd: RawFd, number: usize, events: i16) {
        if self.places.len() <= number {
            self.places.resize(number + 1, 0);
        }
        self.entries.push(PollFd {
            fd,
            events,
            revents: 0,
        });
        self.places[number] = self.entries.len() as u32;
    }

    fn remove(&mut self, number: usize, mut place: usize) {
        if place < self.hot {
            self.make_cold(place);
            place = self.hot;
        }
        self.swap(place, self.entries.len() - 1);
        self.entries.pop();
        self.places[number] = 0;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.entries.swap(a, b);
        for place in [a, b] {
            // Only numbers that are not negative were ever inserted.
            self.places[self.entries[place].fd as usize] = place as u32 + 1;
        }
    }

    /// Counts an entry among the hot ones; it is then the last of them.
    fn make_hot(&mut self, place: usize) {
        self.swap(place, self.hot);
        self.hot += 1;
        self.idle.push(0);
    }

    /// Counts a hot entry among the others; it is then the first of them.
    fn make_cold(&mut self, place: usize) {
        self.hot -= 1;
        self.swap(place, self.hot);
        self.idle.swap_remove(place);
    }

    /// After asking all: counts those among the others that were idle too often.
    fn cool_down(&mut self, most: u8) {
        if !self.pace.tells_hot(self.entries.len()) {
            self.hot = 0;
            self.idle.clear();
            return;
        }
        let mut place = 0;
        while place < self.hot {
            if self.idle[place] >= most {
                self.make_cold(place);
            } else {
                self.idle[place] += 1;
                place += 1;
            }
        }
    }

    /// Counts those that are ready among the hot ones.
    fn note_active(&mut self, ready: &[Event]) {
        for event in ready {
            match self.place(event.fd.cast_unsigned() as usize) {
                Some(place) if place < self.hot => self.idle[place] = 0,
                Some(place) => self.make_hot(place),
                None => {}
            }
        }
    }

    /// Asks the first `count` entries and does not block; whether some are ready,
    /// which are then appended to `ready`.
    #[inline]
    fn ask_now(&mut self, count: usize, ready: &mut Vec<Event>) -> io::Result<bool> {
        match sys::poll(&mut self.entries[..count], Some(Duration::ZERO)) {
            Ok(found) => Ok(self.report(count, found, ready)),
            // So says Linux if a signal is pending and nothing is ready.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks all entries, and blocks until some are ready or the deadline has come.
    fn ask_and_block(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        loop {
            match sys::poll(&mut self.entries, deadline.timeout()) {
                // The wait was clamped: the deadline is still to come.
                Ok(0) if !deadline.has_passed() => {}
                Ok(found) => return Ok(self.report(self.entries.len(), found, ready)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reports the `found` ones of the first `count` entries that are ready.
    #[inline]
    fn report(&mut self, count: usize, found: usize, ready: &mut Vec<Event>) -> bool {
        if found == 0 {
            return false;
        }
        collect(&self.entries[..count], found, ready);
        if self.pace.tells_hot(self.entries.len()) {
            self.note_active(ready);
        }
        true
    }

    /// Asks the descriptors that were active lately, if that is worth while.
    fn ask_the_hot(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        if self.pace.try_hot(self.hot, self.entries.len()) {
            let found = self.ask_now(self.hot, ready)?;
            self.pace.hot_found(found);
            if found {
                return Ok(true);
            }
        }
        self.cool_down(COLD);
        Ok(false)
    }
}

impl fmt::Debug for PollPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fds = self.entries.iter().map(|entry| entry.fd);
        f.write_str("PollPoller ")?;
        f.debug_set().entries(fds).finish()
    }
}

fn events_of(interest: Interest) -> i16 {
    let mut events = 0;
    if interest.contains(Interest::READABLE) {
        events |= sys::POLLIN;
    }
    if interest.contains(Interest::WRITABLE) {
        events |= sys::POLLOUT;
    }
    if interest.contains(Interest::PRIORITY) {
        events |= sys::POLLPRI;
    }
    events
}

/// Appends an event for each of the entries that are ready, which are `left`.
#[inline]
fn collect(entries: &[PollFd], mut left: usize, ready: &mut Vec<Event>) {
    for entry in entries {
        if entry.revents == 0 {
            continue;
        }
        ready.push(Event {
            fd: entry.fd,
            readiness: readiness_of(entry),
        });
        left -= 1;
        if left == 0 {
            return;
        }
    }
}

/// What select(2) would have reported for the same situation, as far as it can.
#[inline]
fn readiness_of(entry: &PollFd) -> Readiness {
    if entry.revents == sys::POLLIN {
        return Readiness::READABLE;
    }
    unusual_readiness_of(entry)
}

/// poll reports hang-ups and errors whether they were asked for or not.
fn unusual_readiness_of(entry: &PollFd) -> Readiness {
    let (wanted, found) = (entry.events, entry.revents);
    let mut readiness = Readiness::empty();
    let readable = sys::POLLIN | sys::POLLHUP | sys::POLLERR;
    if wanted & sys::POLLIN != 0 && found & readable != 0 {
        readiness |= Readiness::READABLE;
    }
    let writable = sys::POLLOUT | sys::POLLERR;
    if wanted & sys::POLLOUT != 0 && found & writable != 0 {
        readiness |= Readiness::WRITABLE;
    }
    if found & sys::POLLPRI != 0 {
        readiness |= Readiness::PRIORITY;
    }
    if found & sys::POLLNVAL != 0 {
        return Readiness::INVALID;
    }
    // Nothing of the above can tell the channel, and the next wait would return
    // at once again: it must hear of it now.
    if readiness.is_empty() {
        if found & sys::POLLERR != 0 {
            readiness |= Readiness::ERROR;
        }
        if found & sys::POLLHUP != 0 {
            readiness |= Readiness::HANGUP;
        }
    }
    readiness
}

impl Poller for PollPoller {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let number = index(fd)?;
        match (self.place(number), interest.is_empty()) {
            (None, true) => {}
            (None, false) => self.insert(fd, number, events_of(interest)),
            (Some(place), true) => self.remove(number, place),
            (Some(place), false) => self.entries[place].events = events_of(interest),
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        let all = self.entries.len();
        if deadline == Deadline::Now {
            return self.ask_now(all, ready).map(drop);
        }
        if self.hot > 0 && self.ask_the_hot(ready)? {
            return Ok(());
        }
        if self.pace.try_probe() {
            let found = self.ask_now(all, ready)?;
            self.pace.probe_found(found, all);
            if found {
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
    use super::*;

    /// Every number's place leads to its entry, and every entry has a place.
    fn check_invariants(poller: &PollPoller) {
        for (place, entry) in poller.entries.iter().enumerate() {
            assert_eq!(poller.place(entry.fd as usize), Some(place));
            assert_ne!(entry.events, 0);
        }
        assert_eq!(poller.idle.len(), poller.hot);
        assert!(poller.hot <= poller.entries.len());
        let places = poller.places.iter().filter(|place| **place != 0);
        assert_eq!(places.count(), poller.entries.len());
    }

    #[test]
    fn adding_changing_and_removing_in_any_order_keeps_the_places() {
        let mut poller = PollPoller::new();
        let mut seed = 1_u32;
        for _ in 0..2_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let fd = (seed >> 8) as RawFd % 40;
            let interest = Interest::from_bits_truncate((seed >> 24) as u8);
            poller.set(fd, interest).unwrap();
            check_invariants(&poller);
            let cold = poller.hot..poller.entries.len();
            match seed >> 28 {
                0..4 if !cold.is_empty() => poller.make_hot(cold.start),
                4 => poller.cool_down(COLD),
                _ => {}
            }
            check_invariants(&poller);
        }
    }

    #[test]
    fn a_hangup_is_readable_where_reading_is_wanted() {
        let entry = |events, revents| PollFd {
            fd: 0,
            events,
            revents,
        };
        let read_hup = readiness_of(&entry(sys::POLLIN, sys::POLLHUP));
        assert_eq!(read_hup, Readiness::READABLE);
        let both_err = readiness_of(&entry(sys::POLLIN | sys::POLLOUT, sys::POLLERR));
        assert_eq!(both_err, Readiness::READABLE | Readiness::WRITABLE);
        let write_hup = readiness_of(&entry(sys::POLLOUT, sys::POLLHUP));
        assert_eq!(write_hup, Readiness::HANGUP);
        let invalid = readiness_of(&entry(sys::POLLIN, sys::POLLNVAL));
        assert_eq!(invalid, Readiness::INVALID);
    }
}
