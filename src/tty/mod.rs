//! Terminals: raw mode, the size of the window, and pseudo-terminals.

mod pty;
mod raw_mode;
mod resize;
mod window_size;

use std::os::fd::AsFd;

pub use pty::Pty;
pub use raw_mode::RawMode;
pub use window_size::WindowSize;

use crate::sys;

/// Checks whether `file` is a terminal. See isatty(3). A terminal that has hung up is not one.
///
/// ```
/// let (reader, _writer) = os_pipe::pipe()?;
/// assert!(!fdloop::is_tty(&reader));
/// assert!(fdloop::is_tty(fdloop::Pty::open()?.terminal()));
/// # Ok::<(), fdloop::Error>(())
/// ```
#[must_use]
pub fn is_tty(file: impl AsFd) -> bool {
    sys::fd::check_terminal(file.as_fd()).is_ok()
}

/// The advice for a file that is not a terminal.
const NO_TERMINAL: &str = "is it a terminal? Check with is_tty, and open /dev/tty for the \
                           terminal of the process if its standard streams are redirected";
