//! The arguments of handlers and predicates.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

use super::connection::Connection;
use super::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::event_loop::{AnyId, EventLoop};

/// Upper bound on the bytes received at once: more than a socket usually holds.
const MOST: usize = 1 << 20;

/// The argument of handlers: the loop, and the handler's own channel. It dereferences to
/// the channel's [`Endpoint`], which has the methods.
pub struct Io<'a> {
    endpoint: &'a mut Endpoint,
    event_loop: &'a mut EventLoop,
}

impl<'a> Io<'a> {
    pub(super) fn new(endpoint: &'a mut Endpoint, event_loop: &'a mut EventLoop) -> Self {
        Self {
            endpoint,
            event_loop,
        }
    }

    /// Reborrows.
    pub(crate) fn reborrow(&mut self) -> Io<'_> {
        Io::new(self.endpoint, self.event_loop)
    }

    /// Returns the endpoint and the loop separately.
    pub(super) fn parts(&mut self) -> (&mut Endpoint, &mut EventLoop) {
        (self.endpoint, self.event_loop)
    }

    /// Returns the loop, to add, reach and close other channels, and to stop it. While a
    /// handler runs, its own channel is not in the loop's map.
    pub fn event_loop(&mut self) -> &mut EventLoop {
        self.event_loop
    }

    /// Returns the id of the channel whose handler runs, for a handler that passes it to
    /// others.
    ///
    /// Within [`Dispatcher::enter`](crate::Dispatcher::enter) outside of [`EventLoop::with`],
    /// the id refers to no channel.
    ///
    /// ```
    /// use fdloop::{AnyId, Dispatcher, EventLoop, Handler, Io, Result, Socket};
    ///
    /// struct Named(Option<AnyId>);
    /// impl Handler for Named {
    ///     fn handle_write(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         self.0 = Some(io.id());
    ///         io.event_loop().stop();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (ours, _theirs) = Socket::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let id = event_loop.add(Dispatcher::new(ours, Named(None))?)?;
    /// event_loop.run()?;
    /// assert_eq!(event_loop.get(id).unwrap().handler().0, Some(id.into()));
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> AnyId {
        self.event_loop.serving_id().unwrap_or(AnyId::NOTHING)
    }

    /// Receives at most `size` bytes, and at most 1,048,576, into a buffer that all channels
    /// of the loop share. Calls `take` with the received bytes: with none if
    /// [`recv`](Endpoint::recv) returns 0.
    ///
    /// This saves the zeroing of an array for each event, and the memory of a vector for each
    /// idle channel. The loop's buffer keeps the length of the largest `size` so far. (A
    /// re-entrant call, while `take` runs for another handler, allocates and zeroes another
    /// buffer.)
    ///
    /// ```
    /// use fdloop::{DispatcherWithSend, EventLoop, Handler, Io, Result};
    ///
    /// struct Shout;
    /// impl Handler for Shout {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         io.recv_with(65_536, |io, data| {
    ///             data.make_ascii_uppercase();
    ///             io.send(data)?;
    ///             Ok(())
    ///         })
    ///     }
    /// }
    ///
    /// use std::io::{Read, Write};
    /// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(DispatcherWithSend::new(ours, Shout)?)?;
    /// theirs.write_all(b"hello")?;
    /// theirs.shutdown(std::net::Shutdown::Write)?;
    /// event_loop.run()?;
    /// let mut answer = String::new();
    /// theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "HELLO");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`recv`](Endpoint::recv), in which case `take` is not called; else those of
    /// `take`.
    #[inline]
    pub fn recv_with<R>(
        &mut self,
        size: usize,
        take: impl FnOnce(&mut Io<'_>, &mut [u8]) -> Result<R>,
    ) -> Result<R> {
        let size = size.min(MOST);
        let mut buffer = self.event_loop.lend_buffer(size);
        let received = self.endpoint.recv(&mut buffer[..size]);
        let result = received.and_then(|n| take(self, &mut buffer[..n]));
        self.event_loop.return_buffer(buffer);
        result
    }

    /// Replaces the channel by another one over the same connection, when the handler has
    /// returned: for a protocol that begins in another one, as HTTP's `Upgrade` and STARTTLS
    /// do. Calls `successor` with the connection, to make the other channel and add it. Nothing
    /// is lost: what was received and not handled is the first input of the other channel, and
    /// what was sent and not written leaves before its output.
    ///
    /// The channel is removed from the loop, and none of its handlers is called any more, not even
    /// `handle_close`. An error that the handler then returns is logged. If `successor` fails, or
    /// does not keep the connection, that is closed, and the error is logged.
    ///
    /// ```
    /// use fdloop::{
    ///     AsyncChat, ChatHandler, ChatIo, DispatcherWithSend, EventLoop, Handler, Io, Result,
    /// };
    ///
    /// /// Takes lines until one asks for an echo.
    /// struct Lines;
    /// impl ChatHandler for Lines {
    ///     fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
    ///         if io.take_data() == b"ECHO" {
    ///             io.push("ready\n")?;
    ///             io.replace(|connection, event_loop| {
    ///                 event_loop.add(DispatcherWithSend::from_connection(connection, Echo))?;
    ///                 Ok(())
    ///             })?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// struct Echo;
    /// impl Handler for Echo {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         io.recv_with(65_536, |io, data| io.send(data).map(drop))
    ///     }
    /// }
    ///
    /// use std::io::{Read, Write};
    /// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let mut chat = AsyncChat::new(ours, Lines)?;
    /// chat.set_terminator("\n");
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(chat)?;
    /// theirs.write_all(b"hello\nECHO\n1 2 3")?; // the echo's first bytes come along
    /// theirs.shutdown(std::net::Shutdown::Write)?;
    /// event_loop.run()?;
    /// let mut heard = String::new();
    /// theirs.read_to_string(&mut heard)?;
    /// assert_eq!(heard, "ready\n1 2 3");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel is not connected, or is closing; `Unsupported` if the loop
    /// does not serve it, as within [`Dispatcher::enter`](crate::Dispatcher::enter) outside of
    /// [`EventLoop::with`]. `successor` is then not called.
    pub fn replace(
        &mut self,
        successor: impl FnOnce(Connection, &mut EventLoop) -> Result<()> + 'static,
    ) -> Result<()> {
        let serving = self.event_loop.serving_id().map(AnyId::fd);
        if serving != Some(self.endpoint.raw_fd()) {
            let message = format!(
                "cannot replace the channel of fd {}: the loop does not serve it; add it first, \
                 and use `EventLoop::with`",
                self.endpoint.raw_fd()
            );
            return Err(Error::misuse(io::ErrorKind::Unsupported, message));
        }
        self.endpoint.leave_to(successor)
    }

    /// Closes the channel if its own handler closed it by its id.
    #[inline]
    pub(crate) fn heed_close(&mut self) {
        if self.event_loop.is_closed_by_id(self.endpoint.raw_fd()) {
            self.endpoint.close();
        }
    }

    /// Returns a view of the channel and the loop, as predicates get it.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View::new(self.endpoint, self.event_loop)
    }
}

impl Deref for Io<'_> {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        self.endpoint
    }
}

impl DerefMut for Io<'_> {
    fn deref_mut(&mut self) -> &mut Endpoint {
        self.endpoint
    }
}

impl<'a> AsMut<Io<'a>> for Io<'a> {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

impl fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Io").field(&self.endpoint).finish()
    }
}

/// The argument of a handler's predicates: the loop with every other channel, and the
/// handler's own channel, to which it dereferences.
#[derive(Clone, Copy)]
pub struct View<'a> {
    endpoint: &'a Endpoint,
    event_loop: &'a EventLoop,
}

impl<'a> View<'a> {
    pub(super) fn new(endpoint: &'a Endpoint, event_loop: &'a EventLoop) -> Self {
        Self {
            endpoint,
            event_loop,
        }
    }

    /// Returns the loop, to look at other channels.
    #[must_use]
    pub fn event_loop(&self) -> &'a EventLoop {
        self.event_loop
    }
}

impl Deref for View<'_> {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        self.endpoint
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("View").field(&self.endpoint).finish()
    }
}
