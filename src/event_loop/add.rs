//! Adding channels.

use std::io;
use std::os::fd::RawFd;

use super::EventLoop;
use super::channel::{Channel, Predicates};
use super::error::AddError;
use super::id::{ChannelId, Key, Serial};
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::poller::{Interest, check_number};

/// The role of a channel in the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It keeps `run` going, as most channels do.
    Program,
    /// It does not keep `run` going.
    Background,
    /// It is the crate's own, and does not keep `run` going.
    Own,
}

impl EventLoop {
    /// Adds a channel, which the loop then owns, and returns its id. The next wait
    /// watches it.
    ///
    /// ```
    /// use fdloop::{Dispatcher, EventLoop, Handler, Socket};
    ///
    /// struct Quiet;
    /// impl Handler for Quiet {}
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    ///     let mut event_loop = EventLoop::new()?;
    ///     let id = event_loop.add(Dispatcher::new(Socket::pair()?.0, Quiet)?)?;
    ///     assert!(event_loop.get(id).is_some());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the channel is closed, has no descriptor, or has one that the
    /// poller cannot take; `AlreadyExists` if another channel has the number. The channel
    /// is dropped, and so closed: [`try_add`](EventLoop::try_add) gives it back.
    pub fn add<C: Channel>(&mut self, channel: C) -> Result<ChannelId<C>> {
        Ok(self.try_add(channel)?)
    }

    /// Adds a channel as [`add`](EventLoop::add) does, and gives it back if that fails.
    ///
    /// # Errors
    ///
    /// As for [`add`](EventLoop::add). The [`AddError`] holds the channel, open as it was.
    pub fn try_add<C: Channel>(&mut self, channel: C) -> Result<ChannelId<C>, AddError<C>> {
        let serial = self.take_serial();
        self.insert(serial, channel, Kind::Program)
    }

    /// Adds a channel that does not keep [`run`](EventLoop::run) going: `run` returns when
    /// no other channels are left. For those without an end of their own, such as a log, a
    /// control socket, or the pipe that wakes the loop for signals.
    ///
    /// ```
    /// use fdloop::{Dispatcher, EventLoop, Handler, Socket};
    ///
    /// struct Control;
    /// impl Handler for Control {}
    ///
    /// let (ours, _theirs) = Socket::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let control = event_loop.add_background(Dispatcher::new(ours, Control)?)?;
    /// event_loop.run()?; // returns at once
    /// assert!(event_loop.get(control).is_some());
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`add`](EventLoop::add).
    pub fn add_background<C: Channel>(&mut self, channel: C) -> Result<ChannelId<C>> {
        let serial = self.take_serial();
        Ok(self.insert(serial, channel, Kind::Background)?)
    }

    /// Adds the channel that `make` returns, which gets the id that the channel will have:
    /// for two channels that know each other, or one that tells others its id.
    ///
    /// Until this returns, the id finds nothing. If `make` fails, or the channel cannot be
    /// added, it never does, and the channels that `make` has added stay.
    ///
    /// ```
    /// use fdloop::{ChannelId, DispatcherWithSend, EventLoop, Handler, Io, Result};
    ///
    /// /// Passes what it gets on to the other side.
    /// struct Half {
    ///     other: ChannelId<DispatcherWithSend<Half>>,
    /// }
    /// impl Handler for Half {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 4096];
    ///         let n = io.recv(&mut buf)?;
    ///         if let Some(other) = io.event_loop().get_mut(self.other) {
    ///             other.send(&buf[..n])?;
    ///         }
    ///         Ok(())
    ///     }
    ///     fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         if let Some(other) = io.event_loop().get_mut(self.other) {
    ///             other.close_when_done();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// let ((left, mut west), (right, mut east)) = (UnixStream::pair()?, UnixStream::pair()?);
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add_with(|event_loop, id| {
    ///     let right = event_loop.add(DispatcherWithSend::new(right, Half { other: id })?)?;
    ///     DispatcherWithSend::new(left, Half { other: right })
    /// })?;
    /// west.write_all(b"hello")?;
    /// drop(west);
    /// event_loop.run()?;
    /// let mut heard = String::new();
    /// east.read_to_string(&mut heard)?;
    /// assert_eq!(heard, "hello");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error of `make`; else as for [`add`](EventLoop::add).
    pub fn add_with<C: Channel>(
        &mut self,
        make: impl FnOnce(&mut Self, ChannelId<C>) -> Result<C>,
    ) -> Result<ChannelId<C>> {
        let serial = self.take_serial();
        let channel = make(self, ChannelId::new(Key::reserved(serial)))?;
        let id = self.insert(serial, channel, Kind::Program)?;
        self.reserved.insert(serial, id.fd());
        Ok(id)
    }

    /// Adds a channel of the crate's own. It does not keep [`run`](EventLoop::run) going,
    /// [`len`](EventLoop::len) does not count it, and [`close_all`](EventLoop::close_all) leaves
    /// it.
    pub(crate) fn add_own<C: Channel>(&mut self, channel: C) -> Result<ChannelId<C>> {
        let serial = self.take_serial();
        Ok(self.insert(serial, channel, Kind::Own)?)
    }

    #[inline]
    pub(super) fn take_serial(&mut self) -> Serial {
        let serial = self.next_serial;
        self.next_serial = serial.saturating_add(1);
        serial
    }

    fn insert<C: Channel>(
        &mut self,
        serial: Serial,
        channel: C,
        kind: Kind,
    ) -> Result<ChannelId<C>, AddError<C>> {
        // Read once: safe code may return another number the next time.
        let fd = channel.as_raw_fd();
        let interest = match self.admit(fd, &channel) {
            Ok(interest) => interest,
            Err(error) => return Err(AddError { channel, error }),
        };
        let asked = channel.predicates() == Predicates::EveryPass;
        let background = kind != Kind::Program;
        let own = kind == Kind::Own;
        self.background += usize::from(background);
        self.own += usize::from(own);
        let watch = Watch {
            background,
            own,
            ..Watch::new(serial, interest, asked)
        };
        self.watches.insert(fd, watch);
        self.channels.insert(fd, Box::new(channel));
        // It may have things to settle, such as a connection that is made already.
        let key = Key { fd, serial };
        if asked {
            self.asking.add(key, &self.watches);
        }
        self.touch(key);
        Ok(ChannelId::new(key))
    }

    /// Makes the poller watch a new channel, unless it cannot be added.
    fn admit(&mut self, fd: RawFd, channel: &dyn Channel) -> Result<Interest> {
        let interest = match channel.interest(self) {
            Some(interest) if fd >= 0 => interest,
            Some(_) => {
                let message = format!(
                    "fd {fd} is not a descriptor, so the channel cannot be added: give it a socket \
                     or a file first"
                );
                return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
            }
            None => {
                let message = format!("the channel of fd {fd} is closed: make a new one");
                return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
            }
        };
        // The table of watches is as long as the highest number, whatever the poller does.
        check_number(fd).map_err(|e| Error::misuse(e.kind(), e.to_string()))?;
        if self.watches.get(fd).is_some() {
            let message = format!(
                "fd {fd} is in the map already: it was added before, or an old descriptor of \
                 that number was closed behind the loop's back; close its channel first"
            );
            return Err(Error::misuse(io::ErrorKind::AlreadyExists, message));
        }
        self.poller
            .set(fd, interest)
            .map_err(|e| Error::misuse(e.kind(), format!("fd {fd} cannot be watched: {e}")))?;
        Ok(interest)
    }
}
