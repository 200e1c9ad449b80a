//! The dispatcher: an endpoint and a handler, served by the loop.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::endpoint::{Duty, Endpoint};
use super::handler::Handler;
use super::io::{Io, View};
use super::socket::{IntoSocket, Socket};
use super::transport::Transport;
use crate::address::ToAddresses;
use crate::error::{Error, Result};
use crate::event_loop::{Channel, EventLoop, Predicates};
use crate::poller::Interest;

/// How many connections may wait to be accepted, unless said otherwise.
const BACKLOG: u32 = 1024;

/// How long a listener that can neither accept nor refuse is left alone.
const PAUSE: Duration = Duration::from_millis(100);

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
#[repr(C)]
pub struct Dispatcher<H> {
    // Side by side with what an event needs of the endpoint.
    handler: H,
    endpoint: Endpoint,
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

    /// Calls a method of the handler. That there is nothing to do now is no error,
    /// and what became due in it must still be done.
    fn call(
        &mut self,
        event_loop: &mut EventLoop,
        method: fn(&mut H, &mut Io<'_>) -> Result<()>,
    ) -> Result<()> {
        self.endpoint.begin_handler();
        let mut io = Io::new(&mut self.endpoint, event_loop);
        let result = method(&mut self.handler, &mut io);
        self.end_call(event_loop, result)
    }

    /// The part of that behind the handler.
    fn end_call(&mut self, event_loop: &mut EventLoop, result: Result<()>) -> Result<()> {
        Io::new(&mut self.endpoint, event_loop).heed_close();
        match result {
            Err(error) if error.would_block() => Ok(()),
            result => result,
        }
    }

    /// A connection that was being made may stand, or have failed. Answers
    /// whether it stands.
    fn connect_event(&mut self, event_loop: &mut EventLoop) -> Result<bool> {
        if !self.endpoint.check_connection()? {
            return Ok(false);
        }
        self.endpoint.begin_connect();
        let result = self.call(event_loop, H::handle_connect);
        self.endpoint.end_connect(result.is_ok());
        result.map(|()| true)
    }

    /// A read event, in all other cases than the usual one.
    #[inline(never)]
    fn unusual_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if !self.endpoint.has_events() {
            return Ok(());
        }
        if self.endpoint.accepting() {
            self.call(event_loop, H::handle_accept)?;
            if self.endpoint.is_paused() {
                event_loop.settle_later(PAUSE);
            }
        } else {
            if self.endpoint.connecting() && !self.connect_event(event_loop)? {
                return self.finish(event_loop);
            }
            if !self.endpoint.is_over() && !self.endpoint.input_ended() {
                self.endpoint.begin_read_event();
                let put_off = self.endpoint.is_broken();
                self.call(event_loop, H::handle_read)?;
                if put_off {
                    self.endpoint.end_read_event();
                }
            }
        }
        self.finish(event_loop)
    }

    /// The end of a usual event that turned out otherwise.
    #[inline(never)]
    fn end_unusual(&mut self, event_loop: &mut EventLoop, result: Result<()>) -> Result<()> {
        self.end_call(event_loop, result)?;
        self.finish(event_loop)
    }

    /// Does what became due while a handler ran.
    #[inline]
    fn finish(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if self.endpoint.is_usual() {
            return Ok(());
        }
        self.perform_duties(event_loop)
    }

    fn perform_duties(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.endpoint.end_of_handler()?;
        self.put_off_close(event_loop);
        // A handler that fills what has drained could go on for ever where all is taken
        // at once. The next drain comes with the next event, so that others have theirs.
        let mut drained = false;
        while let Some(duty) = self.endpoint.take_duty(!drained) {
            match duty {
                Duty::Connect => drop(self.connect_event(event_loop)?),
                Duty::Eof => self.call(event_loop, H::handle_eof)?,
                Duty::Close => self.run_handle_close(event_loop)?,
                Duty::Drain => {
                    drained = true;
                    self.call(event_loop, H::handle_drain)?;
                }
            }
            self.endpoint.end_of_handler()?;
            self.put_off_close(event_loop);
        }
        Ok(())
    }

    /// A send found the connection gone. If something came in before that and is
    /// wanted, the close waits until it is read, and comes with the end of it.
    fn put_off_close(&mut self, event_loop: &EventLoop) {
        if !self.endpoint.is_close_due() || !self.endpoint.may_have_unread() {
            return;
        }
        let view = View::new(&self.endpoint, event_loop);
        if self.endpoint.keeps_unread() || self.handler.readable(&view) {
            self.endpoint.put_off_close();
        }
    }

