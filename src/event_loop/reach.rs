//! Reaching channels by their ids.

use std::any::Any;
use std::io;

use super::EventLoop;
use super::channel::Channel;
use super::id::{AnyId, ChannelId, Key};
use super::pass::Errand;
use crate::error::{Error, Result};

impl EventLoop {
    /// Returns a channel. `None` if it is gone, or one of its methods runs:
    /// [`contains`](EventLoop::contains) distinguishes the two.
    #[must_use]
    pub fn get<C: Channel>(&self, id: ChannelId<C>) -> Option<&C> {
        self.channel(id.key)?.as_any().downcast_ref()
    }

    /// Returns a channel, to change it. `None` if it is gone, or one of its methods runs.
    ///
    /// Duties that become due (the channel was closed, or a write found the connection lost)
    /// are done before the next wait. To do them now, use [`with`](EventLoop::with).
    #[must_use]
    pub fn get_mut<C: Channel>(&mut self, id: ChannelId<C>) -> Option<&mut C> {
        self.channel_mut(id.key)?.as_any_mut().downcast_mut()
    }

    /// Checks whether a channel is in the loop, also while one of its methods runs and
    /// [`get`](EventLoop::get) returns `None`. False once it is gone, and it then never
    /// comes back under this id.
    ///
    /// ```
    /// use fdloop::{Dispatcher, EventLoop, Handler, Socket};
    ///
    /// struct Quiet;
    /// impl Handler for Quiet {}
    ///
    /// let (ours, _theirs) = Socket::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let id = event_loop.add(Dispatcher::new(ours, Quiet)?)?;
    /// event_loop.with(id, |_, event_loop| {
    ///     assert!(event_loop.get(id).is_none() && event_loop.contains(id)); // being served
    ///     Ok(())
    /// })?;
    /// event_loop.close(id)?;
    /// assert!(!event_loop.contains(id)); // gone
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn contains(&self, id: impl Into<AnyId>) -> bool {
        self.watches.current(self.resolve(id.into().key)).is_some()
    }

    /// Returns the part of type `T` that a channel shows to all: see [`Channel::part`].
    /// `None` if it has none, is gone, or one of its methods runs.
    #[must_use]
    pub fn part<T: Any>(&self, id: impl Into<AnyId>) -> Option<&T> {
        self.channel(id.into().key)?.part()?.downcast_ref()
    }

    /// Returns the part of type `T` that a channel shows to all, to change it: see
    /// [`Channel::part`]. What becomes due happens as for [`get_mut`](EventLoop::get_mut).
    #[must_use]
    pub fn part_mut<T: Any>(&mut self, id: impl Into<AnyId>) -> Option<&mut T> {
        self.channel_mut(id.into().key)?.part_mut()?.downcast_mut()
    }

    /// The key with the number of its channel.
    #[inline]
    pub(super) fn resolve(&self, key: Key) -> Key {
        match key.is_reserved() {
            true => Key {
                fd: self.reserved.get(key.serial).map_or(key.fd, |fd| *fd),
                serial: key.serial,
            },
            false => key,
        }
    }

    /// Returns a channel, or the placeholder for one that is being served.
    fn channel(&self, key: Key) -> Option<&dyn Channel> {
        let key = self.resolve(key);
        self.watches.current(key)?;
        self.channels.get(&key.fd).map(|channel| &**channel)
    }

    fn channel_mut(&mut self, key: Key) -> Option<&mut dyn Channel> {
        let key = self.resolve(key);
        self.watches.current(key)?;
        self.touch(key);
        self.channels.get_mut(&key.fd).map(|channel| &mut **channel)
    }

    /// Calls `visit` with the channel like one of the channel's own methods: it may use the
    /// loop, its error is the channel's, and duties that become due are done before this
    /// returns.
    ///
    /// ```
    /// # use fdloop::{Dispatcher, EventLoop, Handler, Socket, Result};
    /// # struct Quiet;
    /// # impl Handler for Quiet {}
    /// # fn main() -> Result<()> {
    /// let (ours, theirs) = Socket::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let id = event_loop.add(Dispatcher::new(ours, Quiet)?)?;
    /// event_loop.with(id, |channel, event_loop| {
    ///     channel.enter(event_loop, |_handler, io| {
    ///         io.send(b"hello")?;
    ///         io.close();
    ///         Ok(())
    ///     })
    /// })?;
    /// assert!(event_loop.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound` if the channel is gone, is of another type, or one of its methods runs;
    /// [`Error::ExitNow`] or a [fatal](Error::fatal) error if `visit` or a handler returned
    /// that.
    pub fn with<C: Channel>(
        &mut self,
        id: ChannelId<C>,
        visit: impl FnOnce(&mut C, &mut Self) -> Result<()>,
    ) -> Result<()> {
        if self.get(id).is_none() {
            let message = format!(
                "no channel of fd {} can be visited: it was closed, or is being served",
                self.resolve(id.key).fd
            );
            return Err(Error::misuse(io::ErrorKind::NotFound, message));
        }
        let mut visit = Some(visit);
        let mut visit_typed = |channel: &mut dyn Channel, event_loop: &mut Self| {
            let channel = channel.as_any_mut();
            // It is of this type, as `get` found, and visited once.
            match (channel.downcast_mut(), visit.take()) {
                (Some(channel), Some(visit)) => visit(channel, event_loop),
                _ => Ok(()),
            }
        };
        self.visit(self.resolve(id.key), Errand::With(&mut visit_typed))
    }

    /// Closes a channel and removes it, without calling its `handle_close`. Returns false if
    /// it was gone already. If one of its methods runs, it is closed when that returns.
    ///
    /// # Errors
    ///
    /// Those of close(2), such as `StorageFull` for a file whose data could not be written.
    /// The channel is gone all the same. A descriptor that was closed already (EBADF) is not
    /// an error. If one of the channel's methods runs, errors are dropped.
    pub fn close(&mut self, id: impl Into<AnyId>) -> Result<bool> {
        let key = self.resolve(id.into().key);
        match self.watches.current(key) {
            Some(_) => self.close_key(key).map(|()| true),
            None => Ok(false),
        }
    }

    /// Takes a channel out of the loop, open as it is. `None` if it is gone, or
    /// one of its methods runs.
    pub fn remove<C: Channel>(&mut self, id: ChannelId<C>) -> Option<C> {
        self.get(id)?;
        let key = self.resolve(id.key);
        if self.awaited.take_if(|awaited| awaited.key == key).is_some() {
            self.stop();
        }
        let channel = self.forget(key)?.into_any();
        channel.downcast().ok().map(|channel| *channel)
    }

    /// Closes every channel, without calling their `handle_close`. asyncore's
    /// `close_all`. If a method of a channel runs, that one is closed when it returns.
    ///
    /// # Errors
    ///
    /// Unless `ignore_all`, the first error of [`close`](EventLoop::close). All channels are
    /// closed in any case.
    pub fn close_all(&mut self, ignore_all: bool) -> Result<()> {
        let mut result = Ok(());
        for key in self.watches.keys() {
            if self.watches.current(key).is_some_and(|watch| watch.own) {
                continue;
            }
            let closed = self.close_key(key);
            if result.is_ok() && !ignore_all {
                result = closed;
            }
        }
        result
    }
}
