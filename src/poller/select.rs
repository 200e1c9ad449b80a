//! The select(2) backend.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::RawFd;

use super::pace::Pace;
use super::{Deadline, Event, Interest, Poller, Readiness, index};
use crate::sys::fd::is_open;
use crate::sys::select::{self as sys, Sets, Word};

const BITS: usize = Word::BITS as usize;

/// A [`Poller`] over select(2).
///
/// The three sets are kept from wait to wait and copied for each call, since the
/// call overwrites them. They grow with the highest descriptor number, past
/// `FD_SETSIZE` where the platform allows that: on Linux, the BSDs and Apple
/// systems. Elsewhere (illumos, Solaris) [`set`](Poller::set) refuses higher
/// numbers and names the limit. Timeouts are rounded up to a microsecond.
///
/// Under load it adapts how it asks: see [`PollPoller`](crate::PollPoller#pace),
/// which does the same.
pub struct SelectPoller {
    /// What is wanted: the sets of each interest, all of one length, with no
    /// word beyond the last one that has a bit in any of them.
    wanted: [Vec<Word>; KINDS],
    /// How many descriptors are in any of these.
    count: usize,
    /// How many descriptors are in each.
    members: [usize; KINDS],
    /// One past the highest number in any.
    nfds: usize,
    /// What the system call is given and overwrites; as long as `wanted`. A set
    /// without members is not given to it, and is empty.
    found: [Vec<Word>; KINDS],
    /// The descriptors that were active since all were last asked, and in the time
    /// before that. Both at least as long as `wanted`.
    active: [Vec<Word>; 2],
    /// How many are in either, or more.
    hot: usize,
    pace: Pace,
    /// The highest number that is known to have been open.
    known: RawFd,
    /// Numbers that were not open when they were first wanted.
    never_open: Vec<RawFd>,
}

/// The sets, in the order of select's arguments.
const KINDS: usize = 3;
const INTERESTS: [Interest; KINDS] = [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY];
const READINESS: [Readiness; KINDS] = [
    Readiness::READABLE,
    Readiness::WRITABLE,
    Readiness::PRIORITY,
];

impl Default for SelectPoller {
    fn default() -> Self {
        Self::new()
    }
}

impl SelectPoller {
    /// A poller that knows no descriptor.
    #[must_use]
    pub fn new() -> Self {
        Self {
            wanted: Default::default(),
            count: 0,
            members: [0; KINDS],
            nfds: 0,
            found: Default::default(),
            active: Default::default(),
            hot: 0,
            pace: Pace::new(),
            known: -1,
            never_open: Vec::new(),
        }
    }

    /// Whether to adapt to the load, as it does unless told otherwise; if not,
    /// every wait is one call, over all descriptors, that may block.
    pub fn set_adaptive(&mut self, adaptive: bool) {
        self.pace.set_adaptive(adaptive);
    }

    fn words(&self) -> usize {
        self.wanted[0].len()
    }

    /// The bits of word `index` in any of the wanted sets.
    fn watched(&self, index: usize) -> Word {
        self.wanted.iter().fold(0, |bits, set| bits | set[index])
    }

    fn is_watched(&self, number: usize) -> bool {
        let word = number / BITS;
        word < self.words() && self.watched(word) >> (number % BITS) & 1 != 0
    }

    fn resize(&mut self, words: usize) {
        for set in self.wanted.iter_mut().chain(&mut self.found) {
            set.resize(words, 0);
        }
        for set in &mut self.active {
            set.resize(set.len().max(words), 0);
        }
    }

