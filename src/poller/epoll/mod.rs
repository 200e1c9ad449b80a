//! The epoll(7) backend.

mod checks;
mod set;
#[cfg(test)]
mod tests;
mod wait;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::process;
use std::time::Duration;

use checks::Checks;

use super::bits::events_of;
use super::{Deadline, Event, Interest, Poller, check_number, index};
use crate::sys::epoll as sys;

/// A [`Poller`] over epoll(7), on Linux, Android and illumos. Needs the feature `epoll`.
///
/// The kernel keeps the set of descriptors, so that a wait costs time proportional to those that
/// are ready. Adding and removing a descriptor each take a system call. A changed interest takes
/// one before the next wait, and none if it has changed back by then.
///
/// The poller takes every kind of descriptor. epoll(7) refuses regular files, directories and
/// devices such as `/dev/null`; these are reported as always ready, as poll(2) reports them. While
/// there is an interest in one, no wait blocks.
///
/// Timeouts are exact to the nanosecond on Linux 5.11 and later, and rounded up to a millisecond
/// elsewhere.
///
/// # Descriptors that other code closes
///
/// poll(2) looks numbers up in each call. epoll(7) keeps open files: the file that had the number
/// when it was added. If other code closes a number that the poller knows, the two differ:
///
/// - If no duplicate of the descriptor exists, in this process or another, the kernel removes it
///   from the set without reporting that.
/// - If one does, the kernel goes on reporting events of the file.
///
/// The poller therefore checks its descriptors, and reports a number that is closed, or is another
/// file's by now, as [`Readiness::INVALID`](crate::Readiness::INVALID). (poll(2) and select(2) cannot detect the second case.)
/// All are checked within 100 milliseconds after a wait that returned, or over a longer time if
/// checking would take more than a fiftieth of it: with 100,000 descriptors, about two seconds. A
/// loop that has nothing to do wakes for this, and once all are checked, sleeps until its deadline.
///
/// An event is never reported for a number that was forgotten and added again since: each addition
/// has a generation, which its events carry. An event of an earlier one shows that its file is
/// still in the set and cannot be removed from it. The poller then makes a new set.
///
/// Until a check has found it, events of a file whose number was closed or reused are reported for
/// that number. Two cases cannot be detected at all:
///
/// - the number was closed, and refers to the same open file again;
/// - a file that is always ready was replaced by another such file.
///
/// A program that puts another file under a number on purpose, with `dup2`, calls
/// [`EventLoop::descriptor_replaced`](crate::EventLoop::descriptor_replaced).
///
/// # Fork
///
/// A child process shares its parent's set. Nothing that the child does with the poller changes
/// that set. [`EventLoop::after_fork`](crate::EventLoop::after_fork) makes a set of the child's
/// own.
pub struct EpollPoller {
    /// `None` if a new one must be made before the next wait.
    set: Option<sys::Set>,
    /// The process that made the set.
    process: u32,
    /// The entries by number.
    table: Vec<Entry>,
    /// The number of descriptors in the set.
    count: usize,
    /// Numbers whose interest has changed since the last wait, or has changed back.
    changed: Vec<RawFd>,
    /// The numbers in each place but the set.
    always_ready: Vec<RawFd>,
    lost: Vec<RawFd>,
    /// Counts additions.
    generation: u32,
    /// The events of the last wait.
    found: Vec<sys::Event>,
    checks: Checks,
}

/// A number.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Distinguishes successive additions of the same number.
    generation: u32,
    interest: Interest,
    /// The interest that the kernel has.
    told: Interest,
    place: Place,
    /// True if the number is in `EpollPoller::changed`.
    changed: bool,
}

/// The place where the poller has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In none of the others.
    Unknown,
    /// In the kernel's set.
    Set,
    /// Among the files that are always ready, which epoll(7) refuses.
    AlwaysReady,
    /// Among the lost ones: the number is closed, or is another file's.
    Closed,
    /// Among the lost ones: the number is an `O_PATH` descriptor.
    Refused,
}

impl Entry {
    const VACANT: Self = Self {
        generation: 0,
        interest: Interest::empty(),
        told: Interest::empty(),
        place: Place::Unknown,
        changed: false,
    };

    /// The data that the events of `number` carry.
    fn data(&self, number: usize) -> u64 {
        u64::from(self.generation) << 32 | number as u64
    }
}

/// Returns the flags of an interest as the system call takes them.
fn flags_of(interest: Interest) -> u32 {
    events_of(interest) as u32
}

/// Checks whether a call failed since the number does not refer to the file in the set.
fn is_lost(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOENT))
}

impl Default for EpollPoller {
    fn default() -> Self {
        Self::new()
    }
}

impl EpollPoller {
    /// Makes a poller that watches nothing. If the epoll descriptor cannot be made now, the poller
    /// tries again when it needs one, and [`set`](Poller::set) returns the error.
    #[must_use]
    pub fn new() -> Self {
        Self {
            set: sys::Set::new().ok(),
            process: process::id(),
            table: Vec::new(),
            count: 0,
            changed: Vec::new(),
            always_ready: Vec::new(),
            lost: Vec::new(),
            generation: 0,
            found: Vec::new(),
            checks: Checks::new(),
        }
    }

    fn place(&self, number: usize) -> Place {
        let entry = self.table.get(number);
        entry.map_or(Place::Unknown, |entry| entry.place)
    }
}

impl fmt::Debug for EpollPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |number: &usize| self.place(*number) != Place::Unknown;
        f.write_str("EpollPoller ")?;
        f.debug_set()
            .entries((0..self.table.len()).filter(known))
            .finish()
    }
}

impl Poller for EpollPoller {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let number = index(fd)?;
        if interest.is_empty() {
            self.forget(number);
            return Ok(());
        }
        if self.place(number) == Place::Unknown {
            check_number(fd)?;
            if self.table.len() <= number {
                self.table.resize(number + 1, Entry::VACANT);
            }
            return self.add(number, interest);
        }
        let entry = &mut self.table[number];
        entry.interest = interest;
        if !entry.changed && entry.told != interest {
            entry.changed = true;
            self.changed.push(fd);
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        if !self.changed.is_empty() {
            self.tell_changes()?;
        }
        self.checks.begin_wait(self.table.len());
        loop {
            if !self.always_ready.is_empty() || !self.lost.is_empty() {
                self.report_apart(ready);
            }
            let timeout = if ready.is_empty() {
                self.checks.clamp(deadline.timeout())
            } else {
                Some(Duration::ZERO)
            };
            self.ask(timeout, ready)?;
            let busy = !ready.is_empty();
            if self.checks.is_due(busy) {
                self.check_some(busy);
            }
            if busy || deadline.has_passed() {
                return Ok(());
            }
        }
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.set = None;
        self.renew()
    }
}
