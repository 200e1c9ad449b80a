//! Interest and readiness, as flags.

use bitflags::bitflags;

bitflags! {
    /// The conditions that a channel waits for.
    ///
    /// ```
    /// use fdloop::Interest;
    ///
    /// let interest = Interest::READABLE | Interest::WRITABLE;
    /// assert!(interest.contains(Interest::WRITABLE));
    /// assert!((interest - Interest::READABLE - Interest::WRITABLE).is_empty());
    /// ```
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct Interest: u8 {
        /// Data to read, the end of the input, or a connection to accept.
        const READABLE = 1 << 0;
        /// Room to write, or a connection that has come about or failed.
        const WRITABLE = 1 << 1;
        /// An exceptional condition: out-of-band data on a socket, a state
        /// change on a pseudo-terminal in packet mode. `POLLPRI`, and the third
        /// set of select(2).
        const PRIORITY = 1 << 2;
        /// Only a hang-up or an error: the peer reset the connection, or closed the other end
        /// of a pipe. A peer's half-close is neither. Reported as [`Readiness::HANGUP`],
        /// [`Readiness::ERROR`] or both.
        ///
        /// Together with any other interest it adds nothing.
        ///
        /// # Platforms
        ///
        /// epoll(7) reports it at once, and so does poll(2) on Linux, Android, OpenBSD and illumos.
        /// On other systems, and with select(2) on all, the poller calls poll(2) for it once a
        /// second: it is reported up to a second late, and an idle loop wakes once a second as long
        /// as there is such an interest. On Apple systems poll(2) does not report a hang-up by
        /// itself, so this interest reports nothing.
        const HANGUP = 1 << 3;
    }
}

bitflags! {
    /// The conditions that a descriptor is ready for.
    ///
    /// All backends report the same situation with the same flags, with one exception: for an
    /// interest other than [`Interest::HANGUP`], only poll(2) and epoll(7) report `HANGUP` and
    /// `ERROR`, since select(2) cannot. A hang-up or an error makes a descriptor readable if it is
    /// waited for as readable, since a read will not block and returns the cause. An error makes it
    /// writable likewise. `HANGUP` and `ERROR` appear only where neither of the first two flags can
    /// report it.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct Readiness: u8 {
        /// A read will not block.
        const READABLE = 1 << 0;
        /// A write will not block.
        const WRITABLE = 1 << 1;
        /// There is an exceptional condition: see [`Interest::PRIORITY`].
        const PRIORITY = 1 << 2;
        /// The other side is gone.
        const HANGUP = 1 << 3;
        /// The descriptor has a pending error.
        const ERROR = 1 << 4;
        /// The number is not an open descriptor: other code closed it. `POLLNVAL`, and EBADF of
        /// select(2). With epoll(7) also if other code has reused the number since.
        const INVALID = 1 << 5;
        /// The descriptor is open, but the system call cannot wait for it: `POLLNVAL` and
        /// epoll(7)'s EBADF for an `O_PATH` descriptor, or `POLLNVAL` on Apple systems for a
        /// terminal or another device. (select(2) takes those devices. An `O_PATH` descriptor is
        /// ready for everything under Linux's select(2), and never ready before Linux 5.17.)
        const REFUSED = 1 << 6;
    }
}
