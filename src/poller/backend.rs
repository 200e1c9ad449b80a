//! The choice between the system calls, at run time.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::Poller;
use crate::error::{Error, Result};

/// The system call that a loop waits with: asyncore's `use_poll`.
///
/// All backends behave alike and differ in cost. select(2) copies bit sets as long as the highest
/// descriptor number, poll(2) an array as long as the number of descriptors. epoll(7) keeps the set
/// in the kernel: the cost of a wait is proportional to the ready descriptors, and each change of
/// the set costs a system call. It exists on Linux, Android and illumos.
///
/// The features `select`, `poll` and `epoll` build the backends in. The default is `Poll` if it is
/// built in, except on Apple systems, whose poll(2) refuses terminals: there it is `Select`.
/// `Epoll` is the default only if no other is built in.
///
/// ```
/// use fdloop::Backend;
///
/// let backend: Backend = Backend::default().to_string().parse()?;
/// assert_eq!(backend, Backend::default());
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// select(2), [`SelectPoller`](crate::SelectPoller).
    #[cfg(feature = "select")]
    Select,
    /// poll(2), [`PollPoller`](crate::PollPoller).
    #[cfg(feature = "poll")]
    Poll,
    /// epoll(7), [`EpollPoller`](crate::EpollPoller).
    #[cfg(with_epoll)]
    Epoll,
}

impl Backend {
    /// The backends that are built in.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "select")]
        Self::Select,
        #[cfg(feature = "poll")]
        Self::Poll,
        #[cfg(with_epoll)]
        Self::Epoll,
    ];

    /// Makes a poller for this system call, for a program that waits without an
    /// [`EventLoop`](crate::EventLoop).
    ///
    /// ```
    /// use fdloop::{Backend, Deadline, Interest, Poller, Readiness};
    /// use std::io::Write;
    /// use std::os::fd::AsRawFd;
    /// use std::time::Duration;
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// let mut poller = Backend::default().poller();
    /// poller.set(reader.as_raw_fd(), Interest::READABLE)?;
    ///
    /// let mut ready = Vec::new();
    /// poller.wait(Deadline::after(Some(Duration::from_millis(1))), &mut ready)?;
    /// assert!(ready.is_empty());
    /// writer.write_all(b"x")?;
    /// poller.wait(Deadline::Never, &mut ready)?;
    /// assert_eq!(ready[0].fd, reader.as_raw_fd());
    /// assert!(ready[0].readiness.contains(Readiness::READABLE));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn poller(self) -> Box<dyn Poller + Send> {
        match self {
            #[cfg(feature = "select")]
            Self::Select => Box::new(super::SelectPoller::new()),
            #[cfg(feature = "poll")]
            Self::Poll => Box::new(super::PollPoller::new()),
            #[cfg(with_epoll)]
            Self::Epoll => Box::new(super::EpollPoller::new()),
        }
    }
}

impl Default for Backend {
    fn default() -> Self {
        #[cfg(default_backend = "select")]
        return Self::Select;
        #[cfg(default_backend = "poll")]
        return Self::Poll;
        #[cfg(default_backend = "epoll")]
        return Self::Epoll;
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "select")]
            Self::Select => "select",
            #[cfg(feature = "poll")]
            Self::Poll => "poll",
            #[cfg(with_epoll)]
            Self::Epoll => "epoll",
        })
    }
}

impl FromStr for Backend {
    type Err = Error;

    /// # Errors
    ///
    /// `InvalidInput`, naming the backends that are built in.
    fn from_str(name: &str) -> Result<Self> {
        let named = |backend: &&Self| backend.to_string() == name;
        Self::ALL.iter().find(named).copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(Self::to_string).collect();
            let message = format!(
                "no backend {name:?} is built in: expected {}",
                names.join(" or ")
            );
            Error::misuse(io::ErrorKind::InvalidInput, message)
        })
    }
}
