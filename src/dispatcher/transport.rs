//! Transports, over which dispatchers read and write.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::sys;

/// A descriptor that a dispatcher reads and writes: a [`Socket`](crate::Socket), a
/// [`FileWrapper`](crate::FileWrapper), or a type of your own, such as a TLS connection
/// over a socket. (asyncore's `file_wrapper` emulates a socket for the same purpose.)
///
/// The descriptor must be non-blocking. The transport owns it: dropping the transport closes
/// it. Its number must stay the same as long as the transport lives.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transport",
    label = "not a transport",
    note = "wrap a file, pipe, terminal or device in a `FileWrapper`, and use a socket with \
            `Dispatcher::new(socket, handler)`",
    note = "implement `Transport` yourself for something between the handler and the descriptor, \
            such as TLS"
)]
pub trait Transport: 'static {
    /// Returns the descriptor to wait for; `None` if it is closed.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Returns the number by which the loop knows the transport; -1 if it is closed. By default the
    /// number of the descriptor.
    ///
    /// Override this method only for a transport without a descriptor, in a loop over a
    /// [`Poller`](crate::Poller) of your own that reports events for such numbers. The feature
    /// `sim` has both.
    fn raw_fd(&self) -> RawFd {
        self.as_fd().map_or(-1, |fd| fd.as_raw_fd())
    }

    /// Reads at most `buf.len()` bytes. Returns the number read, and 0 only at end of file: the
    /// dispatcher never passes an empty buffer. `buf` initially holds bytes of earlier uses.
    ///
    /// Returning more than `buf.len()` fails the channel with `InvalidData`. The same applies
    /// to the lengths returned by `send` and `send_vectored`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is nothing to read yet.
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Returns true if the transport holds input that [`recv`](Transport::recv) returns although
    /// the descriptor does not report it: a TLS connection, for example, decrypts more than
    /// `buf` takes. The dispatcher then calls `handle_read` in each pass in which the handler is
    /// `readable`, and the loop does not wait. By default false.
    fn holds_input(&self) -> bool {
        false
    }

    /// Returns true if input has arrived that was not received yet. If a send finds the
    /// connection lost, such input is read before the channel closes. By default true if the
    /// transport [holds input](Transport::holds_input) or the descriptor has unread input
    /// (`FIONREAD`).
    fn has_unread(&self) -> bool {
        self.holds_input() || self.as_fd().is_some_and(sys::fd::has_unread)
    }

    /// Returns true if the connection goes on after the end of its input, as that of a stream
    /// socket does: the peer has ended its output, and still reads. While the channel waits for
    /// nothing else, the loop then watches for a reset ([`Interest::HANGUP`]). By default false,
    /// as for a pipe, whose hang-up is the end of its input.
    ///
    /// [`Interest::HANGUP`]: crate::Interest::HANGUP
    fn outlives_input(&self) -> bool {
        false
    }

    /// Takes the pending error of a connection that was reset after the end of its input, when no
    /// receive reports it. By default the `SO_ERROR` of the descriptor, if that is a socket.
    ///
    /// # Errors
    ///
    /// The errors of asking for it. They are ignored.
    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        self.as_fd().map_or(Ok(None), sys::socket::take_error)
    }

    /// Writes at most `data.len()` bytes. Returns the number written.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room.
    fn send(&mut self, data: &[u8]) -> io::Result<usize>;

    /// Writes several buffers in sequence, as if they were one. By default writes the first
    /// that is not empty.
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

    /// Returns the way in which the kernel can move bytes past the transport, if the transport
    /// passes them on unchanged: see [`Io::forward`](crate::Io::forward). By default `None`, which
    /// is right for a transport that encrypts, counts, or holds bytes.
    fn passage(&self) -> Option<Passage> {
        None
    }

    /// Ends the output and keeps the input open (half-close). The peer then reads end of file.
    ///
    /// # Errors
    ///
    /// `Unsupported` by default: only a socket can end its output without closing. `WouldBlock` if
    /// the end is a message that does not fit into the send buffer: a channel with a buffer then
    /// tries again when it fits.
    fn shutdown_write(&mut self) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "it is not a socket, which alone can end its output and stay open; close it when \
             done instead",
        ))
    }

    /// Makes closing the transport reset the connection, so that the peer gets ECONNRESET.
    /// [`Endpoint::abort`](crate::Endpoint::abort) calls this.
    ///
    /// # Errors
    ///
    /// `Unsupported`, by default.
    fn reset_on_close(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
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

    /// From now on, makes [`recv`](Transport::recv) return 0 where it would return `WouldBlock`:
    /// see [`Endpoint::end_input_when_empty`](crate::Endpoint::end_input_when_empty).
    /// [`holds_input`](Transport::holds_input) must return true from then on, since the descriptor
    /// does not report this end.
    ///
    /// # Errors
    ///
    /// `Unsupported`, by default.
    fn end_when_empty(&mut self) -> io::Result<()> {
        Err(cannot_end_when_empty())
    }

    /// Closes the descriptor, and returns the errors of close(2). By default drops the
    /// transport.
    ///
    /// # Errors
    ///
    /// Such as `StorageFull`, for a file whose data could not be written after all.
    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }

    /// Gives up the descriptor without closing its number, because other code has already
    /// closed it. By default drops the transport, which closes the number nevertheless.
    fn forget(self: Box<Self>) {}
}

/// The way in which the kernel can move bytes past a [`Transport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passage {
    /// The descriptor is a pipe or a FIFO.
    Pipe,
    /// The descriptor is a file of another kind, which is non-blocking or never blocks.
    File,
    /// The descriptor is a stream socket.
    Stream,
}

pub(super) fn cannot_rearm() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "only FIFOs and terminals have input after an end of file; make a new channel",
    )
}

pub(super) fn cannot_end_when_empty() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "data of the peer may still be under way; only a file, such as a pipe or a terminal, \
         has all of it at once",
    )
}
