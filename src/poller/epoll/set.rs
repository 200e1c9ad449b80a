//! The set in the kernel, and the numbers that cannot be in it.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::process;

use super::{EpollPoller, Place, flags_of, is_lost};
use crate::poller::Interest;
use crate::sys::epoll as sys;
use crate::sys::fd::is_open;

impl EpollPoller {
    /// Gives up a set that was inherited over a fork: it is the parent's.
    pub(super) fn leave_parents_set(&mut self) {
        if self.process != process::id() {
            self.set = None;
        }
    }

    /// Makes a new set of all descriptors. If that fails, the old one stays.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        let set = sys::Set::new()?;
        self.process = process::id();
        self.count = 0;
        self.always_ready.clear();
        for number in 0..self.table.len() {
            if matches!(self.table[number].place, Place::Set | Place::AlwaysReady) {
                self.enter(&set, number)?;
            }
        }
        self.set = Some(set);
        Ok(())
    }

    /// Adds a number of the table to `set`, or to the list of those that cannot be in it.
    fn enter(&mut self, set: &sys::Set, number: usize) -> io::Result<()> {
        self.generation = self.generation.wrapping_add(1);
        let entry = &mut self.table[number];
        entry.generation = self.generation;
        entry.told = entry.interest;
        let (fd, flags, data) = (number as RawFd, flags_of(entry.told), entry.data(number));
        let mut added = set.add(fd, flags, data);
        if matches!(&added, Err(error) if error.raw_os_error() == Some(libc::EEXIST)) {
            // The number was closed and forgotten, and refers to the same file again.
            added = set.modify(fd, flags, data);
        }
        entry.place = match added.as_ref().map_err(io::Error::raw_os_error) {
            Ok(()) => Place::Set,
            Err(Some(libc::EPERM)) => Place::AlwaysReady,
            Err(Some(libc::EBADF)) if !is_open(fd) => Place::Closed,
            Err(Some(libc::EBADF)) if set.is_open() => Place::Refused,
            Err(_) => return added,
        };
        match entry.place {
            Place::Set => self.count += 1,
            Place::AlwaysReady => self.always_ready.push(fd),
            Place::Unknown | Place::Closed | Place::Refused => self.lost.push(fd),
        }
        Ok(())
    }

    /// Adds a number that the poller does not know.
    pub(super) fn add(&mut self, number: usize, interest: Interest) -> io::Result<()> {
        self.leave_parents_set();
        let vacant = self.table[number];
        self.table[number].interest = interest;
        let added = match self.set.take() {
            Some(set) => {
                let added = self.enter(&set, number);
                self.set = Some(set);
                added
            }
            None => {
                self.table[number].place = Place::Set;
                self.renew()
            }
        };
        if added.is_err() {
            self.table[number] = vacant;
        }
        added
    }

    /// Forgets a number.
    pub(super) fn forget(&mut self, number: usize) {
        let Some(entry) = self.table.get_mut(number) else {
            return;
        };
        let fd = number as RawFd;
        match mem::replace(&mut entry.place, Place::Unknown) {
            Place::Unknown => {}
            Place::Set => {
                self.count -= 1;
                self.leave_parents_set();
                if let Some(set) = &self.set {
                    // An error means that the number is another file's or not open. If the old
                    // file is still in the set, its next event shows that.
                    let _ = set.remove(fd);
                }
            }
            Place::AlwaysReady => self.always_ready.retain(|other| *other != fd),
            Place::Closed | Place::Refused => self.lost.retain(|other| *other != fd),
        }
    }

    /// Moves a number to the lost ones.
    #[cold]
    pub(super) fn lose(&mut self, number: usize) {
        let fd = number as RawFd;
        match mem::replace(&mut self.table[number].place, Place::Closed) {
            Place::Set => self.count -= 1,
            Place::AlwaysReady => self.always_ready.retain(|other| *other != fd),
            Place::Unknown | Place::Closed | Place::Refused => return,
        }
        self.lost.push(fd);
    }

    /// Passes the interests that have changed to the kernel.
    #[inline(never)]
    pub(super) fn tell_changes(&mut self) -> io::Result<()> {
        self.leave_parents_set();
        while let Some(fd) = self.changed.pop() {
            let number = fd as usize;
            let entry = &mut self.table[number];
            entry.changed = false;
            let (told, interest) = (entry.told, entry.interest);
            let Some(set) = &self.set else {
                continue; // A new set is made with the current interests.
            };
            if entry.place != Place::Set || told == interest {
                continue;
            }
            entry.told = interest;
            match set.modify(fd, flags_of(interest), entry.data(number)) {
                Ok(()) => {}
                Err(error) if is_lost(&error) => self.lose(number),
                Err(error) => {
                    entry.told = told;
                    entry.changed = true;
                    self.changed.push(fd);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