    /// Asks the hot descriptors alone, or all; the answer is how many bits were
    /// found. What is ready is appended to `ready`.
    fn ask(
        &mut self,
        hot_alone: bool,
        deadline: Deadline,
        ready: &mut Vec<Event>,
    ) -> io::Result<usize> {
        loop {
            match self.select(hot_alone, deadline) {
                // The wait was clamped: the deadline is still to come.
                Ok(0) if !deadline.has_passed() => {}
                Ok(bits) => {
                    self.report(bits, ready);
                    return Ok(bits);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                    self.report_closed(ready);
                    // None: the number was reused in between. Ask again.
                    if !ready.is_empty() {
                        return Ok(ready.len());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One select(2); leaves what it found in `found`.
    fn select(&mut self, hot_alone: bool, deadline: Deadline) -> io::Result<usize> {
        for (found, wanted) in self.found.iter_mut().zip(&self.wanted) {
            found.copy_from_slice(wanted);
        }
        let nfds = if hot_alone {
            self.leave_the_hot()
        } else {
            self.nfds
        };
        // What nobody waits for need not be looked at.
        let [read, write, except] = &mut self.found;
        let [reads, writes, excepts] = self.members.map(|members| members > 0);
        let sets = Sets {
            read: reads.then_some(read),
            write: writes.then_some(write),
            except: excepts.then_some(except),
        };
        sys::select(nfds as RawFd, sets, deadline.timeout())
    }

    /// Takes all but the hot descriptors out of `found`. The answer is one past the
    /// highest of them.
    fn leave_the_hot(&mut self) -> usize {
        let mut nfds = 0;
        for word in 0..self.words() {
            let hot = self.active[0][word] | self.active[1][word];
            let mut any = 0;
            for set in &mut self.found {
                set[word] &= hot;
                any |= set[word];
            }
            if any != 0 {
                nfds = (word + 1) * BITS - any.leading_zeros() as usize;
            }
        }
        nfds
    }

    /// Reports what is in `found`, stopping when all `bits` set bits were seen.
    fn report(&mut self, mut bits: usize, ready: &mut Vec<Event>) {
        let tells_hot = self.pace.tells_hot(self.count);
        for word in 0..self.words() {
            if bits == 0 {
                break;
            }
            let [read, write, except] = &self.found;
            let found = [read[word], write[word], except[word]];
            let mut any = found[0] | found[1] | found[2];
            if tells_hot {
                let fresh = any & !(self.active[0][word] | self.active[1][word]);
                self.hot += fresh.count_ones() as usize;
                self.active[0][word] |= any;
            }
            while any != 0 {
                let bit = any.trailing_zeros() as usize;
                any &= any - 1;
                let mut readiness = Readiness::empty();
                for (found, kind) in found.iter().zip(READINESS) {
                    if found >> bit & 1 != 0 {
                        readiness |= kind;
                        bits = bits.saturating_sub(1);
                    }
                }
                let fd = (word * BITS + bit) as RawFd;
                ready.push(Event { fd, readiness });
            }
        }
    }

    /// Before asking all: what was active before the last time no longer counts.
    fn cool_down(&mut self) {
        if self.hot == 0 {
            return;
        }
        self.active.swap(0, 1);
        self.active[0].fill(0);
        let active = self.active[1].iter();
        self.hot = active.map(|word| word.count_ones() as usize).sum();
    }

    /// After EBADF: reports each watched number that is not open. select says
    /// only that there is one, and looks at no other descriptor.
    fn report_closed(&self, ready: &mut Vec<Event>) {
        for word in 0..self.words() {
            let mut watched = self.watched(word);
            while watched != 0 {
                let fd = (word * BITS + watched.trailing_zeros() as usize) as RawFd;
                watched &= watched - 1;
                if !is_open(fd) {
                    ready.push(closed(fd));
                }
            }
        }
    }

    /// Looks whether a number that is wanted for the first time is open. Kernels
    /// pass over numbers beyond any that the process ever had, and so would never
    /// say.
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
        never_open.retain(|fd| self.is_watched(fd.cast_unsigned() as usize) && !is_open(*fd));
        ready.extend(never_open.iter().copied().map(closed));
        self.never_open = never_open;
    }
}

fn closed(fd: RawFd) -> Event {
    Event {
        fd,
        readiness: Readiness::INVALID,
    }
}

impl fmt::Debug for SelectPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fds = (0..self.words() * BITS).filter(|fd| self.is_watched(*fd));
        f.write_str("SelectPoller ")?;
        f.debug_set().entries(fds).finish()
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

impl Poller for SelectPoller {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let number = index(fd)?;
        #[cfg(not(select_grows))]
        check_limit(fd)?;
        let (word, bit) = (number / BITS, 1 << (number % BITS));
        if self.words() <= word {
            if interest.is_empty() {
                return Ok(());
            }
            self.resize(word + 1);
        }
        self.count -= usize::from(self.is_watched(number));
        for ((set, members), kind) in self.wanted.iter_mut().zip(&mut self.members).zip(INTERESTS) {
            *members -= usize::from(set[word] & bit != 0);
            if interest.contains(kind) {
                set[word] |= bit;
                *members += 1;
            } else {
                set[word] &= !bit;
            }
        }
        if interest.is_empty() {
            // Words that hold nothing any more would be copied and scanned for ever.
            let mut words = self.words();
            while words > 0 && self.watched(words - 1) == 0 {
                words -= 1;
            }
            self.resize(words);
        } else {
            self.count += 1;
            self.look_at(fd);
        }
        let words = self.words();
        let top = words.checked_sub(1).map_or(0, |last| self.watched(last));
        self.nfds = words * BITS
            - if words > 0 {
                top.leading_zeros() as usize
            } else {
                0
            };
        Ok(())
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        if !self.never_open.is_empty() {
            self.report_never_open(ready);
            if !ready.is_empty() {
                return Ok(());
            }
        }
        if deadline == Deadline::Now {
            return self.ask(false, deadline, ready).map(drop);
        }
        if self.hot > 0 && self.pace.try_hot(self.hot, self.count) {
            let found = self.ask(true, Deadline::Now, ready)? > 0;
            self.pace.hot_found(found);
            if found {
                return Ok(());
            }
        }
        self.cool_down();
        if self.pace.try_probe() {
            let found = self.ask(false, Deadline::Now, ready)? > 0;
            self.pace.probe_found(found, self.count);
            if found {
                return Ok(());
            }
        }
        let found = self.ask(false, deadline, ready)? > 0;
        self.pace.block_found(found, self.count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_shrink_when_the_highest_numbers_go() {
        let mut poller = SelectPoller::new();
        poller.set(3, Interest::READABLE).unwrap();
        poller.set(1_000, Interest::WRITABLE).unwrap();
        assert_eq!(poller.words(), 1_000 / BITS + 1);
        poller.set(1_000, Interest::empty()).unwrap();
        assert_eq!(poller.words(), 1);
        poller.set(3, Interest::empty()).unwrap();
        assert_eq!(poller.words(), 0);
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
