//! epoll(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
#[cfg(has_epoll_pwait2)]
use std::ptr;
use std::time::Duration;

use super::{check, deadline, fd};

pub(crate) use libc::epoll_event as Event;

// The flags of epoll(7) are those of poll(2).
const _: () = {
    assert!(libc::EPOLLIN == libc::POLLIN as libc::c_int);
    assert!(libc::EPOLLOUT == libc::POLLOUT as libc::c_int);
    assert!(libc::EPOLLPRI == libc::POLLPRI as libc::c_int);
    assert!(libc::EPOLLERR == libc::POLLERR as libc::c_int);
    assert!(libc::EPOLLHUP == libc::POLLHUP as libc::c_int);
};

/// A set of descriptors in the kernel, and the descriptor that names it.
#[derive(Debug)]
pub(crate) struct Set {
    fd: OwnedFd,
    /// True if the kernel has no epoll_pwait2(2).
    coarse: bool,
}

impl Set {
    /// Makes an empty set. See epoll_create1(2).
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes flags and no pointer.
        let number = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: epoll_create1 has just made this descriptor, and no other code knows its number.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        let coarse = cfg!(not(has_epoll_pwait2));
        Ok(Self { fd, coarse })
    }

    /// Adds the file that has the number `fd`. Events of it carry `data`.
    ///
    /// # Errors
    ///
    /// EPERM if the file is always ready; EEXIST if it is in the set under this number; EBADF if
    /// the number is not open, or an `O_PATH` descriptor; ENOSPC beyond
    /// `/proc/sys/fs/epoll/max_user_watches`.
    pub(crate) fn add(&self, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, data)
    }

    /// Changes the events and the data of the file that has the number `fd`.
    ///
    /// # Errors
    ///
    /// ENOENT if that file is not in the set under this number; EBADF if the number is not open.
    pub(crate) fn modify(&self, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, data)
    }

    /// Removes the file that has the number `fd`.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Set::modify).
    pub(crate) fn remove(&self, fd: RawFd) -> io::Result<()> {
        // Linux before 2.6.9 refused a null pointer here, and this costs nothing.
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        let mut event = Event { events, u64: data };
        let set = self.fd.as_raw_fd();
        // SAFETY: the kernel reads one event from the pointer, which outlives the call. It takes
        // any number for `fd`, and fails for one that is not open.
        check(unsafe { libc::epoll_ctl(set, operation, fd, &raw mut event) }).map(drop)
    }

    /// Waits until a file of the set is ready, or for `timeout`, and leaves the events in
    /// `found`: as many as it has capacity for, which is at least `room`.
    ///
    /// # Errors
    ///
    /// EINVAL if `room` is 0, or other code has closed the set and reused its number; EBADF if
    /// other code has closed the set; EINTR if a signal arrived.
    #[inline]
    pub(crate) fn wait(
        &mut self,
        found: &mut Vec<Event>,
        room: usize,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        found.clear();
        found.reserve(room);
        let count = self.wait_in(found.spare_capacity_mut(), timeout)?;
        // SAFETY: the kernel has written `count` events into the spare capacity, which is all of
        // the vector's, since it is empty.
        unsafe { found.set_len(count) };
        Ok(())
    }

    /// Waits with as much precision as the kernel has. Returns the number of events written.
    #[inline]
    fn wait_in(
        &mut self,
        events: &mut [MaybeUninit<Event>],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let millis = match timeout {
            None => -1,
            Some(Duration::ZERO) => 0,
            // epoll_wait(2) is as exact for these, and every kernel has it.
            Some(timeout) if self.coarse || is_whole_millis(timeout) => deadline::millis(timeout),
            Some(timeout) => match wait_precisely(&self.fd, events, timeout) {
                // A seccomp filter that is older than the call returns EPERM, which the call
                // itself never does.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.coarse = true;
                    deadline::millis(timeout)
                }
                result => return result,
            },
        };
        let (set, room) = (self.fd.as_raw_fd(), room_of(events));
        // SAFETY: the kernel writes at most `room` events into the exclusively borrowed slice,
        // which is at least so long.
        let count = unsafe { libc::epoll_wait(set, events.as_mut_ptr().cast(), room, millis) };
        check(count).map(|count| count as usize)
    }

    /// Returns the number of the set.
    #[cfg(test)]
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Checks whether the number of the set is open. Other code may have closed it.
    pub(crate) fn is_open(&self) -> bool {
        fd::is_open(self.fd.as_raw_fd())
    }

    /// Gives up the set without closing its number: see [`fd::forget`].
    pub(crate) fn forget(self) {
        fd::forget(self.fd);
    }
}

/// Checks whether a timeout is a number of milliseconds.
fn is_whole_millis(timeout: Duration) -> bool {
    timeout.subsec_nanos() == timeout.subsec_millis() * 1_000_000
}

/// The length of a slice, as the system calls take it.
fn room_of(events: &[MaybeUninit<Event>]) -> libc::c_int {
    // The kernel refuses more than fit into an int as bytes.
    events.len().min(1 << 26) as libc::c_int
}

/// epoll_pwait2(2), whose timeout is exact to the nanosecond. Linux has it since 5.11. Many C
/// libraries lack it, so this calls the kernel itself.
#[cfg(has_epoll_pwait2)]
fn wait_precisely(
    set: &OwnedFd,
    events: &mut [MaybeUninit<Event>],
    timeout: Duration,
) -> io::Result<usize> {
    /// `struct __kernel_timespec`, which has 64 bits on every architecture.
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    let timeout = Timespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(timeout.subsec_nanos()),
    };
    let (number, room) = (set.as_raw_fd(), room_of(events));
    let (no_mask, size) = (ptr::null::<libc::sigset_t>(), 0_usize);
    let events = events.as_mut_ptr();
    let timeout = &raw const timeout;
    let call = libc::SYS_epoll_pwait2;
    // SAFETY: the kernel writes at most `room` events into the exclusively borrowed slice, which
    // is at least so long; the timeout outlives the call; a null signal mask, whose size is then
    // not read, leaves the thread's mask alone.
    let count = unsafe { libc::syscall(call, number, events, room, timeout, no_mask, size) };
    check(count as libc::c_int).map(|count| count as usize)
}

#[cfg(not(has_epoll_pwait2))]
fn wait_precisely(_: &OwnedFd, _: &mut [MaybeUninit<Event>], _: Duration) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn without_the_precise_call_a_timeout_is_rounded_up() {
        let mut set = Set::new().unwrap();
        let (mut found, timeout) = (Vec::new(), Duration::from_micros(300));
        for coarse in [false, true] {
            set.coarse = coarse;
            let begin = Instant::now();
            set.wait(&mut found, 1, Some(timeout)).unwrap();
            assert!(begin.elapsed() >= timeout);
            assert!(found.is_empty());
            // The kernel of the tests may lack the call, and then this stays true.
            assert!(set.coarse >= coarse);
        }
    }
}
