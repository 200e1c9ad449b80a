//! What a dispatcher moves its bytes over.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use super::socket::Socket;
use crate::sys;

/// What a dispatcher reads from and writes to: a [`Socket`], a
/// [`FileWrapper`](crate::FileWrapper), or your own, such as a TLS connection
/// over a socket. (asyncore's `file_wrapper` emulates a socket for the same end.)
///
/// The descriptor must be non-blocking, and the transport owns it: dropping the
/// transport closes it. It must stay the same number for as long as the transport
/// lives.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transport",
    label = "not a transport",
    note = "wrap a file, pipe, terminal or device in a `FileWrapper`, and use a socket with \
            `Dispatcher::new(socket, handler)`",
    note = "implement `Transport` yourself for something between the handler and the descriptor, \
            such as TLS"
)]
pub trait Transport: 'static {
    /// The descriptor to wait for; `None` if it is closed.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Reads at most `buf.len()` bytes; 0 only at the end of the input, since the
    /// dispatcher never passes an empty buffer. What `buf` holds before is left from
    /// other uses.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is nothing yet. (To answer more than `buf.len()` is an error
    /// of kind `InvalidData` for the channel, and so it is for the others.)
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes at most `data.len()` bytes, and says how many.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room.
    fn send(&mut self, data: &[u8]) -> io::Result<usize>;

    /// Writes from several buffers, in order, as though they were one. By default
    /// it writes from the first that is not empty.
    ///
    /// # Errors
    ///
    /// As for [`send`](Transport::send).
    fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs.iter().find(|buf| !buf.is_empty()) {
            Some(buf) => self.send(buf),
            None => Ok(0),
        }
    }

    /// Ends the output, so that the other side reads to its end, and keeps the
    /// input open.
    ///
    /// # Errors
    ///
    /// `Unsupported`, by default: what is not a socket can end its output only by
    /// closing.
    fn shutdown_write(&mut self) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "it is not a socket, which alone can end its output and stay open; close it when \
             done instead",
        ))
    }

    /// Prepares the descriptor to be waited for and read after its input has ended: see
    /// [`Endpoint::rearm_input`](crate::Endpoint::rearm_input). The number must stay the
    /// same. Returning `Ok` for an input that stays at its end makes the loop spin.
    ///
    /// # Errors
    ///
    /// `Unsupported`, by default.
    fn rearm(&mut self) -> io::Result<()> {
        Err(cannot_rearm())
    }

    /// Closes the descriptor and says what close(2) answered. By default it is
    /// dropped.
    ///
    /// # Errors
    ///
    /// Such as `StorageFull`, for a file whose data could not be written after all.
    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }

    /// Gives the descriptor up without closing its number, which somebody else
    /// has closed. By default the number is closed all the same, by dropping.
    fn forget(self: Box<Self>) {}
}

/// A dispatcher's transport. Sockets, the usual one, need no second look-up.
pub(super) enum Link {
    Socket(Socket),
    Other(Box<dyn Transport>),
}

impl Link {
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Socket(socket) => Some(socket.as_fd()),
            Self::Other(transport) => transport.as_fd(),
        }
    }

    pub(super) fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Other(_) => None,
        }
    }

    /// Whether reading nothing means the end, as it does but for datagrams.
    pub(super) fn is_stream(&self) -> bool {
        self.socket().is_none_or(Socket::is_stream)
    }

    pub(super) fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.recv(buf),
            Self::Other(transport) => within(transport.recv(buf), buf.len()),
        }
    }

    #[inline]
    pub(super) fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.send(data),
            Self::Other(transport) => within(transport.send(data), data.len()),
        }
    }

    pub(super) fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.send_vectored(bufs),
            Self::Other(transport) => {
                let most = bufs.iter().map(|buf| buf.len()).sum();
                within(transport.send_vectored(bufs), most)
            }
        }
    }

    /// What receiving and sending are called, for messages.
    pub(super) fn verbs(&self) -> [&'static str; 2] {
        match self {
            Self::Socket(_) => ["receive", "send"],
            Self::Other(_) => ["read", "write"],
        }
    }

    /// Whether something has come in and was not received yet.
    pub(super) fn has_unread(&self) -> bool {
        match self {
            Self::Socket(socket) => socket.has_unread(),
            Self::Other(transport) => transport.as_fd().is_some_and(sys::fd::has_unread),
        }
    }

    /// Whether the other side is gone, so that nobody reads what is written. (A
    /// socket's send tells.)
    pub(super) fn has_hung_up(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Other(transport) => transport.as_fd().is_some_and(sys::fd::has_hung_up),
        }
    }

    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.shutdown_write(),
            Self::Other(transport) => transport.shutdown_write(),
        }
    }

    pub(super) fn rearm(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(_) => Err(cannot_rearm()),
            Self::Other(transport) => transport.rearm(),
        }
    }

    pub(super) fn close(self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.close(),
            Self::Other(transport) => transport.close(),
        }
    }

    pub(super) fn forget(self) {
        match self {
            Self::Socket(socket) => socket.forget(),
            Self::Other(transport) => transport.forget(),
        }
    }
}

/// How often a call is repeated that signals interrupt.
const INTERRUPTIONS: usize = 16;

/// Repeats `call` while it is interrupted. After some times it counts as one that would
/// block, so that a transport that always says so does not hold up the loop.
#[inline(always)]
pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    for _ in 0..INTERRUPTIONS {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

fn cannot_rearm() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "only FIFOs and terminals have input after an end of file; make a new channel",
    )
}

/// What a transport of somebody's own answered, if it can be true.
fn within(moved: io::Result<usize>, most: usize) -> io::Result<usize> {
    match moved {
        Ok(n) if n > most => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the transport answered {n} bytes where at most {most} are possible; correct \
                 what it counts"
            ),
        )),
        moved => moved,
    }
}
