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

/// How many connections may wait to be accepted, unless said otherwise.
const BACKLOG: u32 = 1024;

/// A channel over a socket whose events reach a [`Handler`]. asyncore's
/// `dispatcher`.
///
/// It sends what there is room for and keeps nothing: for a channel that keeps
/// its output until it can be written, see
/// [`DispatcherWithSend`](crate::DispatcherWithSend). It dereferences to its
/// [`Endpoint`], which has the methods; within handlers they are on [`Io`].
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
    // Side by side with what an event needs of the endpoint.
    pub(super) handler: H,
    pub(super) endpoint: Endpoint,
}

impl<H: Handler> Dispatcher<H> {
    /// A dispatcher over a socket, which may be connected, listening, or neither.
    ///
    /// # Errors
    ///
    /// As for [`Socket::adopt`]; the socket is closed.
    pub fn new(socket: impl IntoSocket, handler: H) -> Result<Self> {
        let endpoint = Endpoint::adopt(socket.into_socket()?, false)?;
        Ok(Self { endpoint, handler })
    }

    /// A dispatcher over a transport of your own.
    pub fn over(transport: impl Transport, handler: H) -> Self {
        let endpoint = Endpoint::over(Box::new(transport), false);
        Self { endpoint, handler }
    }

    /// A dispatcher that listens on a stream socket of its own, bound to the first
    /// of the addresses that can be bound, with address reuse and room for 1,024
    /// connections that are not accepted yet (or as many as the system allows).
    ///
    /// # Errors
    ///
    /// What [`ToAddresses`] answers, and what bind(2) and listen(2) answer for the
    /// last address, such as `AddrInUse` or `PermissionDenied`.
    pub fn listen(address: impl ToAddresses, handler: H) -> Result<Self> {
        let mut failure = Error::other("there is no address to listen on");
        for address in address.to_addresses()? {
            let mut endpoint = Endpoint::unconnected(false);
            match endpoint.listen_on(&address, BACKLOG) {
                Ok(()) => return Ok(Self { endpoint, handler }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A dispatcher that connects a stream socket of its own: see
    /// [`Endpoint::connect`].
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::connect`].
    pub fn connect(address: impl ToAddresses, handler: H) -> Result<Self> {
        let mut endpoint = Endpoint::unconnected(false);
        endpoint.connect(address)?;
        Ok(Self { endpoint, handler })
    }

    /// A dispatcher that has no socket yet; see [`Endpoint::create_socket`] and
    /// [`Endpoint::connect`]. It must have one before it is added to a loop.
    pub fn unconnected(handler: H) -> Self {
        Self::from_endpoint(Endpoint::unconnected(false), handler)
    }

    /// A dispatcher over an endpoint that one of its kin has made.
    pub(crate) fn from_endpoint(endpoint: Endpoint, handler: H) -> Self {
        Self { endpoint, handler }
    }

    /// The handler.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The handler.
    #[must_use]
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Gives the handler back, and closes the descriptor.
    #[must_use]
    pub fn into_handler(self) -> H {
        self.handler
    }

    /// Gives the socket back, if there is one and it was not given up, and the
    /// handler.
    #[must_use]
    pub fn into_parts(self) -> (Option<Socket>, H) {
        (self.endpoint.into_socket(), self.handler)
    }

    /// Calls `visit` as though it were one of the handler's methods, with an
    /// [`Io`]. What becomes due in it is done when it returns. For use within
    /// [`EventLoop::with`].
    ///
    /// # Errors
    ///
    /// What `visit` returned.
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
    /// The number of the descriptor, or -1 if there is none.
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
