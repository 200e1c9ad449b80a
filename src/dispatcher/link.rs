//! A dispatcher's hold on its transport.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::socket::Socket;
use super::transport::{Passage, Transport, cannot_end_when_empty, cannot_rearm};
use crate::sys;

/// A dispatcher's transport. Sockets, the common case, avoid dynamic dispatch.
pub(super) enum Link {
    Socket(Socket),
    Other(Box<dyn Transport>),
    /// Input comes before that of the descriptor.
    Replay(Box<Replay>),
}

/// A link with input that another channel has received.
pub(super) struct Replay {
    link: Link,
    input: Vec<u8>,
    /// The number of bytes of `input` that were read.
    read: usize,
}

impl Replay {
    /// Puts `input` before the input of `link`.
    pub(super) fn before(link: Link, input: Vec<u8>) -> Link {
        if input.is_empty() {
            return link;
        }
        Link::Replay(Box::new(Self {
            link,
            input,
            read: 0,
        }))
    }

    fn is_spent(&self) -> bool {
        self.read == self.input.len()
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_spent() {
            return self.link.recv(buf);
        }
        let left = &self.input[self.read..];
        let n = left.len().min(buf.len());
        buf[..n].copy_from_slice(&left[..n]);
        self.read += n;
        Ok(n)
    }
}

impl Link {
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Socket(socket) => Some(socket.as_fd()),
            Self::Other(transport) => transport.as_fd(),
            Self::Replay(replay) => replay.link.as_fd(),
        }
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        match self {
            Self::Socket(socket) => socket.as_raw_fd(),
            Self::Other(transport) => transport.raw_fd(),
            Self::Replay(replay) => replay.link.raw_fd(),
        }
    }

    pub(super) fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Other(_) => None,
            Self::Replay(replay) => replay.link.socket(),
        }
    }

    /// Checks whether there is input that the descriptor does not report.
    #[inline]
    pub(super) fn holds_input(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Other(transport) => transport.holds_input(),
            Self::Replay(replay) => !replay.is_spent() || replay.link.holds_input(),
        }
    }

    /// Returns the way in which the kernel can move bytes past the link.
    pub(super) fn passage(&self) -> Option<Passage> {
        match self {
            Self::Socket(socket) => socket.is_stream().then_some(Passage::Stream),
            Self::Other(transport) => transport.passage(),
            Self::Replay(_) => None,
        }
    }

    /// Returns the link without input before that of the descriptor, once that was read.
    pub(super) fn without_spent(self) -> Self {
        match self {
            Self::Replay(replay) if replay.is_spent() => replay.link.without_spent(),
            link => link,
        }
    }

    /// Checks whether reading 0 bytes means end of file, as it does except for datagrams.
    pub(super) fn is_stream(&self) -> bool {
        self.socket().is_none_or(Socket::is_stream)
    }

    pub(super) fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.recv(buf),
            Self::Other(transport) => within(transport.recv(buf), buf.len()),
            Self::Replay(replay) => replay.recv(buf),
        }
    }

    #[inline]
    pub(super) fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.send(data),
            Self::Other(transport) => within(transport.send(data), data.len()),
            Self::Replay(replay) => replay.link.send(data),
        }
    }

    pub(super) fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.send_vectored(bufs),
            Self::Other(transport) => {
                let most = bufs.iter().map(|buf| buf.len()).sum();
                within(transport.send_vectored(bufs), most)
            }
            Self::Replay(replay) => replay.link.send_vectored(bufs),
        }
    }

    /// Returns the verbs for receiving and sending, for messages.
    pub(super) fn verbs(&self) -> [&'static str; 2] {
        match self {
            Self::Socket(_) => ["receive", "send"],
            Self::Other(_) => ["read", "write"],
            Self::Replay(replay) => replay.link.verbs(),
        }
    }

    /// Checks whether input has arrived that was not received yet.
    pub(super) fn has_unread(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.has_unread(),
            Self::Other(transport) => transport.has_unread(),
            Self::Replay(replay) => !replay.is_spent() || replay.link.has_unread(),
        }
    }

    /// Checks whether a reset may still arrive after the end of the input.
    pub(super) fn outlives_input(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.is_stream(),
            Self::Other(transport) => transport.outlives_input(),
            Self::Replay(replay) => replay.link.outlives_input(),
        }
    }

    /// Takes the pending error, if any, of a connection whose input has ended.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        match self {
            Self::Socket(socket) => socket.take_error().ok().flatten(),
            Self::Other(transport) => transport.take_error().ok().flatten(),
            Self::Replay(replay) => replay.link.take_error(),
        }
    }

    /// Makes closing reset the connection. A connection that cannot be reset is only closed.
    pub(super) fn reset_on_close(&mut self) {
        match self {
            Self::Socket(socket) => drop(socket.set_reset_on_close()),
            Self::Other(transport) => drop(transport.reset_on_close()),
            Self::Replay(replay) => replay.link.reset_on_close(),
        }
    }

    /// Checks whether the peer has hung up, so that the output cannot be read. False for a
    /// socket, whose send reports it.
    pub(super) fn has_hung_up(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Other(transport) => transport.as_fd().is_some_and(sys::fd::has_hung_up),
            Self::Replay(replay) => replay.link.has_hung_up(),
        }
    }

    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.shutdown_write(),
            Self::Other(transport) => transport.shutdown_write(),
            Self::Replay(replay) => replay.link.shutdown_write(),
        }
    }

    pub(super) fn rearm(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(_) => Err(cannot_rearm()),
            Self::Other(transport) => transport.rearm(),
            Self::Replay(replay) => replay.link.rearm(),
        }
    }

    pub(super) fn end_when_empty(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(_) => Err(cannot_end_when_empty()),
            Self::Other(transport) => transport.end_when_empty(),
            Self::Replay(replay) => replay.link.end_when_empty(),
        }
    }

    pub(super) fn close(self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.close(),
            Self::Other(transport) => transport.close(),
            Self::Replay(replay) => replay.link.close(),
        }
    }

    pub(super) fn forget(self) {
        match self {
            Self::Socket(socket) => socket.forget(),
            Self::Other(transport) => transport.forget(),
            Self::Replay(replay) => replay.link.forget(),
        }
    }
}

/// Maximum number of calls while signals interrupt them.
const INTERRUPTIONS: usize = 16;

/// Repeats `call` while it is interrupted. After [`INTERRUPTIONS`] calls returns `WouldBlock`,
/// so that a transport that always returns `Interrupted` does not hold up the loop.
#[inline]
pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    for _ in 0..INTERRUPTIONS {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Checks the length that a transport of the program returned.
fn within(moved: io::Result<usize>, most: usize) -> io::Result<usize> {
    match moved {
        Ok(n) if n > most => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the transport returned {n} bytes where at most {most} are possible; correct \
                 what it counts"
            ),
        )),
        moved => moved,
    }
}
