//! The select(2) backend.
//!
//! Each `inline(always)` below is between the loop and the system call, after which every return
//! is mispredicted (mitigations). Without them, an event takes 73 instructions more (callgrind).

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::time::Duration;

use super::hangups::Hangups;
use super::pace::{self, Asks, Pace};
use super::{Deadline, Event, Interest, Poller, Readiness, check_number, index};
use crate::sys::fd::is_open;
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
    /// The numbers that were active since all were last asked, and in the period before that.
    /// Both are `room` words long and empty beyond `words`. A number that is no longer watched
    /// may remain in them, and is masked.
    active: [Vec<Word>; 2],
    /// The number of bits in either, or more.
    hot: usize,
    pace: Pace,
    /// The highest number that is known to have been open.
    known: RawFd,
    /// Numbers that were not open when they were first wanted.
    never_open: Vec<RawFd>,
    /// The descriptors that are watched only for hang-ups, and are in no set.
    hangups: Hangups,
}

/// The interests of the sets, in the order of select's arguments, which is that of the flags in
/// [`Interest`] and [`Readiness`].
const INTERESTS: [Interest; KINDS] = [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY];

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
            active: [vec![0], vec![0]],
            hot: 0,
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

    /// Returns the bits of a word in any of the wanted sets.
    fn watched(&self, word: usize) -> Word {
        let sets = self.wanted.chunks_exact(self.room);
        sets.fold(0, |bits, set| bits | set[word])
    }

    fn is_watched(&self, number: usize) -> bool {
        let word = number / BITS;
        word < self.words && self.watched(word) >> (number % BITS) & 1 != 0
    }

    /// Makes room for `words` words, and at least twice as many as before.
    fn grow(&mut self, words: usize) {
        let room = words.max(2 * self.room);
        let mut wanted = vec![0; KINDS * room];
        let sets = wanted.chunks_exact_mut(room);
        for (set, old) in sets.zip(self.wanted.chunks_exact(self.room)) {
            set[..self.room].copy_from_slice(old);
        }
        self.wanted = wanted;
        self.found = vec![0; KINDS * room];
        for set in &mut self.active {
            set.resize(room, 0);
        }
        self.room = room;
    }

    /// Drops the last words as long as they hold no watched number. Each set must be empty
    /// beyond `words`: a bit left there would be asked for later, when its number is closed,
    /// and select(2) would then fail with EBADF.
    fn shrink(&mut self) {
        while let Some(last) = self.words.checked_sub(1) {
            if self.watched(last) != 0 {
                break;
            }
            self.words = last;
            for set in self.found.chunks_exact_mut(self.room) {
                set[last] = 0;
            }
            let [recent, before] = &mut self.active;
            let active = mem::take(&mut recent[last]) | mem::take(&mut before[last]);
            self.hot -= active.count_ones() as usize;
        }
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

    /// Asks only the hot descriptors or all, without sleeping, and appends the ready ones to
    /// `ready`. Returns whether there are any.
    #[inline(always)]
    fn ask_now(&mut self, hot_alone: bool, ready: &mut Vec<Event>) -> io::Result<bool> {
        match self.select(hot_alone, Some(Duration::ZERO)) {
            Ok(0) => Ok(false),
            Ok(bits) => {
                self.report(bits, ready);
                Ok(true)
            }
            Err(error) => self.ask_failed(error, ready),
        }
    }

    #[cold]
    fn ask_failed(&self, error: io::Error, ready: &mut Vec<Event>) -> io::Result<bool> {
        match error.kind() {
            // Linux returns this if a signal is pending and nothing is ready.
            io::ErrorKind::Interrupted => Ok(false),
            _ => self.report_closed(error, ready),
        }
    }

    /// Asks only the hot descriptors or all until some are ready or the deadline has come, and
    /// appends the ready ones to `ready`. Returns whether there are any.
    fn ask(
        &mut self,
        hot_alone: bool,
        deadline: Deadline,
        ready: &mut Vec<Event>,
    ) -> io::Result<bool> {
        if deadline == Deadline::Now {
            return self.ask_now(hot_alone, ready);
        }
        loop {
            match self.select(hot_alone, deadline.timeout()) {
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
    fn select(&mut self, hot_alone: bool, timeout: Option<Duration>) -> io::Result<usize> {
        self.found.copy_from_slice(&self.wanted);
        let nfds = match hot_alone {
            true => leave_the_hot(&mut self.found, self.room, &self.active),
            false => self.nfds,
        };
        sys::select(nfds as RawFd, &mut self.found, self.given, timeout)
    }

    /// Reports the contents of `found`, in which `bits` are set.
    #[inline(always)]
    fn report(&mut self, bits: usize, ready: &mut Vec<Event>) {
        let known = ready.len();
        let read = &self.found[..self.words];
        match read.iter().position(|word| *word != 0) {
            // The usual case.
            Some(word) if bits == 1 => ready.push(Event {
                fd: number(word, read[word]),
                readiness: Readiness::READABLE,
            }),
            _ => report_all(split(&self.found, self.room), self.words, bits, ready),
        }
        if self.pace.tells_hot(self.count) {
            self.note_all_active(&ready[known..]);
        }
    }

    /// Counts ready descriptors as active.
    #[inline(never)]
    fn note_all_active(&mut self, ready: &[Event]) {
        for event in ready {
            self.note_active(event.fd as u32 as usize);
        }
    }

    /// Counts a number as active.
    fn note_active(&mut self, number: usize) {
        let (word, bit) = (number / BITS, 1 << (number % BITS));
        let [recent, before] = &mut self.active;
        self.hot += usize::from((recent[word] | before[word]) & bit == 0);
        recent[word] |= bit;
    }

    /// Handles EBADF: reports each watched number that is not open, if there still is one.
    /// select(2) does not name the number, and reports no other descriptor.
    #[cold]
    fn report_closed(&self, error: io::Error, ready: &mut Vec<Event>) -> io::Result<bool> {
        if error.raw_os_error() != Some(libc::EBADF) {
            return Err(error);
        }
        for word in 0..self.words {
            let mut watched = self.watched(word);
            while watched != 0 {
                let fd = (word * BITS + watched.trailing_zeros() as usize) as RawFd;
                watched &= watched - 1;
                if !is_open(fd) {
                    ready.push(closed(fd));
                }
            }
        }
        Ok(!ready.is_empty())
    }

    /// Checks whether a number is open when it is first wanted. Kernels skip numbers beyond the
    /// highest that the process ever had, and so never report them.
    fn look_at(&mut self, fd: RawFd) {
        if fd <= self.known {
            return;
        }
        if is_open(fd) {
            self.known = fd;
        } else {
            self.never_open.push(fd);
        }
    }

    /// Reports the numbers that were never open, for as long as they are watched.
    fn report_never_open(&mut self, ready: &mut Vec<Event>) {
        let mut never_open = mem::take(&mut self.never_open);
        never_open.retain(|fd| self.is_watched(*fd as u32 as usize) && !is_open(*fd));
        ready.extend(never_open.iter().copied().map(closed));
        self.never_open = never_open;
    }
}

/// Returns the three sets of `room` words each.
#[inline]
fn split(sets: &[Word], room: usize) -> [&[Word]; KINDS] {
    let (read, rest) = sets.split_at(room);
    let (write, except) = rest.split_at(room);
    [read, write, except]
}

/// Reports the first `words` words of each set, in which `left` bits are set.
#[inline(never)]
fn report_all(sets: [&[Word]; KINDS], words: usize, mut left: usize, ready: &mut Vec<Event>) {
    for word in 0..words {
        let [read, write, except] = sets.map(|set| set[word]);
        let mut any = read | write | except;
        while any != 0 {
            let bit = any.trailing_zeros();
            let flag = |set: Word| (set >> bit & 1) as u8;
            let flags = [flag(read), flag(write), flag(except)];
            ready.push(Event {
                fd: number(word, any),
                readiness: Readiness::from_bits_retain(flags[0] | flags[1] << 1 | flags[2] << 2),
            });
            any &= any - 1;
            left = left.saturating_sub(usize::from(flags[0] + flags[1] + flags[2]));
        }
        if left == 0 {
            return;
        }
    }
}

/// Returns the lowest number in a word that is not 0.
#[inline]
fn number(word: usize, bits: Word) -> RawFd {
    (word * BITS + bits.trailing_zeros() as usize) as RawFd
}

/// Removes all but the hot descriptors from the sets of `room` words each. Returns one more than
/// the highest of them.
fn leave_the_hot(sets: &mut [Word], room: usize, active: &[Vec<Word>; 2]) -> usize {
    let mut nfds = 0;
    for set in sets.chunks_exact_mut(room) {
        for (word, bits) in set.iter_mut().enumerate() {
            *bits &= active[0][word] | active[1][word];
            if *bits != 0 {
                nfds = nfds.max((word + 1) * BITS - bits.leading_zeros() as usize);
            }
        }
    }
    nfds
}

fn closed(fd: RawFd) -> Event {
    Event {
        fd,
        readiness: Readiness::INVALID,
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
        self.hot
    }

    fn all(&self) -> usize {
        self.count
    }

    fn ask_hot(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask(true, deadline, ready)
    }

    fn ask_all(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask(false, deadline, ready)
    }

    #[inline(always)]
    fn ask_all_now(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask_now(false, ready)
    }

    /// Removes those that were idle for two periods from the active ones.
    fn cool_down(&mut self) {
        self.active.swap(0, 1);
        self.active[0].fill(0);
        let active = self.active[1].iter();
        self.hot = active.map(|word| word.count_ones() as usize).sum();
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
                self.note_active(number);
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    /// No set has anything beyond `words`, and the counts are right.
    fn check_invariants(poller: &SelectPoller) {
        let sets = [&poller.wanted, &poller.found].map(|sets| split(sets, poller.room));
        let active: [&[Word]; 2] = [&poller.active[0], &poller.active[1]];
        for set in sets.iter().flatten().chain(&active) {
            assert_eq!(set.len(), poller.room);
            assert!(set[poller.words..].iter().all(|word| *word == 0));
        }
        let count = |set: &[Word]| {
            set.iter()
                .map(|word| word.count_ones() as usize)
                .sum::<usize>()
        };
        let hot: usize = (0..poller.words)
            .map(|word| (active[0][word] | active[1][word]).count_ones() as usize)
            .sum();
        assert!(poller.hot >= hot, "{} of {hot}", poller.hot);
        assert_eq!(poller.members, sets[0].map(count));
        let watched = |number: &usize| poller.is_watched(*number);
        let numbers: Vec<usize> = (0..poller.words * BITS).filter(watched).collect();
        assert_eq!(poller.count, numbers.len());
        assert_eq!(poller.nfds, numbers.last().map_or(0, |last| last + 1));
    }

    #[test]
    fn numbers_that_come_are_active_and_go_leave_nothing_behind() {
        let mut poller = SelectPoller::new();
        let mut seed = 1_u32;
        for _ in 0..5_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = (seed >> 8) as usize % 300;
            // Mostly empty, so that the highest words are empty at times.
            let wants = seed >> 24 & 15 == 0;
            let interest = Interest::from_bits_truncate(if wants { (seed >> 20) as u8 } else { 0 });
            poller.set(number as RawFd, interest).unwrap();
            check_invariants(&poller);
            match seed >> 29 {
                0..4 if number / BITS < poller.words => poller.note_active(number),
                4 => poller.cool_down(),
                _ => {}
            }
            check_invariants(&poller);
        }
    }

    #[test]
    fn an_active_number_that_went_is_asked_no_more() {
        let mut poller = SelectPoller::new();
        let mut ready = Vec::new();
        let (reader, _writer) = os_pipe::pipe().unwrap();
        poller.set(reader.as_raw_fd(), Interest::READABLE).unwrap();
        // In a word of its own, and not open.
        let highest = 10 * BITS;
        poller.set(highest as RawFd, Interest::READABLE).unwrap();
        poller.note_active(highest);
        poller.found.fill(Word::MAX);
        poller.set(highest as RawFd, Interest::empty()).unwrap();
        assert!(!poller.ask_hot(Deadline::Now, &mut ready).unwrap());
        assert_eq!(poller.hot, 0);
    }

    #[test]
    fn the_sets_shrink_when_the_highest_numbers_go() {
        let mut poller = SelectPoller::new();
        poller.set(3, Interest::READABLE).unwrap();
        poller.set(1_000, Interest::WRITABLE).unwrap();
        assert_eq!(poller.words, 1_000 / BITS + 1);
        poller.set(1_000, Interest::empty()).unwrap();
        assert_eq!(poller.words, 1);
        poller.set(3, Interest::empty()).unwrap();
        assert_eq!(poller.words, 0);
    }

    #[test]
    fn forgetting_an_unknown_number_is_no_error_and_a_negative_one_is() {
        let mut poller = SelectPoller::new();
        poller.set(70_000, Interest::empty()).unwrap();
        let error = poller.set(-1, Interest::READABLE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("-1"), "{error}");
    }
}
