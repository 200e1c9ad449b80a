//! The chat: a dispatcher whose handler cuts the input into pieces.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};

use super::bytes::IntoBytes;
use super::handler::ChatHandler;
use super::io::{ChatIo, push, push_with_producer};
use super::pieces::{self, Chat};
use super::terminator::Terminator;
use crate::address::ToAddresses;
use crate::dispatcher::{
    Connection, Dispatcher, DispatcherWithSend, Endpoint, IntoSocket, Producer, Socket, Transport,
};
use crate::error::Result;
use crate::event_loop::{EventLoop, forward_channel};
use crate::resolver::Resolver;

/// A channel for a conversation: its input arrives in pieces that end with a terminator,
/// and its output is queued. asynchat's `async_chat`.
///
/// A piece whose terminator is bytes may have up to 65,536 bytes (64 KiB). For a longer
/// one, [`handle_error`](ChatHandler::handle_error) is called with
/// [`Error::LineTooLong`](crate::Error::LineTooLong), and by default the chat ends.
/// [`set_limit`](AsyncChat::set_limit) changes or removes the limit.
///
/// `AsyncChat` dereferences to its [`Endpoint`]. Within handlers, use [`ChatIo`].
///
/// ```
/// use fdloop::{AsyncChat, ChatHandler, ChatIo, EventLoop, Result};
///
/// struct Greeter;
/// impl ChatHandler for Greeter {
///     fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
///         let line = io.take_data();
///         io.push("hello, ")?;
///         io.push(line)?;
///         io.push("\r\n")?; // the three are sent together
///         io.close_when_done();
///         Ok(())
///     }
/// }
///
/// use std::io::{Read, Write};
/// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
/// let mut chat = AsyncChat::new(ours, Greeter)?;
/// chat.set_terminator("\r\n");
/// let mut event_loop = EventLoop::new()?;
/// event_loop.add(chat)?;
/// theirs.write_all(b"world\r\n")?;
/// event_loop.run()?;
/// let mut reply = String::new();
/// theirs.read_to_string(&mut reply)?;
/// assert_eq!(reply, "hello, world\r\n");
/// # Ok::<(), fdloop::Error>(())
/// ```
#[must_use = "a channel does nothing until it is added to a loop: `event_loop.add(channel)`"]
pub struct AsyncChat<H>(Dispatcher<Chat<H>>);

impl<H: ChatHandler> AsyncChat<H> {
    fn from_dispatcher(dispatcher: DispatcherWithSend<Chat<H>>) -> Self {
        let mut dispatcher = dispatcher.into_inner();
        dispatcher.set_gather();
        Self(dispatcher)
    }

    /// Makes a chat over a socket. Set its terminator before input arrives: without one,
    /// all input is collected and [`found_terminator`](ChatHandler::found_terminator) is
    /// not called. If input arrives and no terminator was ever set, not even
    /// [`Terminator::none`], a warning is logged once.
    ///
    /// # Errors
    ///
    /// As for [`Dispatcher::new`].
    pub fn new(socket: impl IntoSocket, handler: H) -> Result<Self> {
        DispatcherWithSend::new(socket, Chat::new(handler)).map(Self::from_dispatcher)
    }

    /// Makes a listener with the handler of a chat, for programs that have one handler for
    /// both, as in asynchat. [`handle_accepted`](ChatHandler::handle_accepted) is called
    /// with each connection. If the listener has a handler of its own, use a
    /// [`Dispatcher`].
    ///
    /// # Errors
    ///
    /// As for [`Dispatcher::listen`].
    pub fn listen(address: impl ToAddresses, handler: H) -> Result<Self> {
        Dispatcher::listen(address, Chat::new(handler)).map(Self)
    }

