//! Making and binding sockets.

use std::io;

use super::super::link::Link;
use super::super::socket::{Socket, SocketType};
use super::Endpoint;
use super::state::{Listener, Phase};
use crate::address::{Address, Family, ToAddresses};
use crate::error::{Error, Result};

impl Endpoint {
    /// Returns the transport, or an error that says why the channel has none.
    #[inline]
    pub(super) fn link_for(&mut self, action: &str) -> Result<&mut Link> {
        if self.is_closed() || self.link.is_none() {
            return Err(self.no_link(action, "connect"));
        }
        // Checked above; the borrow checker does not accept a single match.
        self.link.as_mut().ok_or_else(|| Error::other(action))
    }

    /// Makes the error for `action` without a transport. `first` is the method to call before.
    #[cold]
    fn no_link(&self, action: &str, first: &str) -> Error {
        let fd = self.fd;
        let message = if self.is_closed() {
            format!("cannot {action}: the channel of fd {fd} is closed; make a new one")
        } else {
            format!("cannot {action}: the channel has no socket yet: call `{first}` first")
        };
        Error::misuse(io::ErrorKind::NotConnected, message)
    }

    /// Returns the socket, or an error that says why the channel has none.
    pub(super) fn socket_for(&self, action: &str) -> Result<&Socket> {
        let link = match &self.link {
            Some(link) if !self.is_closed() => link,
            _ => return Err(self.no_link(action, "create_socket")),
        };
        link.socket().ok_or_else(|| {
            let fd = self.fd;
            let message =
                format!("cannot {action}: fd {fd} is not a socket, and only a socket can");
            Error::misuse(io::ErrorKind::Unsupported, message)
        })
    }

    /// Refuses an action that needs a socket that is neither connected nor listening.
    pub(super) fn check_unconnected(&self, action: &str) -> Result<()> {
        let state = match self.phase {
            Phase::Idle { .. } | Phase::Unconnected => return Ok(()),
            Phase::Leaving(_) | Phase::Closed => return Err(self.no_link(action, "create_socket")),
            Phase::Listening(_) => "it is listening already",
            Phase::Connecting(_) | Phase::Resolving(_) => "it is connecting already",
            Phase::Announcing { .. } | Phase::Connected if self.socket().is_none() => {
                "it is not a socket"
            }
            Phase::Announcing { .. } | Phase::Connected => "it is connected already",
        };
        Err(Error::misuse(
            io::ErrorKind::AlreadyExists,
            format!(
                "cannot {action} with fd {}: {state}; make a new channel",
                self.fd
            ),
        ))
    }

    /// Makes the socket. [`connect`](Endpoint::connect) does so by itself; this is
    /// for those who want to set something on it before.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the channel has a socket; else as for [`Socket::new`].
    pub fn create_socket(&mut self, family: Family, socket_type: SocketType) -> Result<()> {
        self.set_socket(Socket::new(family, socket_type)?)
    }

    /// Takes ownership of `socket`, which may be connected, listening, or neither.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the channel has a socket; `NotConnected` if it is closed; else the
    /// errors of getpeername(2).
    pub fn set_socket(&mut self, socket: Socket) -> Result<()> {
        self.check_unconnected("take another socket")?;
        if self.link.is_some() {
            let message = format!("the channel has a socket already, fd {}", self.fd);
            return Err(Error::misuse(io::ErrorKind::AlreadyExists, message));
        }
        let stream = socket.is_stream();
        self.take_up(socket)?;
        // A datagram socket receives without being connected.
        if stream && matches!(self.phase, Phase::Unconnected) {
            self.phase = Phase::IDLE;
        }
        Ok(())
    }

    /// Allows binding the socket to an address that was in use a moment ago
    /// (`SO_REUSEADDR`). See socket(7).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel has no socket; else the errors of setsockopt(2).
    pub fn set_reuse_addr(&mut self) -> Result<()> {
        self.socket_for("set SO_REUSEADDR")?.set_reuse_addr()
    }

    /// Allows several sockets to bind to one address, among which the kernel distributes new
    /// connections: see [`Socket::set_reuse_port`]. Call it before [`bind`](Endpoint::bind).
    ///
    /// ```
    /// use fdloop::{Dispatcher, Family, Handler, SocketType};
    ///
    /// struct Server;
    /// impl Handler for Server {}
    ///
    /// # #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))] {
    /// let listen = |address: &str| -> fdloop::Result<_> {
    ///     let mut channel = Dispatcher::unconnected(Server);
    ///     channel.create_socket(Family::Inet, SocketType::Stream)?;
    ///     channel.set_reuse_port()?;
    ///     channel.bind(address)?;
    ///     channel.listen(1024)?;
    ///     Ok(channel)
    /// };
    /// let first = listen("127.0.0.1:0")?;
    /// let second = listen(&first.local_addr()?.to_string())?;
    /// assert_eq!(first.local_addr()?, second.local_addr()?);
    /// # }
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel has no socket; else as for [`Socket::set_reuse_port`].
    pub fn set_reuse_port(&mut self) -> Result<()> {
        self.socket_for("set SO_REUSEPORT")?.set_reuse_port()
    }

    /// Sets whether TCP sends small segments at once (`TCP_NODELAY`): see
    /// [`Socket::set_nodelay`].
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel has no socket; `Unsupported` if its transport is not a
    /// socket; else the errors of setsockopt(2).
    pub fn set_nodelay(&mut self, nodelay: bool) -> Result<()> {
        self.socket_for("set TCP_NODELAY")?.set_nodelay(nodelay)
    }

    /// Binds the socket to an address. If a name resolves to several addresses, the first
    /// is used. See bind(2).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel has no socket; `AlreadyExists` if it is connected;
    /// `InvalidInput` if `address` is not an address; else the errors of bind(2), such as
    /// `AddrInUse`.
    pub fn bind(&mut self, address: impl ToAddresses) -> Result<()> {
        self.check_unconnected("bind")?;
        let addresses = address.to_addresses()?;
        let socket = self.socket_for("bind")?;
        let Some(address) = addresses.into_iter().next() else {
            let message = format!(
                "no address to bind fd {} to: the list of addresses is empty",
                self.fd
            );
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        };
        socket.bind(&address)?;
        self.addr = socket.local_addr().ok().or(Some(address));
        Ok(())
    }

    /// Makes the socket a listener, with a queue of `backlog` connections that are not
    /// accepted yet, or as many as the system allows. See listen(2).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel has no socket; `AlreadyExists` if it is connected;
    /// `Unsupported` if it is a datagram socket; else the errors of listen(2).
    pub fn listen(&mut self, backlog: u32) -> Result<()> {
        self.check_unconnected("listen")?;
        let socket = self.socket_for("listen")?;
        if !socket.is_stream() {
            let message = format!(
                "cannot listen with fd {}: it is a datagram socket, which has no \
                 connections; use recv_from",
                self.fd
            );
            return Err(Error::misuse(io::ErrorKind::Unsupported, message));
        }
        socket.listen(backlog)?;
        self.phase = Phase::Listening(Box::new(Listener::of(socket)));
        Ok(())
    }

    /// Makes a socket that listens on an address, with address reuse.
    pub(in crate::dispatcher) fn listen_on(
        &mut self,
        address: &Address,
        backlog: u32,
    ) -> Result<()> {
        self.create_socket(address.family(), SocketType::Stream)?;
        self.set_reuse_addr()?;
        self.bind(address)?;
        self.listen(backlog)
    }
}
