//! What a handler is given.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::endpoint::Endpoint;
use crate::event_loop::EventLoop;

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
