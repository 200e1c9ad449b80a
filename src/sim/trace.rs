//! The trace of a world.

use std::fmt;
use std::os::fd::RawFd;
use std::time::Duration;

use crate::poller::Readiness;

/// An event in a [`World`](super::World): see [`trace`](super::World::trace).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The time since the world began.
    pub at: Duration,
    /// The connection: the first of the world is 0, the next 1. Unlike the numbers of streams,
    /// these are not reused.
    pub connection: usize,
    /// The number of the stream; for a peer, that of the stream at the other side.
    pub fd: RawFd,
    /// True if the event happened to the [`Peer`](super::Peer), at the other side of the
    /// connection.
    pub at_peer: bool,
    /// The event.
    pub what: What,
}

/// The event of a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The poller reported readiness.
    Ready(Readiness),
    /// The poller reported readiness that did not exist.
    Spurious(Readiness),
    /// So many bytes were received.
    Received(usize),
    /// So many bytes were sent.
    Sent(usize),
    /// A receive or send returned this `errno`.
    Failed(i32),
    /// So many bytes arrived.
    Arrived(usize),
    /// The end of the input arrived.
    InputEnded,
    /// A reset arrived.
    Reset,
    /// The output was ended.
    OutputEnded,
    /// The side was closed.
    Closed,
}

impl fmt::Display for Step {
    /// Writes a line such as `12.5ms fd 1000: received 17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.at_peer { "the peer of " } else { "" };
        write!(f, "{:?} {side}fd {}: ", self.at, self.fd)?;
        match self.what {
            What::Ready(readiness) => write!(f, "ready for {readiness:?}"),
            What::Spurious(readiness) => write!(f, "spuriously ready for {readiness:?}"),
            What::Received(bytes) => write!(f, "received {bytes}"),
            What::Sent(bytes) => write!(f, "sent {bytes}"),
            What::Failed(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(errno)),
            What::Arrived(bytes) => write!(f, "{bytes} arrived"),
            What::InputEnded => f.write_str("the end of the input arrived"),
            What::Reset => f.write_str("a reset arrived"),
            What::OutputEnded => f.write_str("ended its output"),
            What::Closed => f.write_str("closed"),
        }
    }
}
