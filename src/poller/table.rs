//! The array that poll(2) takes, and the events in it.

use std::ffi::c_short;
use std::io;
use std::os::fd::RawFd;
use std::slice;
use std::time::Duration;

use super::{Event, Readiness, bits};
use crate::sys::fd::is_open;
use crate::sys::poll::{self as sys, PollFd};

/// An array of distinct descriptors, and the index of each in it.
#[derive(Default)]
pub(super) struct Table {
    pub(super) entries: Vec<PollFd>,
    /// For each number, one more than its index in `entries`; 0 if it is not in there.
    places: Vec<u32>,
}

impl Table {
    pub(super) fn place(&self, number: usize) -> Option<usize> {
        match self.places.get(number) {
            None | Some(0) => None,
            Some(&place) => Some(place as usize - 1),
        }
    }

    /// Enters `fd`, whose number as an index is `number`, with `events`, or changes its events.
    /// Removes it if `events` is `None`.
    pub(super) fn set(&mut self, fd: RawFd, number: usize, events: Option<c_short>) {
        match (self.place(number), events) {
            (None, None) => {}
            (None, Some(events)) => {
                let revents = 0;
                let entry = PollFd {
                    fd,
                    events,
                    revents,
                };
                self.insert(number, entry);
            }
            (Some(place), None) => self.remove(number, place),
            (Some(place), Some(events)) => self.entries[place].events = events,
        }
    }

    /// Adds an entry. The descriptor must not be in the table yet.
    pub(super) fn insert(&mut self, number: usize, entry: PollFd) {
        if self.places.len() <= number {
            self.places.resize(number + 1, 0);
        }
        self.entries.push(entry);
        self.places[number] = self.entries.len() as u32;
    }

    /// Removes an entry. The last one takes its place.
    pub(super) fn remove(&mut self, number: usize, place: usize) {
        self.entries.swap_remove(place);
        if let Some(moved) = self.entries.get(place) {
            self.places[number_of(moved)] = place as u32 + 1;
        }
        self.places[number] = 0;
    }

    #[cfg(feature = "poll")]
    pub(super) fn clear(&mut self) {
        for entry in &self.entries {
            self.places[number_of(entry)] = 0;
        }
        self.entries.clear();
    }

    /// Checks that every number's place leads to its entry, and that every entry has a place.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        for (place, entry) in self.entries.iter().enumerate() {
            assert_eq!(self.place(number_of(entry)), Some(place));
        }
        let places = self.places.iter().filter(|place| **place != 0);
        assert_eq!(places.count(), self.entries.len());
    }
}

/// Returns the number of an entry as an index. Negative numbers are never inserted.
pub(super) fn number_of(entry: &PollFd) -> usize {
    entry.fd as u32 as usize
}

/// Asks without blocking. Returns the number of ready entries.
pub(super) fn poll_now(entries: &mut [PollFd]) -> io::Result<usize> {
    match sys::poll(entries, Some(Duration::ZERO)) {
        // Linux returns this if a signal is pending and nothing is ready.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        result => result,
    }
}

/// The number of entries that are checked together, since of many entries few are ready.
const GROUP: usize = 4;

/// Appends an event for each ready entry, of which there are `count`.
#[inline]
pub(super) fn collect(entries: &[PollFd], count: usize, ready: &mut Vec<Event>) {
    let entries = from_first_ready(entries);
    match entries.iter().find(|entry| entry.revents != 0) {
        // The usual case.
        Some(entry) if count == 1 && entry.revents == sys::POLLIN => ready.push(readable(entry)),
        _ => collect_all(entries, count, ready),
    }
}

#[inline(never)]
fn collect_all(entries: &[PollFd], count: usize, ready: &mut Vec<Event>) {
    let complete = ready.len() + count;
    let mut groups = entries.chunks_exact(GROUP);
    for group in &mut groups {
        if !has_ready(group) {
            continue;
        }
        for entry in group {
            collect_one(entry, ready);
        }
        if ready.len() >= complete {
            return;
        }
    }
    for entry in groups.remainder() {
        collect_one(entry, ready);
    }
}

/// Appends an event for an entry, if that is ready.
#[inline(always)]
fn collect_one(entry: &PollFd, ready: &mut Vec<Event>) {
    match entry.revents {
        0 => {}
        sys::POLLIN => ready.push(readable(entry)),
        _ => collect_unusual(entry, ready),
    }
}

fn readable(entry: &PollFd) -> Event {
    let (fd, readiness) = (entry.fd, Readiness::READABLE);
    Event { fd, readiness }
}

#[inline(always)]
fn has_ready(group: &[PollFd]) -> bool {
    group.iter().fold(0, |any, entry| any | entry.revents) != 0
}

/// Returns the entries from the first group on that has a ready one.
#[inline]
fn from_first_ready(mut entries: &[PollFd]) -> &[PollFd] {
    while let Some((group, rest)) = entries.split_at_checked(GROUP) {
        if has_ready(group) {
            break;
        }
        entries = rest;
    }
    entries
}

/// Appends an event for an entry that is not simply readable.
#[inline(never)]
fn collect_unusual(entry: &PollFd, ready: &mut Vec<Event>) {
    let (fd, readiness) = (entry.fd, unusual_readiness_of(entry));
    if !readiness.is_empty() {
        ready.push(Event { fd, readiness });
    }
}

/// Returns the readiness that select(2) would have reported, as far as it can.
fn unusual_readiness_of(entry: &PollFd) -> Readiness {
    if entry.revents & sys::POLLNVAL != 0 {
        return why_invalid(*entry);
    }
    bits::readiness(entry.events, entry.revents)
}

/// Distinguishes the causes of POLLNVAL. Empty if none applies any more.
#[cold]
fn why_invalid(mut entry: PollFd) -> Readiness {
    if !is_open(entry.fd) {
        return Readiness::INVALID;
    }
    // Another thread may have closed the number before the call and reused it since. (The
    // same events, since Apple systems refuse a terminal only if there are any.)
    match poll_now(slice::from_mut(&mut entry)) {
        Ok(_) if entry.revents & sys::POLLNVAL != 0 => Readiness::REFUSED,
        _ => Readiness::empty(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_number_that_was_reused_since_poll_found_it_closed_is_not_reported() {
        let file = File::open("/dev/null").unwrap();
        let entry = PollFd {
            fd: file.as_raw_fd(),
            events: sys::POLLIN,
            revents: sys::POLLNVAL,
        };
        let mut ready = Vec::new();
        collect(&[entry], 1, &mut ready);
        assert_eq!(ready, []);
    }

    #[test]
    fn those_that_are_ready_are_found_wherever_they_stand_and_in_order() {
        let count = 15;
        for (first, step) in (0..count).flat_map(|first| [1, 3, 4, count].map(|s| (first, s))) {
            let expected: Vec<usize> = (first..count).step_by(step).collect();
            let entry = |number: usize| PollFd {
                fd: number as RawFd,
                events: sys::POLLIN,
                revents: if expected.contains(&number) {
                    sys::POLLIN
                } else {
                    0
                },
            };
            let entries: Vec<PollFd> = (0..count).map(entry).collect();
            let mut ready = Vec::new();
            collect(&entries, expected.len(), &mut ready);
            let found: Vec<usize> = ready.iter().map(|event| event.fd as usize).collect();
            assert_eq!(found, expected);
        }
    }
}
