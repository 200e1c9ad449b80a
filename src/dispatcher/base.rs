//! The dispatcher: an endpoint and a handler.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};

use super::endpoint::Endpoint;
use super::handler::Handler;
use super::io::Io;
use super::socket::{IntoSocket, Socket};
use super::transport::Transport;
use crate::address::ToAddresses;
use crate::error::{Error, Result};
use crate::event_loop::EventLoop;
use crate::resolver::Resolver;

/// Default limit of connections that are not accepted yet.
pub(crate) const BACKLOG: u32 = 1024;

/// A channel over a socket, with a [`Handler`] for its events. asyncore's `dispatcher`.
///
/// It sends as much as there is room for, and buffers nothing. For a channel with an output
/// buffer, see [`DispatcherWithSend`](crate::DispatcherWithSend). It dereferences to its
/// [`Endpoint`], which has the methods. Handlers call them on [`Io`].
///
/// ```
/// use fdloop::{Address, Dispatcher, EventLoop, Handler, Io, Result, Socket};
///
/// struct Greeter;
/// impl Handler for Greeter {
///     fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
///         let mut stream = std::net::TcpStream::from(socket);
///         std::io::Write::write_all(&mut stream, b"hello\n")?;
///         io.close(); // one is enough
///         Ok(())
///     }
/// }
///
/// let mut event_loop = EventLoop::new()?;
/// let server = event_loop.add(Dispatcher::listen("127.0.0.1:0", Greeter)?)?;
/// let address = event_loop.get(server).unwrap().local_addr()?;
/// let client = std::thread::spawn(move || {
///     let stream = std::net::TcpStream::connect(("127.0.0.1", address.port().unwrap()))?;
///     std::io::read_to_string(stream)
/// });
/// event_loop.run()?;
/// assert_eq!(client.join().unwrap()?, "hello\n");
/// # Ok::<(), fdloop::Error>(())
/// ```
#[must_use = "a channel does nothing until it is added to a loop: `event_loop.add(channel)`"]
#[repr(C)]
pub struct Dispatcher<H> {
    // Next to the fields of the endpoint that each event needs.
    pub(super) handler: H,
    pub(super) endpoint: Endpoint,
}

impl<H: Handler> Dispatcher<H> {
    /// Makes a dispatcher over a socket, which may be connected, listening, or neither.
    ///
    /// # Errors
    ///
    /// As for [`Socket::adopt`]; the socket is closed.
    pub fn new(socket: impl IntoSocket, handler: H) -> Result<Self> {
        let endpoint = Endpoint::adopt(socket.into_socket()?, false)?;
        Ok(Self { endpoint, handler })
    }

    /// Makes a dispatcher over a transport of your own.
    pub fn over(transport: impl Transport, handler: H) -> Self {
        let endpoint = Endpoint::over(Box::new(transport), false);
        Self { endpoint, handler }
    }

    /// Makes a dispatcher that listens on a new stream socket. The socket is bound to the
    /// first address that can be bound, with `SO_REUSEADDR`. Its backlog is 1,024
    /// connections, or the system's limit if that is lower.
    ///
    /// # Errors
    ///
    /// The errors of [`ToAddresses`]; else those of bind(2) and listen(2) for the last
    /// address, such as `AddrInUse` or `PermissionDenied`.
    pub fn listen(address: impl ToAddresses, handler: H) -> Result<Self> {
        let mut failure = Error::other("no address to listen on: the list of addresses is empty");
        for address in address.to_addresses()? {
            let mut endpoint = Endpoint::unconnected(false);
            match endpoint.listen_on(&address, BACKLOG) {
                Ok(()) => return Ok(Self { endpoint, handler }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Makes a dispatcher that connects a new stream socket: see [`Endpoint::connect`].
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::connect`].
    pub fn connect(address: impl ToAddresses, handler: H) -> Result<Self> {
        let mut endpoint = Endpoint::unconnected(false);
        endpoint.connect(address)?;
        Ok(Self { endpoint, handler })
    }

    /// Makes a dispatcher that connects a new stream socket to a name, which a thread resolves: see
    /// [`Endpoint::connect_by_name`].
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::connect_by_name`].
    pub fn connect_by_name(
        resolver: &Resolver,
        name: impl Into<String>,
        handler: H,
    ) -> Result<Self> {
        let mut endpoint = Endpoint::unconnected(false);
        endpoint.connect_by_name(resolver, name)?;
        Ok(Self { endpoint, handler })
    }

    /// Makes a dispatcher without a socket. It must get one before it is added to a loop: see
    /// [`Endpoint::create_socket`] and [`Endpoint::connect`].
    pub fn unconnected(handler: H) -> Self {
        Self::from_endpoint(Endpoint::unconnected(false), handler)
    }

    /// Makes a dispatcher over an endpoint, for the other types of dispatcher.
    pub(super) fn from_endpoint(endpoint: Endpoint, handler: H) -> Self {
        Self { endpoint, handler }
    }

    /// Returns the handler.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Returns the handler.
    #[must_use]
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Closes the descriptor, and returns the handler.
    #[must_use]
    pub fn into_handler(self) -> H {
        self.handler
    }

    /// Returns the socket and the handler. The socket is `None` if the channel has none, or
    /// has given it up.
    #[must_use]
    pub fn into_parts(self) -> (Option<Socket>, H) {
        (self.endpoint.into_socket(), self.handler)
    }

    /// Calls `visit` with the handler and an [`Io`], like one of the handler's methods. Duties
    /// that become due in `visit` are done after it returns. For use within
    /// [`EventLoop::with`].
    ///
    /// # Errors
    ///
    /// Those of `visit`.
    pub fn enter<R>(
        &mut self,
        event_loop: &mut EventLoop,
        visit: impl FnOnce(&mut H, &mut Io<'_>) -> Result<R>,
    ) -> Result<R> {
        self.endpoint.begin_handler();
        let mut io = Io::new(&mut self.endpoint, event_loop);
        visit(&mut self.handler, &mut io)
    }
}

impl<H> AsRawFd for Dispatcher<H> {
    /// Returns the number of the descriptor, or -1 if the channel has none.
    fn as_raw_fd(&self) -> RawFd {
        self.endpoint.raw_fd()
    }
}

impl<H> Deref for Dispatcher<H> {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl<H> DerefMut for Dispatcher<H> {
    fn deref_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }
}

impl<H> fmt::Debug for Dispatcher<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dispatcher").field(&self.endpoint).finish()
    }
}
