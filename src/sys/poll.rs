//! poll(2), and ppoll(2) where there is one.

#[cfg(any(feature = "select", feature = "poll"))]
use std::io;
#[cfg(any(feature = "select", feature = "poll"))]
use std::time::Duration;

#[cfg(any(feature = "select", feature = "poll"))]
use super::{check, deadline};

pub(crate) use libc::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI};
#[cfg(any(feature = "select", feature = "poll"))]
pub(crate) use libc::{POLLNVAL, pollfd as PollFd};

/// Waits until a descriptor of `fds` is ready, or for `timeout`. Returns the number of entries
/// whose `revents` is not zero.
///
/// # Errors
///
/// Those of poll(2): EINTR if a signal arrived; EINVAL if there are more entries than the
/// process may have descriptors.
#[cfg(any(feature = "select", feature = "poll"))]
pub(crate) fn poll(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<usize> {
    let count = fds.len() as libc::nfds_t;
    let ready = match timeout {
        // SAFETY: `fds` is an exclusively borrowed array of `count` entries.
        None => unsafe { libc::poll(fds.as_mut_ptr(), count, -1) },
        // SAFETY: as above.
        Some(Duration::ZERO) => unsafe { libc::poll(fds.as_mut_ptr(), count, 0) },
        #[cfg(has_ppoll)]
        Some(timeout) => {
            let timeout = deadline::timespec(timeout);
            // SAFETY: as above; the timeout outlives the call; a null signal mask
            // leaves the thread's mask alone.
            unsafe {
                libc::ppoll(
                    fds.as_mut_ptr(),
                    count,
                    &raw const timeout,
                    std::ptr::null(),
                )
            }
        }
        #[cfg(not(has_ppoll))]
        // SAFETY: as above.
        Some(timeout) => unsafe { libc::poll(fds.as_mut_ptr(), count, deadline::millis(timeout)) },
    };
    check(ready).map(|ready| ready as usize)
}
