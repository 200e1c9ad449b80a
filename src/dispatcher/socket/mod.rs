//! Sockets that are owned, non-blocking and close-on-exec.

mod standard;

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub use standard::IntoSocket;

use crate::address::{Address, Family};
use crate::error::{Error, Result};
use crate::sys;

/// The kind of data that a socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketType {
    /// A stream of bytes: TCP, or a Unix stream. `SOCK_STREAM`.
    Stream,
    /// Datagrams, each of which is sent and received whole: UDP, or Unix
    /// datagrams. `SOCK_DGRAM`.
    Datagram,
}

/// A socket: owned, non-blocking and close-on-exec.
///
/// Dispatchers are built on it, and `handle_accepted` of a listener gets one. It converts from
/// and to the sockets of the standard library. After a conversion, the socket stays
/// non-blocking.
///
/// A TCP socket has `TCP_NODELAY` set, so that data is sent before the peer acknowledges
/// earlier data. Small packets are avoided otherwise: a buffered channel coalesces the sends of one
/// handler. [`set_nodelay`](Socket::set_nodelay) can clear it.
///
/// ```
/// use fdloop::Socket;
/// use std::net::{TcpListener, TcpStream};
///
/// let socket = Socket::adopt(TcpListener::bind("127.0.0.1:0")?)?;
/// println!("listening on {}", socket.local_addr()?);
/// let listener: TcpListener = socket.into();
/// listener.set_nonblocking(false)?;
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    socket_type: SocketType,
    /// The address of the peer if accept(2) returned it, until it is taken. Boxed because it
    /// is rarely present.
    peer: Option<Box<Address>>,
}

impl Socket {
    /// Makes a socket. See socket(2).
    ///
    /// # Errors
    ///
    /// The errors of socket(2): the `errno` EMFILE or ENFILE if there are too many
    /// descriptors, EAFNOSUPPORT if the system does not have the family.
    pub fn new(family: Family, socket_type: SocketType) -> Result<Self> {
        let stream = socket_type == SocketType::Stream;
        let fd = sys::socket::socket(family.to_raw(), stream)
            .map_err(|e| Error::system(format!("create a socket of family {family:?}"), None, e))?;
        let socket = Self {
            fd,
            socket_type,
            peer: None,
        };
        if family != Family::Unix {
            socket.set_nodelay_if_tcp();
        }
        Ok(socket)
    }

    /// Sets TCP_NODELAY if the protocol has it. (Accepted connections inherit it from the
    /// listener, on every system.)
    fn set_nodelay_if_tcp(&self) {
        if self.is_stream() {
            let _ = sys::socket::set_nodelay(self.as_fd(), true);
        }
    }

    /// Makes two stream sockets that are connected to each other. See socketpair(2).
    ///
    /// # Errors
    ///
    /// The errors of socketpair(2), such as EMFILE.
    pub fn pair() -> Result<(Self, Self)> {
        let (a, b) = sys::socket::pair(true)
            .map_err(|e| Error::system("create a pair of sockets", None, e))?;
        let socket = |fd| Self {
            fd,
            socket_type: SocketType::Stream,
            peer: Some(Box::new(Address::Unnamed)),
        };
        Ok((socket(a), socket(b)))
    }

    /// Takes over a socket made elsewhere. Makes it non-blocking and close-on-exec, and sets
    /// `TCP_NODELAY` if it is a TCP socket. Except for close-on-exec, this also affects every
    /// duplicate of it.
    ///
    /// # Errors
    ///
    /// The `errno` ENOTSOCK if the descriptor is not a socket: use
    /// [`FileDispatcher`](crate::FileDispatcher) for files, pipes and terminals.
    pub fn adopt(socket: impl Into<OwnedFd>) -> Result<Self> {
        let fd = socket.into();
        let adopt = || {
            let stream = sys::socket::is_stream(fd.as_fd())?;
            sys::socket::adopt(fd.as_fd())?;
            Ok(stream)
        };
        let stream = adopt().map_err(|e: io::Error| {
            let action = match e.raw_os_error() {
                Some(libc::ENOTSOCK) => {
                    "take over what is not a socket: use FileDispatcher for files, pipes and \
                     terminals"
                }
                _ => "take over a socket",
            };
            Error::system(action, Some(fd.as_raw_fd()), e)
        })?;
        let socket_type = if stream {
            SocketType::Stream
        } else {
            SocketType::Datagram
        };
        let socket = Self {
            fd,
            socket_type,
            peer: None,
        };
        socket.set_nodelay_if_tcp();
        Ok(socket)
    }

