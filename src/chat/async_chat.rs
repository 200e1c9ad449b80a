//! The chat: a dispatcher whose handler cuts its input into pieces.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use log::Level;

use super::bytes::IntoBytes;
use super::handler::ChatHandler;
use super::io::{ChatIo, State, push, push_with_producer};
use super::scanner::Step;
use super::terminator::Terminator;
use crate::address::ToAddresses;
use crate::dispatcher::{
    Dispatcher, DispatcherWithSend, Endpoint, Handler, IntoSocket, Io, Producer, Transport, View,
};
use crate::error::{Error, Result};
use crate::event_loop::{EventLoop, Predicates, forward_channel};

/// A channel for a conversation: its input comes in pieces that end with a
/// terminator, and its output waits its turn. asynchat's `async_chat`.
///
/// It dereferences to its [`Endpoint`]; within handlers all is on [`ChatIo`].
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
///         io.push("\r\n")?; // the three leave together
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
/// let mut answer = String::new();
/// theirs.read_to_string(&mut answer)?;
/// assert_eq!(answer, "hello, world\r\n");
/// # Ok::<(), fdloop::Error>(())
/// ```
pub struct AsyncChat<H>(Dispatcher<Chat<H>>);

impl<H: ChatHandler> AsyncChat<H> {
    fn from_dispatcher(dispatcher: DispatcherWithSend<Chat<H>>) -> Self {
        let mut dispatcher = dispatcher.into_inner();
        dispatcher.set_gather();
        Self(dispatcher)
    }

    /// A chat over a socket. It has no terminator yet.
    ///
    /// # Errors
    ///
    /// As for [`Dispatcher::new`].
    pub fn new(socket: impl IntoSocket, handler: H) -> Result<Self> {
        DispatcherWithSend::new(socket, Chat::new(handler)).map(Self::from_dispatcher)
    }

