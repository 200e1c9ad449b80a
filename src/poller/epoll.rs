//! The epoll(7) backend.

use std::ffi::c_short;
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::process;
use std::time::Duration;

use super::bits::{events_of, readiness};
use super::checks::Checks;
use super::{Deadline, Event, Interest, Poller, Readiness, check_number, index};
use crate::sys::epoll as sys;
use crate::sys::fd::is_open;

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
/// file's by now, as [`Readiness::INVALID`]. (poll(2) and select(2) cannot detect the second case.)
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

    // --- the set ------------------------------------------------------------------

    /// Gives up a set that was inherited over a fork: it is the parent's.
    fn leave_parents_set(&mut self) {
        if self.process != process::id() {
            self.set = None;
        }
    }

    /// Makes a new set of all descriptors. If that fails, the old one stays.
    fn renew(&mut self) -> io::Result<()> {
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
    fn add(&mut self, number: usize, interest: Interest) -> io::Result<()> {
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
    fn forget(&mut self, number: usize) {
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
    fn lose(&mut self, number: usize) {
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
    fn tell_changes(&mut self) -> io::Result<()> {
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

    // --- the wait -----------------------------------------------------------------

    /// Reports the events that are known without a system call: of files that are always ready, and
    /// of lost numbers.
    #[inline(never)]
    fn report_apart(&self, ready: &mut Vec<Event>) {
        for &fd in &self.always_ready {
            let both = events_of(Interest::READABLE | Interest::WRITABLE);
            let wanted = events_of(self.table[fd as usize].interest);
            if wanted & both != 0 {
                let readiness = readiness(wanted, wanted & both);
                ready.push(Event { fd, readiness });
            }
        }
        for &fd in &self.lost {
            let readiness = match self.place(fd as usize) {
                Place::Refused => Readiness::REFUSED,
                _ => Readiness::INVALID,
            };
            ready.push(Event { fd, readiness });
        }
    }

    /// Asks the kernel, and appends the events to `ready`.
    #[inline]
    fn ask(&mut self, timeout: Option<Duration>, ready: &mut Vec<Event>) -> io::Result<()> {
        if self.set.is_none() {
            self.renew()?;
        }
        let Some(set) = &mut self.set else {
            return Ok(());
        };
        if let Err(error) = set.wait(&mut self.found, self.count.max(1), timeout) {
            return self.wait_failed(error);
        }
        if !self.report(ready) {
            self.leave_orphans();
        }
        Ok(())
    }

    /// Reports the events of the last wait. Returns false if one of them belongs to no descriptor
    /// that the poller knows.
    #[inline]
    fn report(&self, ready: &mut Vec<Event>) -> bool {
        let mut known = true;
        for event in &self.found {
            let (found, data) = (event.events, event.u64);
            let number = data as u32 as usize;
            let entry = self.table.get(number).unwrap_or(&Entry::VACANT);
            if entry.place != Place::Set || entry.data(number) != data {
                known = false;
                continue;
            }
            let readiness = if found == flags_of(Interest::READABLE) {
                Readiness::READABLE
            } else {
                readiness(events_of(entry.told), found as c_short)
            };
            if !readiness.is_empty() {
                let fd = number as RawFd;
                ready.push(Event { fd, readiness });
            }
        }
        known
    }

    /// Leaves a set in which there is a file that cannot be removed, since it has no number in
    /// this process any more, or another one. It would end every wait.
    #[cold]
    fn leave_orphans(&mut self) {
        if let Err(error) = self.renew() {
            log::warn!(
                "a file whose descriptor was closed by other code stays in the epoll \
                 set, and a new set cannot be made: {error}"
            );
        }
    }

    /// Handles the error of a wait.
    #[cold]
    fn wait_failed(&mut self, error: io::Error) -> io::Result<()> {
        match error.raw_os_error() {
            Some(libc::EINTR) => Ok(()),
            // Other code has closed the set, and may have reused its number.
            Some(libc::EBADF | libc::EINVAL) => {
                if let Some(set) = self.set.take() {
                    set.forget();
                }
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Checks some descriptors, and moves those that are closed or another file's to the lost
    /// ones.
    #[inline(never)]
    fn check_some(&mut self, busy: bool) {
        self.leave_parents_set();
        let length = self.table.len();
        let mut step = self.checks.begin_step(busy, length);
        while let Some(number) = step.next_place() {
            let (entry, fd) = (self.table[number], number as RawFd);
            let Some(set) = &self.set else {
                break;
            };
            let lost = match entry.place {
                // The call fails unless the number refers to the very file that was added.
                Place::Set => {
                    let same = set.modify(fd, flags_of(entry.told), entry.data(number));
                    same.is_err_and(|error| is_lost(&error))
                }
                Place::AlwaysReady => match set.add(fd, 0, entry.data(number)) {
                    Ok(()) => {
                        let _ = set.remove(fd);
                        true
                    }
                    Err(error) => error.raw_os_error() != Some(libc::EPERM),
                },
                Place::Unknown | Place::Closed | Place::Refused => continue,
            };
            step.count();
            if lost {
                self.lose(number);
            }
        }
        self.checks.end_step(step, length);
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

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use std::collections::BTreeMap;
    #[cfg(target_os = "linux")]
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Returns the kernel's set: for each number its flags and its data. Linux shows it in /proc.
    #[cfg(target_os = "linux")]
    fn kernels(poller: &EpollPoller) -> BTreeMap<RawFd, (u32, u64)> {
        let number = poller.set.as_ref().unwrap().number();
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let entry = |line: &str| {
            let mut words = line.strip_prefix("tfd:")?.split_whitespace();
            let fd = words.next()?.parse().unwrap();
            let mut hex = || u64::from_str_radix(words.nth(1).unwrap(), 16).unwrap();
            // The kernel adds EPOLLERR and EPOLLHUP.
            let flags = hex() as u32 & !(libc::EPOLLERR | libc::EPOLLHUP) as u32;
            Some((fd, (flags, hex())))
        };
        text.lines().filter_map(entry).collect()
    }

    #[cfg(target_os = "linux")]
    fn check_invariants(poller: &EpollPoller) {
        let in_place = |place| {
            let numbered = (0..).zip(&poller.table);
            numbered.filter(move |(_, entry): &(RawFd, &Entry)| entry.place == place)
        };
        let expected: BTreeMap<_, _> = in_place(Place::Set)
            .map(|(fd, entry)| (fd, (flags_of(entry.told), entry.data(fd as usize))))
            .collect();
        assert_eq!(kernels(poller), expected);
        assert_eq!(poller.count, expected.len());
        let mut always_ready = poller.always_ready.clone();
        always_ready.sort_unstable();
        let numbers = in_place(Place::AlwaysReady).map(|(fd, _)| fd);
        assert_eq!(always_ready, numbers.collect::<Vec<_>>());
        assert_eq!(
            poller.lost.len(),
            in_place(Place::Closed).count() + in_place(Place::Refused).count()
        );
        for (fd, entry) in in_place(Place::Set) {
            assert!(entry.changed == poller.changed.contains(&fd));
            assert!(entry.changed || entry.told == entry.interest);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_knows_exactly_what_the_poller_has_told_it() {
        let mut poller = EpollPoller::new();
        let pairs: Vec<_> = (0..20).map(|_| UnixStream::pair().unwrap()).collect();
        let nulls: Vec<_> = (0..5).map(|_| File::open("/dev/null").unwrap()).collect();
        let mut fds: Vec<RawFd> = pairs.iter().map(|(ours, _)| ours.as_raw_fd()).collect();
        fds.extend(nulls.iter().map(AsRawFd::as_raw_fd));
        // Not open.
        fds.extend([901, 902]);
        let mut seed = 1_u32;
        for _ in 0..3_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let fd = fds[(seed >> 8) as usize % fds.len()];
            let interest = Interest::from_bits_truncate((seed >> 24) as u8 & 15);
            poller.set(fd, interest).unwrap();
            match seed >> 28 {
                0..4 => poller.wait(Deadline::Now, &mut Vec::new()).unwrap(),
                4 => poller.check_some(false),
                5 => poller.after_fork().unwrap(),
                _ => {}
            }
            check_invariants(&poller);
        }
    }

    #[test]
    fn the_sets_own_number_is_refused_and_changes_nothing() {
        let mut poller = EpollPoller::new();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let own = poller.set.as_ref().unwrap().number();
        let error = poller.set(own, Interest::READABLE).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(poller.place(own as usize), Place::Unknown);
        poller.set(ours.as_raw_fd(), Interest::READABLE).unwrap();
        assert_eq!(
            format!("{poller:?}"),
            format!("EpollPoller {{{}}}", ours.as_raw_fd())
        );
    }
}