    /// Returns the kind of data that the socket carries.
    #[must_use]
    pub fn socket_type(&self) -> SocketType {
        self.socket_type
    }

    /// Makes a stream socket that listens on an address.
    #[cfg(feature = "coroutines")]
    pub(crate) fn listening(address: &Address, backlog: u32) -> Result<Self> {
        let socket = Self::new(address.family(), SocketType::Stream)?;
        socket.set_reuse_addr()?;
        socket.bind(address)?;
        socket.listen(backlog)?;
        Ok(socket)
    }

    pub(super) fn is_stream(&self) -> bool {
        self.socket_type == SocketType::Stream
    }

    /// Adds what was attempted, and on what, to an error.
    fn context<R>(&self, action: &str, result: io::Result<R>) -> Result<R> {
        result.map_err(|e| Error::system(action, Some(self.fd.as_raw_fd()), e))
    }

    /// Returns the address that the socket is bound to, with the port that the system
    /// chose. See getsockname(2).
    ///
    /// # Errors
    ///
    /// The errors of getsockname(2).
    pub fn local_addr(&self) -> Result<Address> {
        let result = sys::socket::local_address(self.as_fd()).map(Address::from);
        self.context("ask for the socket's address", result)
    }

    /// Returns the address of the peer. See getpeername(2).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the socket is not connected; else the errors of getpeername(2).
    pub fn peer_addr(&self) -> Result<Address> {
        if let Some(peer) = &self.peer {
            return Ok(Address::clone(peer));
        }
        let result = sys::socket::peer_address(self.as_fd()).map(Address::from);
        self.context("ask for the peer's address", result)
    }

    /// Allows binding to an address that was in use a moment ago (`SO_REUSEADDR`). See
    /// socket(7).
    ///
    /// # Errors
    ///
    /// The errors of setsockopt(2).
    pub fn set_reuse_addr(&self) -> Result<()> {
        let result = sys::socket::set_reuse_addr(self.as_fd());
        self.context("set SO_REUSEADDR", result)
    }

    /// Allows several sockets of the same user to bind to one address, if each of them calls this
    /// method before. The kernel distributes new connections among those that listen, and datagrams
    /// likewise: a loop in each thread can have a listener of its own. `SO_REUSEPORT`, or
    /// `SO_REUSEPORT_LB` on FreeBSD. See socket(7).
    ///
    /// # Errors
    ///
    /// `Unsupported` except on Linux, Android, FreeBSD and DragonFly BSD; else the errors of
    /// setsockopt(2).
    pub fn set_reuse_port(&self) -> Result<()> {
        let result = sys::socket::set_reuse_port(self.as_fd());
        self.context("set SO_REUSEPORT", result)
    }

    /// Sets whether data is sent at once (`TCP_NODELAY`), which is the default. If false,
    /// data can wait until the peer has acknowledged earlier data, so that many small sends
    /// share packets. A connection inherits the setting that its listener has when it accepts. See
    /// tcp(7).
    ///
    /// # Errors
    ///
    /// The errors of setsockopt(2), such as the `errno` EOPNOTSUPP for a Unix socket.
    pub fn set_nodelay(&self, nodelay: bool) -> Result<()> {
        let result = sys::socket::set_nodelay(self.as_fd(), nodelay);
        self.context("set TCP_NODELAY", result)
    }

    /// Checks whether data is sent at once: see [`set_nodelay`](Socket::set_nodelay).
    ///
    /// # Errors
    ///
    /// The errors of getsockopt(2), such as the `errno` EOPNOTSUPP for a Unix socket.
    pub fn nodelay(&self) -> Result<bool> {
        let result = sys::socket::nodelay(self.as_fd());
        self.context("ask for TCP_NODELAY", result)
    }

