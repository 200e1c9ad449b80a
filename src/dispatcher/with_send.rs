//! The dispatcher with an output buffer.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};

use super::base::Dispatcher;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::handler::Handler;
use super::socket::IntoSocket;
use super::transport::Transport;
use crate::address::ToAddresses;
use crate::error::Result;
use crate::event_loop::forward_channel;
use crate::resolver::Resolver;

/// A [`Dispatcher`] with an output buffer. asyncore's `dispatcher_with_send`.
///
/// `send` takes all data: it writes as much as there is room for at once, and buffers the rest
/// until there is room. A reply that fits costs no more system calls than without a buffer. It
/// dereferences to the dispatcher.
///
/// ```
/// use fdloop::{DispatcherWithSend, EventLoop, Handler, Socket};
/// # struct Quiet;
/// # impl Handler for Quiet {}
/// # fn main() -> fdloop::Result<()> {
/// let (ours, theirs) = Socket::pair()?;
/// let mut channel = DispatcherWithSend::new(ours, Quiet)?;
/// let megabytes = vec![b'x'; 4 << 20];
/// assert_eq!(channel.send(&megabytes)?, megabytes.len());
/// assert!(channel.pending() > 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a channel does nothing until it is added to a loop: `event_loop.add(channel)`"]
pub struct DispatcherWithSend<H>(Dispatcher<H>);

impl<H: Handler> DispatcherWithSend<H> {
    /// Makes a dispatcher as [`Dispatcher::new`] does, with a buffer.
    ///
    /// # Errors
    ///
    /// As for [`Dispatcher::new`].
    pub fn new(socket: impl IntoSocket, handler: H) -> Result<Self> {
        let endpoint = Endpoint::adopt(socket.into_socket()?, true)?;
        Ok(Self(Dispatcher::from_endpoint(endpoint, handler)))
    }

    /// Makes a dispatcher as [`Dispatcher::over`] does, with a buffer.
    pub fn over(transport: impl Transport, handler: H) -> Self {
        let endpoint = Endpoint::over(Box::new(transport), true);
        Self(Dispatcher::from_endpoint(endpoint, handler))
    }

    /// Makes a dispatcher over the connection of another channel, which it
    /// [replaces](crate::Io::replace): with the input that the other one has not handled, and the
    /// output that it has not written.
    pub fn from_connection(connection: Connection, handler: H) -> Self {
        let endpoint = Endpoint::from_connection(connection);
        Self(Dispatcher::from_endpoint(endpoint, handler))
    }

    /// Makes a dispatcher as [`Dispatcher::connect`] does, with a buffer: data sent before the
    /// connection is established is buffered.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::connect`].
    pub fn connect(address: impl ToAddresses, handler: H) -> Result<Self> {
        let mut endpoint = Endpoint::unconnected(true);
        endpoint.connect(address)?;
        Ok(Self(Dispatcher::from_endpoint(endpoint, handler)))
    }

    /// Makes a dispatcher as [`Dispatcher::connect_by_name`] does, with a buffer: data sent before
    /// the connection is established is buffered.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::connect_by_name`].
    pub fn connect_by_name(
        resolver: &Resolver,
        name: impl Into<String>,
        handler: H,
    ) -> Result<Self> {
        let mut endpoint = Endpoint::unconnected(true);
        endpoint.connect_by_name(resolver, name)?;
        Ok(Self(Dispatcher::from_endpoint(endpoint, handler)))
    }

    /// Makes a dispatcher without a socket, for a program that sets options on the socket
    /// before it [connects](Endpoint::connect).
    pub fn unconnected(handler: H) -> Self {
        let endpoint = Endpoint::unconnected(true);
        Self(Dispatcher::from_endpoint(endpoint, handler))
    }

    /// Stops the channel from reading while its own output is congested: see
    /// [`Endpoint::set_backpressure`].
    pub fn with_backpressure(mut self) -> Self {
        self.set_backpressure(true);
        self
    }

    /// Returns the dispatcher.
    pub fn into_inner(self) -> Dispatcher<H> {
        self.0
    }
}

forward_channel!(DispatcherWithSend<H: Handler + 'static>);

impl<H> Deref for DispatcherWithSend<H> {
    type Target = Dispatcher<H>;

    fn deref(&self) -> &Dispatcher<H> {
        &self.0
    }
}

impl<H> DerefMut for DispatcherWithSend<H> {
    fn deref_mut(&mut self) -> &mut Dispatcher<H> {
        &mut self.0
    }
}

impl<H> AsRawFd for DispatcherWithSend<H> {
    /// Returns the number of the descriptor, or -1 if the channel has none.
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<H> fmt::Debug for DispatcherWithSend<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DispatcherWithSend").field(&**self).finish()
    }
}
