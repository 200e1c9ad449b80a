//! The select(2) backend.
//!
//! Each `inline(always)` in this module is between the loop and the system call, after which every
//! return is mispredicted (mitigations). Without them, an event takes 73 instructions more
//! (callgrind).

mod active;
mod report;
mod sets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::time::Duration;

use active::Active;
use sets::{INTERESTS, leave_the_hot, leave_the_part};

use super::hangups::Hangups;
use super::pace::{self, Asks, Pace, Part};
use super::{Deadline, Event, Interest, Poller, check_number, index};
use crate::sys::select::{self as sys, KINDS, Word};

const BITS: usize = Word::BITS as usize;

/// A [`Poller`] over select(2).
///
/// The three sets are kept from wait to wait and copied for each call, since the call
/// overwrites them. They grow with the highest descriptor number, past `FD_SETSIZE` where the
/// platform allows that: on Linux, the BSDs and Apple systems. On illumos and Solaris
/// [`set`](Poller::set) refuses higher numbers and names the limit. Timeouts are rounded up to
/// a microsecond.
///
/// select(2) has no set for [`Interest::HANGUP`]. Descriptors with that interest are in no set,
/// and poll(2) is called for all of them once a second. As long as there are any, a wait takes
/// at most a second.
///
/// Under load it asks in the way that [`PollPoller`](crate::PollPoller#pace) describes.
pub struct SelectPoller {
    /// The wanted sets: three in a row, each `room` words long and empty beyond its first
    /// `words`.
    wanted: Vec<Word>,
    /// The sets that the system call gets and overwrites, with the same layout. A set without
    /// members is not passed to it, and is empty.
    found: Vec<Word>,
    /// At least 1.
    room: usize,
    /// The length in words up to the last one with a bit in any wanted set.
    words: usize,
    /// One more than the highest number in any wanted set.
    nfds: usize,
    /// The number of descriptors in any of the sets.
    count: usize,
    /// The number of descriptors in each set, and whether there are any.
    members: [usize; KINDS],
    given: [bool; KINDS],
    /// The numbers that were active lately, in sets that are empty beyond `words`. Those that are
    /// not watched any more are masked.
    active: Active,
    pace: Pace,
    /// The highest number that is known to have been open.
    known: RawFd,
    /// Numbers that were not open when they were first wanted.
    never_open: Vec<RawFd>,
    /// The descriptors that are watched only for hang-ups, and are in no set.
    hangups: Hangups,
}

impl Default for SelectPoller {
    fn default() -> Self {
        Self::new()
    }
}

impl SelectPoller {
    /// Makes a poller that watches nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            wanted: vec![0; KINDS],
            found: vec![0; KINDS],
            room: 1,
            words: 0,
            nfds: 0,
            count: 0,
            members: [0; KINDS],
            given: [false; KINDS],
            active: Active::new(1),
            pace: Pace::new(),
            known: -1,
            never_open: Vec::new(),
            hangups: Hangups::default(),
        }
    }

    /// Sets whether to adapt to the load; on unless set. Off, every wait is one call for all
    /// descriptors that may block.
    pub fn set_adaptive(&mut self, adaptive: bool) {
        self.pace.set_adaptive(adaptive);
    }

    /// Waits for the descriptors that are in the sets, and for those that are in none.
    #[inline(never)]
    fn wait_apart(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        if !self.never_open.is_empty() {
            self.report_never_open(ready);
            if !ready.is_empty() {
                return Ok(());
            }
        }
        while !self.hangups.is_empty() {
            let next = self.hangups.ask_if_due(ready)?;
            let until = if ready.is_empty() {
                deadline.or_at(next)
            } else {
                Deadline::Now
            };
            pace::wait(self, until, ready)?;
            if !ready.is_empty() || deadline.has_passed() {
                return Ok(());
            }
        }
        pace::wait(self, deadline, ready)
    }

    /// Asks some descriptors without sleeping, and appends the ready ones to
    /// `ready`. Returns whether there are any.
    #[inline(always)]
    fn ask_now(&mut self, which: Which, ready: &mut Vec<Event>) -> io::Result<bool> {
        match self.select(&which, Some(Duration::ZERO)) {
            Ok(0) => Ok(false),
            Ok(bits) => {
                self.report(bits, ready);
                Ok(true)
            }
            Err(error) => self.ask_failed(error, ready),
        }
    }

    #[cold]
    fn ask_failed(&mut self, error: io::Error, ready: &mut Vec<Event>) -> io::Result<bool> {
        match error.kind() {
            // Linux returns this if a signal is pending and nothing is ready.
            io::ErrorKind::Interrupted => Ok(false),
            _ => self.report_closed(error, ready),
        }
    }

    /// Asks some descriptors until some of them are ready or the deadline has come, and
    /// appends the ready ones to `ready`. Returns whether there are any.
    #[inline(never)]
    fn ask(
        &mut self,
        which: Which,
        deadline: Deadline,
        ready: &mut Vec<Event>,
    ) -> io::Result<bool> {
        if deadline == Deadline::Now {
            return self.ask_now(which, ready);
        }
        loop {
            match self.select(&which, deadline.timeout()) {
                // The timeout was clamped, and the deadline has not come yet.
                Ok(0) if !deadline.has_passed() => {}
                Ok(bits) => {
                    self.report(bits, ready);
                    return Ok(bits > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // If all numbers are open, one was reused in between: ask again. (No system is
                    // known to fail so for an open number.)
                    if self.report_closed(error, ready)? {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Calls select(2) once, and leaves the result in `found`.
    #[inline(always)]
    fn select(&mut self, which: &Which, timeout: Option<Duration>) -> io::Result<usize> {
        self.found.copy_from_slice(&self.wanted);
        let nfds = match which {
            Which::All => self.nfds,
            Which::Hot => leave_the_hot(&mut self.found, self.room, self.active.hot()),
            Which::Part(words) => {
                leave_the_part(&mut self.found, self.room, self.active.hot(), words);
                self.nfds
            }
        };
        sys::select(nfds as RawFd, &mut self.found, self.given, timeout)
    }
}

impl fmt::Debug for SelectPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fds = (0..self.words * BITS).filter(|fd| self.is_watched(*fd));
        f.write_str("SelectPoller ")?;
        f.debug_set()
            .entries(fds)
            .entries(self.hangups.numbers())
            .finish()
    }
}

/// The descriptors that a call asks.
enum Which {
    All,
    Hot,
    /// The hot ones, and those whose numbers are in these words of the sets.
    Part(Range<usize>),
}

/// Refuses a number that select can never take on this platform.
#[cfg(not(select_grows))]
fn check_limit(fd: RawFd) -> io::Result<()> {
    if fd < sys::LIMIT {
        return Ok(());
    }
    let limit = sys::LIMIT;
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "fd {fd} is beyond what select(2) takes here, which is numbers below {limit} \
             (FD_SETSIZE): use Backend::Poll"
        ),
    ))
}

