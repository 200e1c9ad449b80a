//! Sockets in futures: listening, datagrams.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::descriptor::Async;
use super::handle::Handle;
use crate::address::{Address, ToAddresses};
use crate::dispatcher::{BACKLOG, Socket, SocketType};
use crate::error::{Error, Result, is_passing};

/// The time for which a listener waits when descriptors or memory are short.
const PAUSE: Duration = Duration::from_millis(100);

impl Handle {
    /// Makes a stream socket that listens on the first address that can be listened on.
    ///
    /// # Errors
    ///
    /// Those of [`ToAddresses`]; else those of bind(2) and listen(2) for the last address, such as
    /// `AddrInUse`; those of [`Handle::with`].
    pub fn listen(&self, address: impl ToAddresses) -> Result<Listener> {
        let mut failure = Error::other("no address to listen on: the list of addresses is empty");
        for address in address.to_addresses()? {
            match Socket::listening(&address, BACKLOG) {
                Ok(socket) => return Listener::new(self, socket),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Makes a datagram socket that is bound to the first address that can be bound to.
    ///
    /// ```
    /// use fdloop::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.block_on(async move {
    ///     let (one, two) = (handle.bind("127.0.0.1:0")?, handle.bind("127.0.0.1:0")?);
    ///     one.send_to(b"datagram", &two.get_ref().local_addr()?).await?;
    ///     let (n, from) = two.recv_from(&mut [0; 64]).await?;
    ///     assert_eq!((n, from), (8, one.get_ref().local_addr()?));
    ///     Ok::<_, fdloop::Error>(())
    /// })??;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ToAddresses`]; else those of bind(2) for the last address; those of
    /// [`Handle::with`].
    pub fn bind(&self, address: impl ToAddresses) -> Result<Async<Socket>> {
        let mut failure = Error::other("no address to bind to: the list of addresses is empty");
        for address in address.to_addresses()? {
            let socket = Socket::new(address.family(), SocketType::Datagram)?;
            match socket.bind(&address) {
                Ok(()) => return Async::nonblocking(self, socket),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl Async<Socket> {
    /// Receives a datagram. Returns its length and the address of its sender. The part of a
    /// datagram that does not fit into `buf` is lost. See recvfrom(2).
    ///
    /// # Errors
    ///
    /// The errors of recvfrom(2); `NotConnected` if the channel was closed.
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, Address)> {
        let received = self.read_with(|socket| socket.recv_from(buf)).await;
        received.map_err(|e| self.failed("receive a datagram", e))
    }

    /// Sends a datagram, whole. See sendto(2).
    ///
    /// # Errors
    ///
    /// The errors of sendto(2); `NotConnected` if the channel was closed.
    pub async fn send_to(&self, data: &[u8], to: &Address) -> Result<()> {
        let sent = self.write_with(|socket| socket.send_to(data, to)).await;
        sent.map(drop)
            .map_err(|e| self.failed(&format!("send a datagram to {to}"), e))
    }

    fn failed(&self, action: &str, error: io::Error) -> Error {
        Error::system(action, Some(self.as_raw_fd()), error)
    }
}

/// A socket that accepts connections: [`Handle::listen`] returns it.
pub struct Listener {
    socket: Async<Socket>,
    handle: Handle,
    /// True after connections could not be accepted, which was logged.
    refusing: Cell<bool>,
}

impl Listener {
    /// Takes over a socket that listens already.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it does not listen; those of [`Async::over`].
    pub fn new(handle: &Handle, socket: Socket) -> Result<Self> {
        if !socket.is_listening() {
            let fd = socket.as_raw_fd();
            let message = format!("fd {fd} is not listening: use `Handle::listen`");
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        }
        Ok(Self {
            socket: Async::nonblocking(handle, socket)?,
            handle: handle.clone(),
            refusing: Cell::new(false),
        })
    }

    /// Accepts a connection. Returns it with the address of its peer. Several tasks may accept from
    /// one listener.
    ///
    /// Errors of a single connection, such as ECONNABORTED, are skipped. When descriptors or memory
    /// are short (EMFILE, ENFILE, ENOBUFS, ENOMEM), this logs an error once and tries again every
    /// 100 ms; connections wait in the backlog meanwhile.
    ///
    /// # Errors
    ///
    /// Other errors of accept(2); `NotConnected` if the channel was closed; those of
    /// [`Handle::with`].
    pub async fn accept(&self) -> Result<(Async<Socket>, Address)> {
        loop {
            let error = match self.socket.read_with(Socket::accept).await {
                Ok((socket, peer)) => {
                    self.refusing.set(false);
                    return Ok((Async::nonblocking(&self.handle, socket)?, peer));
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EPERM) => {
                    self.pause(&error).await
                }
                Some(errno) if is_passing(errno) => {}
                _ => return Err(self.socket.failed("accept a connection", error)),
            }
        }
    }

    /// Waits, since the listener would be reported as ready again at once.
    async fn pause(&self, error: &io::Error) {
        if !self.refusing.replace(true) {
            log::error!("fd {}: refusing connections: {error}", self.as_raw_fd());
        }
        self.handle.sleep(PAUSE).await;
    }

    /// Returns the address that the socket is bound to: see [`Socket::local_addr`].
    ///
    /// # Errors
    ///
    /// The errors of getsockname(2).
    pub fn local_addr(&self) -> Result<Address> {
        self.socket.get_ref().local_addr()
    }

    /// Returns the socket, to set its options.
    #[must_use]
    pub fn get_ref(&self) -> &Socket {
        self.socket.get_ref()
    }

    /// Closes the channel: calls that wait, and later ones, fail with `NotConnected`.
    pub fn close(&self) {
        self.socket.abort();
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}
