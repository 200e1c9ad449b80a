//! The file as the transport of a dispatcher.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use super::FileWrapper;
use crate::dispatcher::{Passage, Transport};
use crate::file::blocking::Blocking;
use crate::sys::fd::{self, Access, FileKind};
use crate::sys::reopen;

impl FileWrapper {
    /// Puts a new description of a FIFO under the number of the old one, which goes on
    /// reporting that its writers have left. The FIFO never lacks a reader, so data that another
    /// writer writes in between is kept.
    fn rearm_fifo(&mut self) -> io::Result<()> {
        let fd = self.open_fd()?;
        if !reopen::has_name(fd) {
            return Err(unsupported(
                "a pipe without a name cannot be opened for writing again (and some systems do \
                 not tell the name of a FIFO); make a new channel",
            ));
        }
        let fresh = reopen::pipe(fd).map_err(cannot_reopen)?;
        self.blocking.restore(fd);
        fd::replace(fd, fresh)?;
        self.blocking = Blocking::OwnDescription;
        self.ends_when_empty = false;
        Ok(())
    }
}

fn unsupported(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason)
}

/// Adds advice to the error of a FIFO that cannot be opened again. EMFILE and the like are
/// returned unchanged: a later attempt may succeed.
fn cannot_reopen(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Unsupported | io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            unsupported(
                "the FIFO cannot be opened again through its descriptor; open it for reading and \
                 writing, so that its input never ends, or make a new channel",
            )
        }
        _ => error,
    }
}

impl Transport for FileWrapper {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Self::as_fd(self)
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_once(buf)
    }

    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send_once(data)
    }

    fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_several(bufs)
    }

    /// Lets a FIFO wait for its next writer, and a terminal for input after the
    /// end-of-file character (Ctrl-D).
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the terminal has hung up; `Unsupported` for every other kind of
    /// file, and for a FIFO that cannot be opened again (it is opened through `/proc`, so
    /// on Linux and Android alone); else the errors of open(2).
    fn rearm(&mut self) -> io::Result<()> {
        match self.kind {
            FileKind::Pipe => self.rearm_fifo(),
            FileKind::Terminal => {
                let hung_up = self.hung_up.load(Ordering::Relaxed);
                let fd = self.open_fd()?;
                if hung_up || fd::has_terminal_hung_up(fd) {
                    let message = "the terminal has hung up";
                    return Err(io::Error::new(io::ErrorKind::BrokenPipe, message));
                }
                self.ends_when_empty = false;
                Ok(())
            }
            FileKind::AlwaysReady => Err(unsupported(
                "the file is always ready, so waiting for more of it would keep the loop busy; \
                 read it again later through a new channel",
            )),
            FileKind::Socket | FileKind::Other => Err(unsupported(
                "only FIFOs and terminals have input after an end of file; make a new channel",
            )),
        }
    }

    /// Returns true if the file cannot be read, such as the writing end of a pipe. Its reader may
    /// go at any time, also while no output is pending.
    fn outlives_input(&self) -> bool {
        self.access == Access::WriteOnly
    }

    fn passage(&self) -> Option<Passage> {
        match self.kind {
            _ if self.ends_when_empty || !self.blocking.is_in_descriptor() => None,
            FileKind::Pipe => Some(Passage::Pipe),
            FileKind::Socket => None,
            FileKind::Terminal | FileKind::AlwaysReady | FileKind::Other => Some(Passage::File),
        }
    }

    fn end_when_empty(&mut self) -> io::Result<()> {
        self.open_fd()?;
        self.ends_when_empty = true;
        Ok(())
    }

    /// Returns true once a read that finds nothing is the end of the input.
    fn holds_input(&self) -> bool {
        self.ends_when_empty
    }

    fn close(mut self: Box<Self>) -> io::Result<()> {
        Ok(Self::close(&mut self)?)
    }

    fn forget(mut self: Box<Self>) {
        if let Some(fd) = self.fd.take() {
            fd::forget(fd);
        }
    }
}