    /// Makes closing the socket reset the connection and discard unsent data
    /// (`SO_LINGER` with a time of zero). See socket(7).
    ///
    /// # Errors
    ///
    /// The errors of setsockopt(2).
    pub fn set_reset_on_close(&self) -> Result<()> {
        let result = sys::socket::set_reset_on_close(self.as_fd());
        self.context("set SO_LINGER", result)
    }

    pub(crate) fn bind(&self, address: &Address) -> Result<()> {
        let raw = address.to_raw();
        let result = raw.and_then(|raw| sys::socket::bind(self.as_fd(), &raw));
        let result = self.context(&format!("bind to {address}"), result);
        result.map_err(|error| match address {
            // The file of a Unix socket outlives the process that made it.
            Address::Path(_) if error.kind() == io::ErrorKind::AddrInUse => {
                error.advise("if no server runs there, remove the file")
            }
            _ => error,
        })
    }

    pub(super) fn listen(&self, backlog: u32) -> Result<()> {
        let result = sys::socket::listen(self.as_fd(), backlog);
        self.context("listen", result)
    }

    pub(crate) fn is_listening(&self) -> bool {
        sys::socket::is_listening(self.as_fd()).unwrap_or(false)
    }

    pub(crate) fn connect(&self, address: &Address) -> io::Result<bool> {
        sys::socket::connect(self.as_fd(), &address.to_raw()?)
    }

    pub(crate) fn accept(&self) -> io::Result<(Self, Address)> {
        let (fd, peer) = sys::socket::accept(self.as_fd())?;
        let peer = Address::from(peer);
        let socket = Self {
            fd,
            socket_type: SocketType::Stream,
            peer: Some(Box::new(peer.clone())),
        };
        Ok((socket, peer))
    }

    pub(super) fn take_peer(&mut self) -> Option<Address> {
        self.peer.take().map(|peer| *peer)
    }

    /// Makes this socket's number refer to `new`, and closes the old socket.
    pub(super) fn replace(&mut self, new: Self) -> io::Result<()> {
        if let Ok(false) = sys::socket::nodelay(self.as_fd()) {
            sys::socket::set_nodelay(new.as_fd(), false)?;
        }
        sys::fd::replace(self.fd.as_fd(), new.fd)?;
        self.socket_type = new.socket_type;
        self.peer = new.peer;
        Ok(())
    }

    /// Takes the pending error of the socket (`SO_ERROR`).
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        sys::socket::take_error(self.as_fd())
    }

    /// Checks a connect in progress. Returns the address of the peer, or `None` while the connect
    /// is in progress.
    pub(super) fn check_connect(&self) -> io::Result<Option<Address>> {
        if let Some(failure) = self.take_error()? {
            return Err(failure);
        }
        match self.peer_addr() {
            Ok(peer) => Ok(Some(peer)),
            Err(_) if !sys::fd::is_writable(self.as_fd()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    #[inline]
    pub(super) fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        sys::socket::recv(self.as_fd(), buf)
    }

    /// Checks whether data can be received now. End of file does not count.
    pub(super) fn has_unread(&self) -> bool {
        sys::socket::peek(self.as_fd(), &mut [0]).is_ok_and(|n| n > 0)
    }

    pub(super) fn recv_oob(&self, buf: &mut [u8]) -> io::Result<usize> {
        sys::socket::recv_oob(self.as_fd(), buf)
    }

    pub(crate) fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, Address)> {
        let (n, sender) = sys::socket::recv_from(self.as_fd(), buf)?;
        Ok((n, sender.into()))
    }

    #[inline]
    pub(super) fn send(&self, data: &[u8]) -> io::Result<usize> {
        sys::socket::send(self.as_fd(), data)
    }

    pub(super) fn send_oob(&self, data: &[u8]) -> io::Result<usize> {
        sys::socket::send_oob(self.as_fd(), data)
    }

    pub(crate) fn send_to(&self, data: &[u8], to: &Address) -> io::Result<usize> {
        sys::socket::send_to(self.as_fd(), data, &to.to_raw()?)
    }

    pub(super) fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        sys::socket::send_vectored(self.as_fd(), bufs)
    }

    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        sys::socket::shutdown_write(self.as_fd())
    }

    pub(super) fn close(self) -> io::Result<()> {
        sys::fd::close(self.fd)
    }

    pub(super) fn forget(self) {
        sys::fd::forget(self.fd);
    }
}
