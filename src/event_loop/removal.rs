//! Removal of channels.

use std::io;
use std::os::fd::RawFd;

use super::EventLoop;
use super::channel::Channel;
use super::id::Key;
use super::pass::Errand;
use super::run::Awaited;
use super::watch::{Life, Watch};
use crate::error::{Error, Result};
use crate::poller::Interest;

impl EventLoop {
    /// Checks whether the channel of descriptor `fd`, whose method runs, was closed by its
    /// id meanwhile ([`close`](EventLoop::close), [`close_all`](EventLoop::close_all)).
    /// The loop then calls no further method of the channel, and removes it when the
    /// method returns.
    ///
    /// A [`Channel`] that calls handlers of its own checks this between two of them, with
    /// its own number.
    ///
    /// ```
    /// use fdloop::{Channel, EventLoop, Result};
    /// use os_pipe::PipeReader;
    /// use std::io::{Read, Write};
    /// use std::os::fd::{AsRawFd, RawFd};
    ///
    /// /// Calls a function with each byte.
    /// struct Bytes<F>(PipeReader, F);
    /// impl<F> AsRawFd for Bytes<F> {
    ///     fn as_raw_fd(&self) -> RawFd {
    ///         self.0.as_raw_fd()
    ///     }
    /// }
    /// impl<F: FnMut(&mut EventLoop, u8) + 'static> Channel for Bytes<F> {
    ///     fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
    ///         let mut buf = [0; 16];
    ///         let n = self.0.read(&mut buf)?;
    ///         for &byte in &buf[..n] {
    ///             (self.1)(event_loop, byte);
    ///             if event_loop.is_closed_by_id(self.as_raw_fd()) {
    ///                 break;
    ///             }
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(Bytes(reader, |event_loop: &mut EventLoop, byte| {
    ///     assert_eq!(byte, b'a', "the loop is closed at the first");
    ///     event_loop.close_all(false).unwrap();
    /// }))?;
    /// writer.write_all(b"abc")?;
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn is_closed_by_id(&self, fd: RawFd) -> bool {
        self.ends && self.serving.is_some_and(|key| key.fd == fd) && self.is_serving_over()
    }

    /// Checks whether the channel whose method runs is to be removed, or was.
    pub(super) fn is_serving_over(&self) -> bool {
        self.serving.is_some_and(|key| {
            let watch = self.watches.current(key);
            watch.is_none_or(|watch| watch.life == Life::Over)
        })
    }

    /// Removes the channel whose method runs, at once. Its number is then free, so that the
    /// method can add another channel over the descriptor that this one gives up. The loop calls
    /// no further method of this channel, and drops it when the method has returned. Returns
    /// false outside of a channel's methods.
    ///
    /// A dispatcher does this in [`Io::replace`](crate::Io::replace).
    ///
    /// ```
    /// use fdloop::{Channel, EventLoop, FileDispatcher, Handler, Io, Result};
    /// use os_pipe::PipeReader;
    /// use std::io::{Read, Write};
    /// use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    ///
    /// /// Reads the byte that says what follows, and leaves the rest to another channel.
    /// struct First(Option<PipeReader>);
    ///
    /// struct Rest(Vec<u8>);
    /// impl Handler for Rest {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 64];
    ///         let n = io.recv(&mut buf)?;
    ///         self.0.extend_from_slice(&buf[..n]);
    ///         Ok(())
    ///     }
    ///     fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
    ///         assert_eq!(self.0, b"bc");
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl AsRawFd for First {
    ///     fn as_raw_fd(&self) -> RawFd {
    ///         self.0.as_ref().map_or(-1, |reader| reader.as_raw_fd())
    ///     }
    /// }
    /// impl Channel for First {
    ///     fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
    ///         if let Some(mut reader) = self.0.take() {
    ///             reader.read(&mut [0])?;
    ///             event_loop.vacate();
    ///             let rest = FileDispatcher::reader(OwnedFd::from(reader), Rest(Vec::new()))?;
    ///             event_loop.add(rest)?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(First(Some(reader)))?;
    /// writer.write_all(b"abc")?;
    /// drop(writer);
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn vacate(&mut self) -> bool {
        let Some(key) = self.serving else {
            return false;
        };
        self.ends = true;
        // The map has only the placeholder of the channel.
        self.forget(key).is_some()
    }

    /// Checks whether a channel that is being served ends, or is to be removed.
    #[inline]
    pub(super) fn is_ending(&self, key: Key) -> bool {
        self.ends
            && self
                .watches
                .current(key)
                .is_none_or(|watch| watch.life != Life::Going)
    }

    /// Checks whether the channel whose method runs ends, or is to be removed.
    #[inline]
    pub(crate) fn serves_ending(&self) -> bool {
        self.ends && self.serving.is_none_or(|key| self.is_ending(key))
    }

    /// Checks whether any channel that is being served may end, or is to be removed.
    #[inline]
    pub(crate) fn may_serve_ending(&self) -> bool {
        self.ends
    }

    /// Takes note that a channel that is being served ends. Returns whether that is new.
    pub(super) fn begin_end(&mut self, key: Key, life: Life) -> bool {
        let Some(watch) = self.watches.current_mut(key) else {
            return true;
        };
        let new = watch.life == Life::Going;
        watch.life = watch.life.max(life);
        self.ends = true;
        new
    }

    /// Has a channel that is being served removed afterwards.
    pub(super) fn doom(&mut self, key: Key) {
        self.begin_end(key, Life::Over);
    }

    /// Closes and removes a channel, now or when its method has returned.
    pub(super) fn close_key(&mut self, key: Key) -> Result<()> {
        if self.watches.current(key).is_some_and(|w| w.in_service) {
            self.doom(key);
            return Ok(());
        }
        let Some(mut channel) = self.forget(key) else {
            return Ok(());
        };
        let mut closed = Ok(());
        self.catching(key.fd, || closed = channel.close_descriptor());
        self.retire(key, channel);
        match closed {
            Err(error) if error.raw_os_error() != Some(libc::EBADF) => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a channel and drops it, unless the program waits for it.
    pub(super) fn remove_key(&mut self, key: Key) {
        if let Some(channel) = self.forget(key) {
            self.retire(key, channel);
        }
    }

    /// Drops a channel that has come to its end. The one that `run_until_closed` waits for
    /// is closed and kept.
    pub(super) fn retire(&mut self, key: Key, mut channel: Box<dyn Channel>) {
        if self
            .awaited
            .as_ref()
            .is_none_or(|awaited| awaited.key != key)
        {
            return self.discard(channel);
        }
        self.catching(key.fd, || {
            if let Err(error) = channel.close_descriptor() {
                log::error!("while closing the channel of fd {}: {error}", key.fd);
            }
        });
        let channel = Some(channel);
        self.awaited = Some(Awaited { key, channel });
        self.stop();
    }

    /// Drops a channel that is not in the map any more.
    pub(super) fn discard(&self, channel: Box<dyn Channel>) {
        let fd = channel.as_raw_fd();
        self.catching(fd, || drop(channel));
    }

    /// Removes a channel from the map, the watches and the poller.
    pub(super) fn forget(&mut self, key: Key) -> Option<Box<dyn Channel>> {
        let watch = self.watches.remove(key)?;
        self.asking.remove(watch.asked);
        self.background -= usize::from(watch.background);
        self.own -= usize::from(watch.own);
        self.forget_timeout(key);
        if !self.reserved.is_empty() {
            self.reserved.remove(key.serial);
        }
        if let Err(error) = self.poller.set(key.fd, Interest::empty()) {
            log::error!("the poller does not forget fd {}: {error}", key.fd);
        }
        let channel = self.channels.remove(&key.fd)?;
        let number = channel.as_raw_fd();
        if number != key.fd {
            self.release(number);
        }
        Some(channel)
    }

    /// Has the poller forget a number that another channel was added with, and which is
    /// about to be closed: two channels were exchanged with each other. The other one is
    /// found out before the next wait.
    #[cold]
    fn release(&mut self, fd: RawFd) {
        let Some(&Watch { serial, .. }) = self.watches.get(fd) else {
            return;
        };
        let other = Key { fd, serial };
        self.touch(other);
        if let Err(error) = self.watch_for(other, Interest::empty()) {
            log::error!("{error}");
        }
    }

    /// The channel under `key` has another descriptor than when it was added: another
    /// channel, or another descriptor, was put in its place. It gets an error that says
    /// so, and is removed, which closes the descriptor that it has now.
    #[cold]
    pub(super) fn remove_exchanged(&mut self, key: Key) -> Result<()> {
        let Key { fd, .. } = key;
        let number = self
            .channels
            .get(&fd)
            .map_or(-1, |channel| channel.as_raw_fd());
        let with = if number < 0 {
            "one without a descriptor".to_owned()
        } else {
            format!("that of fd {number}")
        };
        let message = format!(
            "the channel of fd {fd} was exchanged for {with} while the loop had it, and is \
             removed: a channel keeps its descriptor for as long as it is in a loop; close \
             it and add the other one"
        );
        let misuse = Error::misuse(io::ErrorKind::InvalidInput, message);
        self.visit(key, Errand::Remove(misuse))
    }
}
