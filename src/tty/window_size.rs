//! The size of a terminal's window.

use std::os::fd::{AsFd, AsRawFd};

use super::NO_TERMINAL;
use crate::error::{Error, Result};
use crate::sys::terminal;

/// The size of a terminal's window, in characters and in pixels.
///
/// All four are 0 for a terminal whose size was never set, such as a serial line. Most terminals
/// have 0 for the pixels.
///
/// ```
/// use fdloop::{Pty, WindowSize};
///
/// let pty = Pty::open()?;
/// WindowSize::new(24, 80).set(pty.master())?;
/// assert_eq!(WindowSize::of(pty.terminal())?, WindowSize::new(24, 80));
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WindowSize {
    /// The number of lines.
    pub rows: u16,
    /// The number of characters in a line.
    pub columns: u16,
    /// The width of the window in pixels, or 0.
    pub pixel_width: u16,
    /// The height of the window in pixels, or 0.
    pub pixel_height: u16,
}

impl WindowSize {
    /// Makes a size in characters. Its pixels are 0.
    #[must_use]
    pub const fn new(rows: u16, columns: u16) -> Self {
        Self {
            rows,
            columns,
            pixel_width: 0,
            pixel_height: 0,
        }
    }

    /// Returns the size of a terminal's window: `TIOCGWINSZ` in ioctl_tty(2). The size is returned
    /// as the system has it, 0 rows and columns included.
    ///
    /// # Errors
    ///
    /// The `errno` ENOTTY if `terminal` is not one; EIO if it has hung up.
    pub fn of(terminal: impl AsFd) -> Result<Self> {
        let fd = terminal.as_fd();
        let size = terminal::window_size(fd).map_err(|e| {
            let error = Error::system("get the size of the window", Some(fd.as_raw_fd()), e);
            error.advise(NO_TERMINAL)
        })?;
        Ok(Self {
            rows: size.ws_row,
            columns: size.ws_col,
            pixel_width: size.ws_xpixel,
            pixel_height: size.ws_ypixel,
        })
    }

    /// Sets the size of a terminal's window: `TIOCSWINSZ` in ioctl_tty(2). If that changes it, the
    /// foreground processes of the terminal get SIGWINCH. For a pseudo-terminal, `terminal` may be
    /// either side. 0 rows and columns are set as given: programs then use a default size.
    ///
    /// # Errors
    ///
    /// As for [`of`](WindowSize::of).
    pub fn set(self, terminal: impl AsFd) -> Result<()> {
        let fd = terminal.as_fd();
        let size = libc::winsize {
            ws_row: self.rows,
            ws_col: self.columns,
            ws_xpixel: self.pixel_width,
            ws_ypixel: self.pixel_height,
        };
        terminal::set_window_size(fd, &size).map_err(|e| {
            let error = Error::system("set the size of the window", Some(fd.as_raw_fd()), e);
            error.advise(NO_TERMINAL)
        })
    }

    /// Returns this size, or `default` if it has no rows or no columns.
    ///
    /// ```
    /// use fdloop::WindowSize;
    ///
    /// let default = WindowSize::new(24, 80);
    /// assert_eq!(WindowSize::new(50, 132).or(default), WindowSize::new(50, 132));
    /// assert_eq!(WindowSize::default().or(default), default);
    /// ```
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        if self.rows == 0 || self.columns == 0 {
            default
        } else {
            self
        }
    }
}