impl Asks for SelectPoller {
    fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    fn hot(&self) -> usize {
        self.active.count()
    }

    fn all(&self) -> usize {
        self.count
    }

    fn ask_hot(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask(Which::Hot, deadline, ready)
    }

    #[inline(always)]
    fn ask_hot_now(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask_now(Which::Hot, ready)
    }

    fn ask_all(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask(Which::All, deadline, ready)
    }

    #[inline(always)]
    fn ask_all_now(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask_now(Which::All, ready)
    }

    fn places(&self) -> usize {
        self.words
    }

    fn part_before(&self, end: usize, size: usize) -> Part {
        let (mut begin, mut count) = (end.min(self.words), 0);
        let end = begin;
        while begin > 0 {
            let word = self.watched(begin - 1).count_ones() as usize;
            if count >= size && word > 0 {
                break;
            }
            count += word;
            begin -= 1;
        }
        Part {
            places: begin..end,
            size: count,
        }
    }

    fn ask_part(&mut self, part: &Part, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask_now(Which::Part(part.places.clone()), ready)
    }

    fn cool_down(&mut self) {
        self.active.begin_period();
    }
}

impl Poller for SelectPoller {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let number = index(fd)?;
        #[cfg(not(select_grows))]
        check_limit(fd)?;
        let was_watched = self.is_watched(number);
        if !was_watched && !interest.is_empty() {
            check_number(fd)?;
        }
        let for_hangups = interest == Interest::HANGUP;
        self.hangups.set(fd, number, for_hangups);
        let interest = if for_hangups {
            Interest::empty()
        } else {
            interest
        };
        let (word, bit) = (number / BITS, 1 << (number % BITS));
        if self.words <= word {
            if interest.is_empty() {
                return Ok(());
            }
            if self.room <= word {
                self.grow(word + 1);
            }
            self.words = word + 1;
        }
        self.count -= usize::from(was_watched);
        let sets = self.wanted.chunks_exact_mut(self.room);
        let found = self.found.chunks_exact_mut(self.room);
        for (((set, found), members), kind) in sets.zip(found).zip(&mut self.members).zip(INTERESTS)
        {
            let was = set[word] & bit != 0;
            *members -= usize::from(was);
            if interest.contains(kind) {
                set[word] |= bit;
                *members += 1;
            } else {
                set[word] &= !bit;
                if was && *members == 0 {
                    found.fill(0);
                }
            }
        }
        self.given = self.members.map(|members| members > 0);
        if interest.is_empty() {
            self.shrink();
        } else {
            self.count += 1;
            self.look_at(fd);
            if self.pace.tells_hot(self.count) {
                // It was not asked yet, or not for this interest.
                self.active.note(number);
            }
        }
        self.nfds = match self.words.checked_sub(1) {
            Some(last) => self.words * BITS - self.watched(last).leading_zeros() as usize,
            None => 0,
        };
        Ok(())
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        if self.never_open.is_empty() && self.hangups.is_empty() {
            return pace::wait(self, deadline, ready);
        }
        self.wait_apart(deadline, ready)
    }
}
