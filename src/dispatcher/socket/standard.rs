//! The traits of the standard library for sockets, and the conversions from and to its types.

use std::any::Any;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::Socket;
use crate::error::{Error, Result};

/// A call that would block returns an error of kind `WouldBlock`.
impl Read for Socket {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(buf)
    }
}

/// A call that would block returns an error of kind `WouldBlock`. One on a broken connection fails
/// with `BrokenPipe`, and raises no SIGPIPE.
impl Write for Socket {
    #[inline]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_vectored(bufs)
    }

    /// Does nothing: a socket has no buffer in the process.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// Like the sockets of the standard library, a socket is read and written through shared references
// too.

impl Read for &Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(buf)
    }
}

impl Write for &Socket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

/// Types that a dispatcher can be built on: a [`Socket`], and every type that owns a socket and
/// converts into an `OwnedFd`, such as the sockets of the standard library.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a socket and does not own one",
    label = "not a socket",
    note = "use `FileDispatcher::new(file, handler)` for files, pipes, terminals and devices",
    note = "a socket that is borrowed must be duplicated first: `stream.try_clone()?`"
)]
pub trait IntoSocket {
    /// Converts into a socket.
    ///
    /// # Errors
    ///
    /// As for [`Socket::adopt`].
    fn into_socket(self) -> Result<Socket>;
}

// Otherwise the compiler reports that `T` is not `Into<OwnedFd>` instead of the advice above.
#[diagnostic::do_not_recommend]
impl<T: Into<OwnedFd> + 'static> IntoSocket for T {
    fn into_socket(self) -> Result<Socket> {
        // A `Socket` is returned as it is: it knows more than its descriptor.
        let mut this = Some(self);
        let any: &mut dyn Any = &mut this;
        match (any.downcast_mut().and_then(Option::take), this) {
            (Some(socket), _) => Ok(socket),
            (None, Some(other)) => Socket::adopt(other),
            (None, None) => Err(Error::other("there is no socket")),
        }
    }
}

macro_rules! from_socket {
    ($($type:ty),+) => {$(
        impl From<Socket> for $type {
            /// It stays non-blocking.
            fn from(socket: Socket) -> Self {
                Self::from(socket.fd)
            }
        }
    )+};
}

from_socket!(
    TcpListener,
    TcpStream,
    UdpSocket,
    UnixDatagram,
    UnixListener,
    UnixStream
);
