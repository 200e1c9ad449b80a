//! Terminals in raw mode, and the signal handlers that put them back.
//!
//! The handlers are not those of a signal library, since a library does not report if the program
//! handles a signal too. Here, the previous handler is kept, and a later one is found in place of
//! ours. Without either, the default action follows.

mod entries;
mod handlers;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::process;
use std::ptr;
use std::sync::atomic::Ordering;

use entries::{Entry, free_entry, lock, raw_entry_of, state, wait_for_readers};
use handlers::{empty_set, install, set_of, uninstall};

use super::fd;
use super::terminal::Settings;

/// A terminal in raw mode. Dropping it puts the terminal back.
pub(crate) struct RawTerminal {
    fd: OwnedFd,
    entry: &'static Entry,
    before: Settings,
    raw: Settings,
}

impl RawTerminal {
    /// Puts the terminal of `fd` into raw mode. In the background that stops the process, as
    /// any change of its terminal does, until it is in the foreground.
    pub(crate) fn new(fd: OwnedFd, before: Settings) -> io::Result<Self> {
        let mut in_use = lock();
        // Beneath another guard the terminal is raw already, so this one restores the same settings
        // as that guard.
        let beneath = raw_entry_of(fd.as_raw_fd()).and_then(Entry::settings);
        let before = beneath.map_or(before, |[before, _]| before);
        let raw = before.raw();
        let entry = free_entry();
        // SAFETY: the entry is FREE, and its last owner has waited for the handlers that began
        // before. The lock is held until it is RAW, so that no other thread takes the entry.
        unsafe { *entry.settings.get() = Some([before, raw]) };
        entry.number.store(fd.as_raw_fd(), Ordering::Relaxed);
        entry.process.store(process::id(), Ordering::Relaxed);
        let controls = controls_this_process(fd.as_raw_fd());
        entry.controls.store(controls, Ordering::Relaxed);
        *in_use += 1;
        if *in_use == 1 {
            install();
        }
        // Before the lock is given up, since another thread takes an entry that is FREE; and before
        // the call, so that a stop and a continuation meanwhile do not undo it.
        entry.state.store(state::RAW, Ordering::SeqCst);
        drop(in_use);
        let terminal = Self {
            fd,
            entry,
            before,
            raw,
        };
        terminal.raw.apply(terminal.fd.as_raw_fd())?;
        Ok(terminal)
    }

    /// Puts the terminal back until [`resume`](Self::resume).
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.leave(state::PAUSED, |_| true)
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        self.entry.state.store(state::RAW, Ordering::SeqCst);
        self.raw.apply(self.fd.as_raw_fd())
    }

    /// Checks whether this is the process that set raw mode.
    fn is_ours(&self) -> bool {
        self.entry.process.load(Ordering::Relaxed) == process::id()
    }

    /// Puts the terminal back if `is_last`, and leaves the entry in `next`.
    fn leave(&self, next: u8, is_last: impl FnOnce(&Self) -> bool) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let was = self.entry.state.swap(state::ENDING, Ordering::SeqCst);
        // One that continues the process may still set raw mode.
        wait_for_readers();
        let result = match was {
            state::RAW if self.entry.may_change() && is_last(self) => {
                without_stopping(|| self.before.apply(self.fd.as_raw_fd()))
            }
            _ => Ok(()),
        };
        self.entry.state.store(next, Ordering::SeqCst);
        // Before the descriptor may be closed, and the entry used again.
        wait_for_readers();
        result
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        let mut in_use = lock();
        let is_last = |this: &Self| raw_entry_of(this.fd.as_raw_fd()).is_none();
        let result = self.leave(state::FREE, is_last);
        *in_use -= 1;
        if *in_use == 0 {
            uninstall();
        }
        // The logger is the program's, and may have guards of its own.
        drop(in_use);
        if let Err(error) = result {
            // A terminal that has hung up has no settings any more.
            log::debug!(
                "fd {}: the terminal was not put back: {error}",
                self.fd.as_raw_fd()
            );
        }
    }
}

impl AsRawFd for RawTerminal {
    fn as_raw_fd(&self) -> libc::c_int {
        self.fd.as_raw_fd()
    }
}

/// Checks whether a terminal is the controlling one of this process.
fn controls_this_process(number: libc::c_int) -> bool {
    // SAFETY: the call takes a number; it fails for a terminal that controls no process, and on
    // some systems for that of another session.
    let session = unsafe { libc::tcgetsid(number) };
    // SAFETY: the call takes a number; 0 is this process.
    session > 0 && session == unsafe { libc::getsid(0) }
}

/// Runs `change` with SIGTTOU blocked, which would stop a process that went to the background
/// meanwhile.
fn without_stopping<R>(change: impl FnOnce() -> R) -> R {
    let blocked = set_of(&[libc::SIGTTOU]);
    let mut before = empty_set();
    // SAFETY: both pointers are to sets that are borrowed for the call.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before) };
    let result = change();
    // SAFETY: the pointer is to a set that the call above has filled in; null is permitted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    result
}

/// Puts the terminal of `file` into raw mode.
pub(crate) fn enter(file: BorrowedFd<'_>) -> io::Result<RawTerminal> {
    let before = Settings::of(file)?;
    RawTerminal::new(fd::duplicate(file)?, before)
}