    /// A chat over a connection that is to be made; see [`Endpoint::connect`].
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::connect`].
    pub fn connect(address: impl ToAddresses, handler: H) -> Result<Self> {
        DispatcherWithSend::connect(address, Chat::new(handler)).map(Self::from_dispatcher)
    }

    /// A chat over any other transport, such as a
    /// [`FileWrapper`](crate::FileWrapper).
    pub fn over(transport: impl Transport, handler: H) -> Self {
        Self::from_dispatcher(DispatcherWithSend::over(transport, Chat::new(handler)))
    }

    /// A chat that has no socket yet: for those who want to set something on one
    /// before it [connects](Endpoint::connect).
    pub fn unconnected(handler: H) -> Self {
        Self::from_dispatcher(DispatcherWithSend::unconnected(Chat::new(handler)))
    }

    /// The handler.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.0.handler().handler
    }

    /// The handler.
    #[must_use]
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.0.handler_mut().handler
    }

    /// Gives the handler back, and closes the descriptor.
    #[must_use]
    pub fn into_handler(self) -> H {
        self.0.into_handler().handler
    }

    /// Calls `visit` as though it were one of the handler's methods: see
    /// [`Dispatcher::enter`].
    ///
    /// # Errors
    ///
    /// What `visit` returned.
    pub fn enter<R>(
        &mut self,
        event_loop: &mut EventLoop,
        visit: impl FnOnce(&mut H, &mut ChatIo<'_>) -> Result<R>,
    ) -> Result<R> {
        self.0.enter(event_loop, |chat, io| chat.call(io, visit))
    }

    /// See [`ChatIo::push`]. It leaves before the loop next waits.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`].
    pub fn push<'d>(&mut self, data: impl IntoBytes<'d>) -> Result<()> {
        push(&mut self.0, data)
    }

    /// See [`ChatIo::push_with_producer`].
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`].
    pub fn push_with_producer(&mut self, producer: impl Producer) -> Result<()> {
        push_with_producer(&mut self.0, producer)
    }

    /// See [`ChatIo::set_terminator`].
    pub fn set_terminator(&mut self, terminator: impl Into<Terminator>) {
        let scanner = &mut self.0.handler_mut().state.scanner;
        scanner.set_terminator(terminator.into());
    }

    /// See [`ChatIo::get_terminator`].
    #[must_use]
    pub fn get_terminator(&self) -> &Terminator {
        self.0.handler().state.scanner.terminator()
    }

    /// See [`ChatIo::set_limit`].
    pub fn set_limit(&mut self, bytes: impl Into<Option<usize>>) {
        self.0.handler_mut().state.set_limit(bytes.into());
    }

    /// See [`ChatIo::set_in_buffer_size`].
    pub fn set_in_buffer_size(&mut self, bytes: usize) {
        self.0.handler_mut().state.in_buffer_size = bytes.max(1);
    }

    /// See [`ChatIo::discard_buffers`].
    pub fn discard_buffers(&mut self) {
        self.0.discard_output();
        self.0.handler_mut().state.discard();
    }
}

/// The handler of a chat's dispatcher.
struct Chat<H> {
    state: State,
    handler: H,
}

impl<H: ChatHandler> Chat<H> {
    fn new(handler: H) -> Self {
        Self {
            state: State::default(),
            handler,
        }
    }

    fn call<R>(&mut self, io: &mut Io<'_>, method: impl FnOnce(&mut H, &mut ChatIo<'_>) -> R) -> R {
        let result = method(
            &mut self.handler,
            &mut ChatIo::new(io.reborrow(), &mut self.state),
        );
        io.heed_close();
        result
    }

    /// Cuts input into pieces. What comes after the channel's end, or after the
    /// buffers were discarded, is dropped; what
    /// comes after an error that leaves the handler is kept, should the channel go
    /// on.
    fn scan(&mut self, io: &mut Io<'_>, mut data: &[u8]) -> Result<()> {
        self.state.discarded = false;
        loop {
            let held = self.state.scanner.take_unscanned();
            if held.is_empty() {
                break;
            }
            let mut rest = &held[..];
            let result = self.scan_or_keep(io, &mut rest);
            if result.is_err() {
                self.state.scanner.put_unscanned(data);
                self.state.scanner.put_unscanned(rest);
                return result;
            }
        }
        let result = self.scan_or_keep(io, &mut data);
        if result.is_err() {
            self.state.scanner.put_unscanned(data);
        }
        result
    }

    /// Scans `data`; a panic of a handler leaves the rest of it to be scanned later.
    fn scan_or_keep(&mut self, io: &mut Io<'_>, data: &mut &[u8]) -> Result<()> {
        let scanned = catch_unwind(AssertUnwindSafe(|| self.scan_slice(io, data)));
        scanned.unwrap_or_else(|panic| {
            self.state.scanner.put_unscanned(data);
            resume_unwind(panic)
        })
    }

    fn scan_slice(&mut self, io: &mut Io<'_>, data: &mut &[u8]) -> Result<()> {
        while !io.is_ending()
            && !self.state.discarded
            && let Some(step) = self.state.scanner.step(data)
        {
            if let Step::Collect(piece) = &step {
                let result = self.collect(io, piece);
                self.handle_failure(io, result)?;
                if !self.state.scanner.found() || io.is_ending() {
                    continue;
                }
                self.state.scanner.take_found();
            }
            if self.state.end_piece() {
                let result = self.call(io, H::found_terminator);
                self.handle_failure(io, result)?;
            }
        }
        Ok(())
    }

    /// Gives an error to `handle_error` here and not by way of the loop, for there
    /// may be more to scan, and nothing else may come that would wake the channel
    /// for it.
    #[inline]
    fn handle_failure(&mut self, io: &mut Io<'_>, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.report(io, error),
        }
    }

    #[cold]
    fn report(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        // After the end, nobody hears of it.
        if error.is_exit() || error.is_disconnected() || io.is_over() {
            return Err(error);
        }
        if error.would_block() {
            return Ok(());
        }
        self.call(io, |handler, io| handler.handle_error(io, error))
    }

    #[inline]
    fn collect(&mut self, io: &mut Io<'_>, piece: &[u8]) -> Result<()> {
        if self.state.too_long {
            return Ok(());
        }
        match self.state.count(piece.len()) {
            None => self.call(io, |handler, io| handler.collect_incoming_data(io, piece)),
            Some(limit) => {
                self.state.too_long = true;
                Err(Error::LineTooLong(limit))
            }
        }
    }
}

impl<H: ChatHandler> Handler for Chat<H> {
    fn readable(&self, io: &View<'_>) -> bool {
        self.handler.readable(io)
    }

    fn predicates(&self) -> Predicates {
        self.handler.predicates()
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let size = self.state.in_buffer_size;
        let mut buffer = io.event_loop().lend_buffer(size);
        let received = io.recv(&mut buffer[..size]);
        let result = received.and_then(|n| match n {
            0 => Ok(()),
            n => self.scan(io, &buffer[..n]),
        });
        io.event_loop().return_buffer(buffer);
        result
    }

    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call(io, H::handle_drain)
    }

    fn handle_expt(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call(io, H::handle_expt)
    }

    fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call(io, H::handle_connect)
    }

    fn handle_accept(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call(io, H::handle_accept)
    }

    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        if self.state.scanner.take_interrupted() {
            self.scan(io, &[])?;
        }
        let held = self.state.scanner.take_held();
        if !held.is_empty() && !io.is_ending() {
            let result = self.collect(io, &held);
            self.handle_failure(io, result)?;
        }
        if io.is_ending() {
            return Ok(());
        }
        self.call(io, H::handle_eof)
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call(io, H::handle_close)
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        self.call(io, |handler, io| handler.handle_error(io, error))
    }

    fn log_info(&mut self, io: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        self.call(io, |handler, io| handler.log_info(io, message, level))
    }
}

forward_channel!(AsyncChat<H: ChatHandler + 'static>);

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
    /// The number of the descriptor, or -1 if there is none.
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<H> fmt::Debug for AsyncChat<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncChat").field(&**self).finish()
    }
}