    /// Makes a chat that connects to `address`: see [`Endpoint::connect`].
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::connect`].
    pub fn connect(address: impl ToAddresses, handler: H) -> Result<Self> {
        DispatcherWithSend::connect(address, Chat::new(handler)).map(Self::from_dispatcher)
    }

    /// Makes a chat that connects to a name, which a thread resolves: see
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
        let chat = Chat::new(handler);
        DispatcherWithSend::connect_by_name(resolver, name, chat).map(Self::from_dispatcher)
    }

    /// Makes a chat over any other transport, such as a
    /// [`FileWrapper`](crate::FileWrapper).
    pub fn over(transport: impl Transport, handler: H) -> Self {
        Self::from_dispatcher(DispatcherWithSend::over(transport, Chat::new(handler)))
    }

    /// Makes a chat over the connection of another channel, which it
    /// [replaces](crate::Io::replace): with the input that the other one has not handled, and the
    /// output that it has not written.
    pub fn from_connection(connection: Connection, handler: H) -> Self {
        let chat = Chat::new(handler);
        Self::from_dispatcher(DispatcherWithSend::from_connection(connection, chat))
    }

    /// Makes a chat without a socket, so that socket options can be set before it
    /// [connects](Endpoint::connect).
    pub fn unconnected(handler: H) -> Self {
        Self::from_dispatcher(DispatcherWithSend::unconnected(Chat::new(handler)))
    }

    /// Returns the handler.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.0.handler().handler
    }

    /// Returns the handler.
    #[must_use]
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.0.handler_mut().handler
    }

    /// Closes the descriptor and returns the handler.
    #[must_use]
    pub fn into_handler(self) -> H {
        self.0.into_handler().handler
    }

    /// Returns the socket and the handler, so that something other than a chat can go on
    /// with the connection. The socket is `None` if the chat has none, or is closed.
    /// Queued output is dropped, so wait until [`pending`](Endpoint::pending) is 0. Take
    /// received input with [`take_input`](AsyncChat::take_input) before.
    ///
    /// ```
    /// use fdloop::{AsyncChat, ChatHandler, ChatIo, EventLoop, Result, Terminator};
    /// use std::io::Write;
    ///
    /// /// Waits for the line after which the peer speaks another protocol.
    /// struct BeforeUpgrade;
    /// impl ChatHandler for BeforeUpgrade {
    ///     fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
    ///         if io.take_data() == b"UPGRADE" {
    ///             // The bytes that follow are not lines, and not for this handler.
    ///             io.set_terminator(Terminator::none());
    ///             io.event_loop().stop();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let mut chat = AsyncChat::new(ours, BeforeUpgrade)?;
    /// chat.set_terminator("\n");
    /// let mut event_loop = EventLoop::new()?;
    /// let id = event_loop.add(chat)?;
    /// theirs.write_all(b"UPGRADE\nhello")?;
    /// event_loop.run()?;
    ///
    /// let mut chat = event_loop.remove(id).unwrap();
    /// let received = chat.take_input();
    /// let (socket, BeforeUpgrade) = chat.into_parts();
    /// // Now a handler of the other protocol can go on with both.
    /// assert_eq!(received, b"hello");
    /// assert!(socket.is_some());
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (Option<Socket>, H) {
        let (socket, chat) = self.0.into_parts();
        (socket, chat.handler)
    }

    /// Takes the received bytes of a piece that is not complete: the bytes that
    /// [`ChatIo::collect`] gathered, those held back because they may be the beginning of
    /// a terminator, and those not scanned yet.
    ///
    /// After a change to TLS in the middle of a connection, as by STARTTLS, drop these
    /// bytes: they were received in clear text, and an attacker may have sent them.
    #[must_use]
    pub fn take_input(&mut self) -> Vec<u8> {
        self.0.handler_mut().state.take_input()
    }

    /// Calls `visit` as though it were one of the handler's methods: see
    /// [`Dispatcher::enter`].
    ///
    /// # Errors
    ///
    /// Any error that `visit` returns.
    pub fn enter<R>(
        &mut self,
        event_loop: &mut EventLoop,
        visit: impl FnOnce(&mut H, &mut ChatIo<'_>) -> Result<R>,
    ) -> Result<R> {
        self.0.enter(event_loop, |chat, io| chat.call(io, visit))
    }

    /// Queues `data` for output: see [`ChatIo::push`]. It is written before the loop next
    /// waits.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`].
    pub fn push<'d>(&mut self, data: impl IntoBytes<'d>) -> Result<()> {
        push(&mut self.0, data)
    }

    /// Queues a producer for output: see [`ChatIo::push_with_producer`].
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`].
    pub fn push_with_producer(&mut self, producer: impl Producer) -> Result<()> {
        push_with_producer(&mut self.0, producer)
    }

    /// Sets the terminator of the input: see [`ChatIo::set_terminator`].
    pub fn set_terminator(&mut self, terminator: impl Into<Terminator>) {
        let state = &mut self.0.handler_mut().state;
        state.set_terminator(terminator.into());
    }

    /// Returns the terminator: see [`ChatIo::get_terminator`].
    #[must_use]
    pub fn get_terminator(&self) -> &Terminator {
        self.0.handler().state.scanner.terminator()
    }

    /// Sets the most bytes that a piece may have if its terminator is bytes: 65,536
    /// (64 KiB) unless set, and `None` for no limit. See [`ChatIo::set_limit`].
    pub fn set_limit(&mut self, bytes: impl Into<Option<usize>>) {
        self.0.handler_mut().state.limit = bytes.into();
    }

    /// Sets how many bytes are received at once: see [`ChatIo::set_in_buffer_size`].
    pub fn set_in_buffer_size(&mut self, bytes: usize) {
        self.0.handler_mut().state.in_buffer_size = bytes.max(1);
    }

    /// Drops all received input and all queued output: see [`ChatIo::discard_buffers`].
    pub fn discard_buffers(&mut self) {
        self.0.discard_output();
        let state = &mut self.0.handler_mut().state;
        state.discard();
        if state.scanner.has_found() {
            // The handler was not called for this end, and its piece is dropped.
            state.scanner.end_found();
            state.end_piece();
        }
    }
}

forward_channel!(AsyncChat<H: ChatHandler + 'static>, settle: pieces::settle);

impl<H> Deref for AsyncChat<H> {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

impl<H> DerefMut for AsyncChat<H> {
    fn deref_mut(&mut self) -> &mut Endpoint {
        &mut self.0
    }
}

impl<H> AsRawFd for AsyncChat<H> {
    /// Returns the number of the descriptor, or -1 without one.
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<H> fmt::Debug for AsyncChat<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncChat").field(&**self).finish()
    }
}
