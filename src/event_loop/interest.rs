//! The interest of channels, as the poller knows it.

use std::os::fd::RawFd;

use super::EventLoop;
use super::id::Key;
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::poller::Interest;

impl EventLoop {
    /// Passes a changed interest to the poller; removes a channel that has none any more.
    pub(super) fn heed_interest(&mut self, key: Key, interest: Option<Interest>) -> Result<()> {
        match interest {
            Some(interest) => self.watch_for(key, interest),
            None => {
                self.remove_key(key);
                Ok(())
            }
        }
    }

    /// Passes a channel's interest to the poller.
    pub(super) fn watch_for(&mut self, key: Key, interest: Interest) -> Result<()> {
        let Some(watch) = self.watches.current_mut(key) else {
            return Ok(());
        };
        // It took the descriptor before, so this fails only if the poller is broken.
        let set = self.poller.set(key.fd, interest);
        set.map_err(|e| Error::system("watch a descriptor", Some(key.fd), e))?;
        watch.interest = interest;
        Ok(())
    }

    /// Tells the loop that the number of a channel refers to another file than before, because
    /// the channel has put one under it with dup2(2) or dup3(2). The loop watches that file from
    /// then on. Call it before the next wait. Does nothing for a number that no channel has.
    ///
    /// The channels of this crate call it by themselves. Only [`Backend::Epoll`](crate::Backend)
    /// needs the call. Without it, that backend reports the channel's descriptor as lost: see
    /// `EpollPoller`.
    ///
    /// ```
    /// use fdloop::{Channel, EventLoop, Result};
    /// use os_pipe::PipeReader;
    /// use std::io::{Read, Write};
    /// use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    ///
    /// /// Reads one byte from each pipe in turn, all under one number.
    /// struct InTurn(PipeReader, Option<PipeReader>);
    /// impl AsRawFd for InTurn {
    ///     fn as_raw_fd(&self) -> RawFd {
    ///         self.0.as_raw_fd()
    ///     }
    /// }
    /// impl Channel for InTurn {
    ///     fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
    ///         self.0.read_exact(&mut [0])?;
    ///         match self.1.take() {
    ///             Some(next) => {
    ///                 let number = self.as_raw_fd();
    ///                 // SAFETY: this channel owns the number, and goes on owning it.
    ///                 if unsafe { libc::dup2(next.as_raw_fd(), number) } < 0 {
    ///                     return Err(std::io::Error::last_os_error().into());
    ///                 }
    ///                 event_loop.descriptor_replaced(number)
    ///             }
    ///             None => {
    ///                 event_loop.stop();
    ///                 Ok(())
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// let (first, mut writer) = os_pipe::pipe()?;
    /// let (second, mut other) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(InTurn(first, Some(second)))?;
    /// writer.write_all(b"a")?;
    /// other.write_all(b"b")?;
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Poller::set`](crate::Poller::set), if the file cannot be watched.
    pub fn descriptor_replaced(&mut self, fd: RawFd) -> Result<()> {
        let Some(&Watch {
            serial, interest, ..
        }) = self.watches.get(fd)
        else {
            return Ok(());
        };
        let key = Key { fd, serial };
        self.watch_for(key, Interest::empty())?;
        self.watch_for(key, interest)
    }
}
