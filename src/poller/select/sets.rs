//! The bit sets of the system call.

use std::ops::Range;
use std::os::fd::RawFd;

use super::{BITS, SelectPoller};
use crate::poller::{Event, Interest};
use crate::sys::select::{KINDS, Word};

/// The interests of the sets, in the order of select's arguments, which is that of the flags in
/// [`Interest`] and [`Readiness`](crate::Readiness).
pub(super) const INTERESTS: [Interest; KINDS] =
    [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY];

impl SelectPoller {
    /// Returns the bits of a word in any of the wanted sets.
    #[inline]
    pub(super) fn watched(&self, word: usize) -> Word {
        let sets = self.wanted.chunks_exact(self.room);
        sets.fold(0, |bits, set| bits | set[word])
    }

    #[inline]
    pub(super) fn is_watched(&self, number: usize) -> bool {
        let word = number / BITS;
        word < self.words && self.watched(word) >> (number % BITS) & 1 != 0
    }

    /// Makes room for `words` words, and at least twice as many as before.
    pub(super) fn grow(&mut self, words: usize) {
        let room = words.max(2 * self.room);
        let mut wanted = vec![0; KINDS * room];
        let sets = wanted.chunks_exact_mut(room);
        for (set, old) in sets.zip(self.wanted.chunks_exact(self.room)) {
            set[..self.room].copy_from_slice(old);
        }
        self.wanted = wanted;
        self.found = vec![0; KINDS * room];
        self.active.grow(room);
        self.room = room;
    }

    /// Drops the last words as long as they hold no watched number. Each set must be empty
    /// beyond `words`: a bit left there would be asked for later, when its number is closed,
    /// and select(2) would then fail with EBADF.
    pub(super) fn shrink(&mut self) {
        while let Some(last) = self.words.checked_sub(1) {
            if self.watched(last) != 0 {
                break;
            }
            self.words = last;
            for set in self.found.chunks_exact_mut(self.room) {
                set[last] = 0;
            }
            self.active.clear(last);
        }
    }

    /// Counts ready descriptors as active.
    #[inline(never)]
    pub(super) fn note_all_active(&mut self, ready: &[Event]) {
        for event in ready {
            self.active.note(event.fd as u32 as usize);
        }
    }
}

/// Returns the three sets of `room` words each.
#[inline]
pub(super) fn split(sets: &[Word], room: usize) -> [&[Word]; KINDS] {
    let (read, rest) = sets.split_at(room);
    let (write, except) = rest.split_at(room);
    [read, write, except]
}

/// Returns the lowest number in a word that is not 0.
#[inline]
pub(super) fn number(word: usize, bits: Word) -> RawFd {
    (word * BITS + bits.trailing_zeros() as usize) as RawFd
}

/// Removes all but the hot descriptors from the sets of `room` words each. Returns one more than
/// the highest of them.
#[inline]
pub(super) fn leave_the_hot(sets: &mut [Word], room: usize, hot: &[Word]) -> usize {
    let mut nfds = 0;
    for set in sets.chunks_exact_mut(room) {
        for (word, bits) in set.iter_mut().enumerate() {
            *bits &= hot[word];
            if *bits != 0 {
                nfds = nfds.max((word + 1) * BITS - bits.leading_zeros() as usize);
            }
        }
    }
    nfds
}

/// Removes all but the hot descriptors and those in `words` from the sets of `room` words each.
pub(super) fn leave_the_part(sets: &mut [Word], room: usize, hot: &[Word], words: &Range<usize>) {
    for set in sets.chunks_exact_mut(room) {
        for word in (0..words.start).chain(words.end..room) {
            set[word] &= hot[word];
        }
    }
}
