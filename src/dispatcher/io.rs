//! What a handler is given.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::endpoint::Endpoint;
use crate::error::Result;
use crate::event_loop::{AnyId, EventLoop};

/// How many bytes are received at once at most: more than sockets usually hold.
const MOST: usize = 1 << 20;

/// What a handler does its work with: its own channel, to which it dereferences
/// ([`Endpoint`] has the methods), and the loop.
pub struct Io<'a> {
    endpoint: &'a mut Endpoint,
    event_loop: &'a mut EventLoop,
}

impl<'a> Io<'a> {
    pub(crate) fn new(endpoint: &'a mut Endpoint, event_loop: &'a mut EventLoop) -> Self {
        Self {
            endpoint,
            event_loop,
        }
    }

    /// The same, for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Io<'_> {
        Io::new(self.endpoint, self.event_loop)
    }

    /// The loop: to add, reach and close other channels, and to stop it. The
    /// channel whose handler runs is not in its map meanwhile.
    pub fn event_loop(&mut self) -> &mut EventLoop {
        self.event_loop
    }

    /// Returns the id of the channel whose handler runs, for a handler that tells others
    /// where to reach it.
    ///
    /// In a visit that was not made by [`EventLoop::with`], it finds nothing.
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

    /// Receives at most `size` bytes, and at most 1,048,576, into a buffer that the loop
    /// keeps for all its channels, and gives what came to `take`: nothing where
    /// [`recv`](Endpoint::recv) answers 0.
    ///
    /// An array of a handler's own is filled with zeros for each event, and a vector
    /// takes memory for each channel, however idle. The loop's buffer stays as long as the
    /// largest `size` that was asked for. (One more is made, and filled with zeros, for a
    /// handler that receives like this while `take` runs for another.)
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
    /// As for [`recv`](Endpoint::recv), without `take` being called; else what `take`
    /// returned.
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

    /// Takes note if the channel was closed by its id, from within its handler.
    #[inline]
    pub(crate) fn heed_close(&mut self) {
        if self.event_loop.is_closed_by_id(self.endpoint.raw_fd()) {
            self.endpoint.close();
        }
    }

    /// A view of the same, as predicates get it.
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

/// What the predicates of a handler can look at: its own channel, to which it
/// dereferences, and the loop with every other channel.
#[derive(Clone, Copy)]
pub struct View<'a> {
    endpoint: &'a Endpoint,
    event_loop: &'a EventLoop,
}

impl<'a> View<'a> {
    pub(crate) fn new(endpoint: &'a Endpoint, event_loop: &'a EventLoop) -> Self {
        Self {
            endpoint,
            event_loop,
        }
    }

    /// The loop, to look at other channels.
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
