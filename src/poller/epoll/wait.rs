//! The wait: the events that the kernel reports, those that need no system call, and the checks.

use std::ffi::c_short;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::{Entry, EpollPoller, Place, flags_of, is_lost};
use crate::poller::bits::{events_of, readiness};
use crate::poller::{Event, Interest, Readiness};

impl EpollPoller {
    /// Reports the events that are known without a system call: of files that are always ready, and
    /// of lost numbers.
    #[inline(never)]
    pub(super) fn report_apart(&self, ready: &mut Vec<Event>) {
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
    pub(super) fn ask(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Event>,
    ) -> io::Result<()> {
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
    pub(super) fn check_some(&mut self, busy: bool) {
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
