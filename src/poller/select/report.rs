//! The results of the system call, and the numbers that are not open.

use std::io;
use std::mem;
use std::os::fd::RawFd;

use super::sets::{number, split};
use super::{BITS, SelectPoller};
use crate::poller::{Event, Readiness};
use crate::sys::fd::is_open;
use crate::sys::select::{KINDS, Word};

impl SelectPoller {
    /// Reports the contents of `found`, in which `bits` are set.
    #[inline(always)]
    pub(super) fn report(&mut self, bits: usize, ready: &mut Vec<Event>) {
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

    /// Handles EBADF: reports each watched number that is not open, if there still is one.
    /// select(2) does not name the number, and reports no other descriptor. They count as active, so
    /// that each wait reports them until they are forgotten.
    #[cold]
    pub(super) fn report_closed(
        &mut self,
        error: io::Error,
        ready: &mut Vec<Event>,
    ) -> io::Result<bool> {
        if error.raw_os_error() != Some(libc::EBADF) {
            return Err(error);
        }
        let known = ready.len();
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
        if self.pace.tells_hot(self.count) {
            self.note_all_active(&ready[known..]);
        }
        Ok(ready.len() > known)
    }

    /// Checks whether a number is open when it is first wanted. Kernels skip numbers beyond the
    /// highest that the process ever had, and so never report them.
    pub(super) fn look_at(&mut self, fd: RawFd) {
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
    pub(super) fn report_never_open(&mut self, ready: &mut Vec<Event>) {
        let mut never_open = mem::take(&mut self.never_open);
        never_open.retain(|fd| self.is_watched(*fd as u32 as usize) && !is_open(*fd));
        ready.extend(never_open.iter().copied().map(closed));
        self.never_open = never_open;
    }
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

fn closed(fd: RawFd) -> Event {
    Event {
        fd,
        readiness: Readiness::INVALID,
    }
}
