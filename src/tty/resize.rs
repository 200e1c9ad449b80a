//! Following the size of a terminal's window.

use std::os::fd::{AsFd, AsRawFd};

use super::WindowSize;
use crate::error::{Error, Result};
use crate::event_loop::EventLoop;
use crate::signals::SignalId;
use crate::sys;

impl EventLoop {
    /// Calls `act` with the size of a terminal's window each time that it has changed. The last
    /// size is always reported; sizes in between may be skipped. Everything else is as for
    /// [`on_signal`](EventLoop::on_signal) with SIGWINCH.
    ///
    /// SIGWINCH comes from the controlling terminal, while the program is in its foreground.
    /// `terminal` is duplicated. To miss no change, get the first size after this call.
    ///
    /// ```
    /// use fdloop::{EventLoop, Pty, WindowSize};
    ///
    /// # let user = Pty::open()?;
    /// # let stdin = || user.terminal();
    /// # /*
    /// use std::io::stdin;
    /// # */
    /// /// Gives the inner terminal the size of the user's.
    /// let pty = Pty::open()?;
    /// let inner = pty.master().try_clone_to_owned()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.on_resize(stdin(), move |_, size| size.set(&inner))?;
    /// WindowSize::of(stdin())?.set(pty.master())?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`WindowSize::of`], [`on_signal`](EventLoop::on_signal) and fcntl(2). If the size
    /// cannot be got later, since the terminal has hung up, `act` is not called any more.
    pub fn on_resize(
        &mut self,
        terminal: impl AsFd,
        mut act: impl FnMut(&mut Self, WindowSize) -> Result<()> + 'static,
    ) -> Result<SignalId> {
        let fd = terminal.as_fd();
        WindowSize::of(fd)?;
        let terminal = sys::fd::duplicate(fd)
            .map_err(|e| Error::system("follow the size of the window", Some(fd.as_raw_fd()), e))?;
        // Not the size of now: it may change before the signal is caught, and then back.
        let mut last = None;
        self.on_signal(libc::SIGWINCH, move |event_loop, _| {
            match WindowSize::of(&terminal) {
                Ok(size) if last != Some(size) => {
                    last = Some(size);
                    act(event_loop, size)
                }
                _ => Ok(()),
            }
        })
    }
}
