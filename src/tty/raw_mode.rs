//! Raw mode, which ends with a guard.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

use super::NO_TERMINAL;
use crate::error::{Error, Result};
use crate::sys::raw_mode::{self, RawTerminal};

/// A terminal in raw mode: each key is input at once, without an echo, and Ctrl-C and Ctrl-Z are
/// bytes like any other. Output passes unchanged too, so that a new line is `\r\n`. Dropping the
/// guard puts the terminal back as it was.
///
/// It is also put back on every other way out, with or without a loop that runs:
///
/// | the program | the terminal |
/// | --- | --- |
/// | panics, or calls [`std::process::exit`] | is put back |
/// | gets SIGHUP, SIGINT, SIGQUIT, SIGTERM or SIGABRT, and does not handle it | is put back before the signal ends the program |
/// | gets SIGTSTP and does not handle it | is put back before the program stops |
/// | is continued in the foreground | is in raw mode again |
/// | is killed with SIGKILL | stays in raw mode: type `stty sane` |
///
/// A signal that the program handles is left to the program, whether its handler was installed
/// before or after the guard was made. Let the handler end the loop, and the guard is dropped as
/// usual. Signals that are ignored stay ignored. While another process group is in the foreground,
/// the terminal belongs to that group and is not changed.
///
/// A terminal with several guards is put back with the last of them, in whichever order they are
/// dropped (on Android, in the reverse of the order in which they were made).
///
/// A guard duplicates the descriptor. It belongs to the process that made it: a child made by
/// fork(2) does not change the terminal. With the last guard, the handlers of these signals are
/// put back as well.
///
/// ```no_run
/// use fdloop::{EventLoop, FileDispatcher, Handler, Io, RawMode, Result};
///
/// /// Shows the bytes of each key, until Ctrl-D.
/// struct Keys;
/// impl Handler for Keys {
///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
///         let mut key = [0; 64];
///         let n = io.recv(&mut key)?;
///         print!("{:x?}\r\n", &key[..n]);
///         if key[..n].contains(&4) {
///             io.close();
///         }
///         Ok(())
///     }
/// }
///
/// let _raw = RawMode::new(std::io::stdin())?;
/// let mut event_loop = EventLoop::new()?;
/// event_loop.add(FileDispatcher::reader(std::io::stdin(), Keys)?)?;
/// event_loop.run()?;
/// # Ok::<(), fdloop::Error>(())
/// ```
#[must_use = "dropping the guard puts the terminal back at once"]
pub struct RawMode(RawTerminal);

impl RawMode {
    /// Puts a terminal into raw mode. Typed input that was not read is kept. A program in the
    /// background is stopped until it is in the foreground, as for every change of its terminal.
    ///
    /// # Errors
    ///
    /// The `errno` ENOTTY if `terminal` is not one, EIO if it has hung up, EMFILE if there are
    /// too many descriptors.
    pub fn new(terminal: impl AsFd) -> Result<Self> {
        let fd = terminal.as_fd();
        raw_mode::enter(fd).map(Self).map_err(|e| {
            let is_terminal = e.raw_os_error() != Some(libc::ENOTTY);
            let error = Error::system("set raw mode", Some(fd.as_raw_fd()), e);
            match is_terminal {
                true => error,
                false => error.advise(NO_TERMINAL),
            }
        })
    }

    /// Puts the terminal back until [`resume`](RawMode::resume), so that an editor or a shell can
    /// use it.
    ///
    /// # Errors
    ///
    /// Those of tcsetattr(3), such as EIO if the terminal has hung up.
    pub fn pause(&self) -> Result<()> {
        let number = self.0.as_raw_fd();
        self.0
            .pause()
            .map_err(|e| Error::system("end raw mode", Some(number), e))
    }

    /// Sets raw mode again.
    ///
    /// # Errors
    ///
    /// As for [`pause`](RawMode::pause).
    pub fn resume(&self) -> Result<()> {
        let number = self.0.as_raw_fd();
        self.0
            .resume()
            .map_err(|e| Error::system("set raw mode", Some(number), e))
    }
}

impl fmt::Debug for RawMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawMode").field(&self.0.as_raw_fd()).finish()
    }
}