    /// The end: whatever `handle_close` does, the channel is closed afterwards,
    /// for no handler of it would ever run again.
    fn run_handle_close(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let mut result = self.call(event_loop, H::handle_close);
        if let Err(error) = result {
            result = if error.is_exit() {
                Err(error)
            } else {
                let mut io = Io::new(&mut self.endpoint, event_loop);
                self.handler.handle_error(&mut io, error)
            };
        }
        self.endpoint.close();
        result
    }

    fn wants_to_write(&self, event_loop: &EventLoop) -> bool {
        let endpoint = &self.endpoint;
        if endpoint.is_broken() {
            return false;
        }
        endpoint.has_output()
            || endpoint.is_drain_due()
            || self.handler.writable(&View::new(endpoint, event_loop))
    }
}

impl<H: Handler + 'static> Channel for Dispatcher<H> {
    fn readable(&self, event_loop: &EventLoop) -> bool {
        !self.endpoint.input_ended()
            && self
                .handler
                .readable(&View::new(&self.endpoint, event_loop))
    }

    fn writable(&self, event_loop: &EventLoop) -> bool {
        self.endpoint.connecting() || self.wants_to_write(event_loop)
    }

    fn accepting(&self) -> bool {
        self.endpoint.accepting()
    }

    fn is_closed(&self) -> bool {
        self.endpoint.is_closed()
    }

    fn interest(&self, event_loop: &EventLoop) -> Option<Interest> {
        if self.endpoint.is_usual() {
            let mut interest = Interest::empty();
            let view = View::new(&self.endpoint, event_loop);
            if self.handler.readable(&view) {
                interest |= Interest::READABLE | Interest::PRIORITY;
            }
            if self.endpoint.has_output() || self.handler.writable(&view) {
                interest |= Interest::WRITABLE;
            }
            return Some(interest);
        }
        if self.is_closed() {
            return None;
        }
        let mut interest = Interest::empty();
        if !self.endpoint.has_events() {
            return Some(interest);
        }
        if Channel::readable(self, event_loop) {
            interest |= Interest::READABLE;
            interest.set(Interest::PRIORITY, self.endpoint.wants_priority());
        }
        if !self.accepting() && Channel::writable(self, event_loop) {
            interest |= Interest::WRITABLE;
        }
        Some(interest)
    }

    fn predicates(&self) -> Predicates {
        self.handler.predicates()
    }

    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if self.endpoint.is_usual() {
            self.endpoint.begin_handler();
            let mut io = Io::new(&mut self.endpoint, event_loop);
            let result = self.handler.handle_read(&mut io);
            if result.is_ok() && !event_loop.has_dooms() && self.endpoint.is_usual() {
                return Ok(());
            }
            return self.end_unusual(event_loop, result);
        }
        self.unusual_read_event(event_loop)
    }

    fn handle_write_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if !self.endpoint.has_events() || self.endpoint.accepting() {
            return Ok(());
        }
        if self.endpoint.connecting() {
            let stands = self.connect_event(event_loop)?;
            if !stands || self.endpoint.is_over() || !self.wants_to_write(event_loop) {
                return self.finish(event_loop);
            }
        }
        self.endpoint.begin_write_event();
        self.call(event_loop, H::handle_write)?;
        if !self.endpoint.was_flushed() && !self.endpoint.is_over() {
            self.endpoint.flush()?;
        }
        self.finish(event_loop)
    }

    fn handle_expt_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if !self.endpoint.has_events() {
            return Ok(());
        }
        match self.endpoint.take_socket_error()? {
            Some(error) => self.endpoint.fail(error),
            None => self.call(event_loop, H::handle_expt)?,
        }
        self.finish(event_loop)
    }

    fn handle_close(&mut self, event_loop: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        self.endpoint.end(reason);
        self.finish(event_loop)
    }

    fn handle_error(&mut self, event_loop: &mut EventLoop, error: Error) -> Result<()> {
        if self.endpoint.is_over() {
            log::error!("after the end of the channel ({}): {error}", self.endpoint);
            // Its handle_close may have panicked.
            self.endpoint.close();
            return Ok(());
        }
        self.endpoint.end_connect(false);
        let mut io = Io::new(&mut self.endpoint, event_loop);
        self.handler.handle_error(&mut io, error)?;
        self.finish(event_loop)
    }

    fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.endpoint.begin_handler();
        self.endpoint.resume();
        self.finish(event_loop)
    }

    fn close_descriptor(&mut self) -> Result<()> {
        self.endpoint.close_link()
    }

    fn ends_by_hangup(&mut self) -> bool {
        self.endpoint.ends_by_hangup()
    }

    fn descriptor_lost(&mut self) {
        self.endpoint.forget_link();
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
