//! Waiting for descriptors: the [`Poller`] trait and its implementations.

mod backend;
mod bits;
#[cfg(with_epoll)]
mod epoll;
mod flags;
#[cfg(feature = "select")]
mod hangups;
#[cfg(any(feature = "select", feature = "poll"))]
mod pace;
#[cfg(feature = "poll")]
mod poll;
#[cfg(feature = "select")]
mod select;
#[cfg(any(feature = "select", feature = "poll"))]
mod table;
mod trial;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
#[cfg(any(feature = "select", feature = "poll"))]
use std::time::Duration;
use std::time::Instant;

pub use backend::Backend;
#[cfg(with_epoll)]
pub use epoll::EpollPoller;
pub use flags::{Interest, Readiness};
#[cfg(feature = "poll")]
pub use poll::PollPoller;
#[cfg(feature = "select")]
pub use select::SelectPoller;

pub(crate) use trial::Trial;

pub use crate::sys::deadline::Deadline;
use crate::sys::fd::is_open;

/// A descriptor and what it is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The descriptor's number.
    pub fd: RawFd,
    /// The conditions that were found; never empty.
    pub readiness: Readiness,
}

impl Event {
    /// Makes an event, for a poller of your own.
    #[must_use]
    pub fn new(fd: RawFd, readiness: Readiness) -> Self {
        Self { fd, readiness }
    }
}

/// Waits until descriptors are ready: everything that an [`EventLoop`](crate::EventLoop) needs
/// from the operating system.
///
/// A program can pass its own to [`EventLoop::with_poller`](crate::EventLoop::with_poller): another
/// system call, or a simulated one for tests, such as that of the feature `sim`.
///
/// # Contract
///
/// A poller keeps an interest for each descriptor and is *level-triggered*: as long as a
/// descriptor is ready for something in its interest, each [`wait`](Poller::wait) reports it.
/// Events are hints: the loop tolerates spurious readiness.
///
/// A poller never closes, reads, writes or changes a descriptor. The loop calls
/// [`set`](Poller::set) with an empty interest before it closes one, and after it has put another
/// file under its number, so that a number means the same file as long as the poller knows it. If
/// other code closes a descriptor that the poller knows, the poller reports
/// [`Readiness::INVALID`].
///
/// ```
/// use fdloop::{Deadline, Event, EventLoop, Interest, Poller};
/// use std::{io, os::fd::RawFd};
///
/// /// Nothing is ever ready.
/// #[derive(Debug)]
/// struct Never;
///
/// impl Poller for Never {
///     fn set(&mut self, _: RawFd, _: Interest) -> io::Result<()> {
///         Ok(())
///     }
///     fn wait(&mut self, _: Deadline, _: &mut Vec<Event>) -> io::Result<()> {
///         Ok(())
///     }
/// }
///
/// let event_loop = EventLoop::with_poller(Never);
/// assert!(event_loop.is_empty());
/// ```
pub trait Poller: fmt::Debug {
    /// Sets the interest in `fd` to exactly `interest`. An empty interest forgets `fd`.
    /// Forgetting an unknown descriptor is not an error.
    ///
    /// The loop calls this only when an interest has changed. The cost must not grow with the
    /// number of descriptors.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if this poller can never wait for `fd`: a negative number, or one beyond
    /// its limit, which the message names. The pollers of this crate also refuse a number of
    /// 65,536 or more that is not open. A failed call changes nothing.
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()>;

    /// Waits until at least one descriptor is ready or `deadline` has come, and appends one
    /// event for each ready descriptor to `ready`. The loop passes an empty `ready`.
    ///
    /// Without any interest it sleeps until the deadline. A signal (EINTR) or a distant
    /// deadline does not end the wait early. A poller may return early without an event for
    /// other reasons.
    ///
    /// A descriptor that turns out to be closed is reported with
    /// [`Readiness::INVALID`], and an open one that the system call refuses with
    /// [`Readiness::REFUSED`], in every wait until it is forgotten. Others that are
    /// ready are reported with it, or in the first wait after it was forgotten. The
    /// two differ in who closes the number: the loop must not close the first, which
    /// may belong to another owner soon, and must close the second. So a poller
    /// decides right after its system call, before any handler can reuse a number.
    ///
    /// # Errors
    ///
    /// The errors of the system call that no descriptor causes, such as `OutOfMemory`. The
    /// loop's `turn` and `run` return them.
    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()>;

    /// Returns the time of the loop, by which timers fire and timeouts end. A simulated poller can
    /// return one of its own, which then advances as the poller decides: the deadlines that it
    /// gets are on that clock. By default the time of the system's monotonic clock.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Prepares the poller for use in a child process that was made by fork(2). State in the
    /// kernel that the child shares with its parent is left to the parent. By default does
    /// nothing: select(2) and poll(2) keep no state.
    ///
    /// A poller that wraps another one passes this on.
    ///
    /// # Errors
    ///
    /// Those of the system call that makes new state, such as EMFILE of epoll_create1(2).
    fn after_fork(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<P: Poller + ?Sized> Poller for Box<P> {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        (**self).set(fd, interest)
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        (**self).wait(deadline, ready)
    }

    fn now(&self) -> Instant {
        (**self).now()
    }

    fn after_fork(&mut self) -> io::Result<()> {
        (**self).after_fork()
    }
}

/// Returns the index of `fd` in a table by number.
fn index(fd: RawFd) -> io::Result<usize> {
    usize::try_from(fd).map_err(|_| {
        let message = format!("fd {fd} is negative and so no descriptor");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

/// The longest time until a hang-up is noticed where the poller must ask for it: see
/// [`Interest::HANGUP`].
#[cfg(any(feature = "select", feature = "poll"))]
const HANGUP_INTERVAL: Duration = Duration::from_secs(1);

/// Numbers from here up are verified before tables grow to their length.
const UNLIKELY: RawFd = 1 << 16;

/// Refuses a high number that is not open: it was made up or is stale. A table by
/// number, made for `i32::MAX`, would take gigabytes.
///
/// The limit of the process (`RLIMIT_NOFILE`) would not do instead: its hard value is
/// 2^30 in many containers.
pub(crate) fn check_number(fd: RawFd) -> io::Result<()> {
    if fd < UNLIKELY || is_open(fd) {
        return Ok(());
    }
    let message = format!("fd {fd} is not open: add an open descriptor");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
