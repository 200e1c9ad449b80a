//! A file that behaves like a socket.

mod transport;

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::blocking::Blocking;
use crate::dispatcher::Transport;
use crate::error::{Error, Result};
use crate::sys::fd::{self, Access, FileKind};

/// A duplicate of a descriptor, of any kind, with the methods of a socket.
/// asyncore's `file_wrapper`.
///
/// The duplicate is close-on-exec, the original may be closed, and reads and writes never
/// block. `O_NONBLOCK` is a flag of the open file description, which a duplicate shares with
/// the original, and often with other processes such as the shell. The wrapper avoids
/// setting it there:
///
/// | the file | the way to keep it from blocking |
/// | --- | --- |
/// | a terminal; on Linux and Android a pipe or FIFO too | the file is opened anew, through `/proc` or by its name, and the new description is non-blocking |
/// | a socket | each call passes `MSG_DONTWAIT` |
/// | a regular file, directory or block device; on Linux `/dev/null`, `/dev/zero`, `/dev/full` | nothing: it never blocks |
/// | any other file, and one that cannot be opened anew | `O_NONBLOCK` on the shared description |
///
/// The last row applies to the master of a pseudo-terminal, to other devices, on Apple
/// systems to sockets, and on OpenBSD, DragonFly BSD and illumos to terminals. It also
/// applies if open(2) fails (without `/proc`, or for another user's file), and if the new
/// description would differ: `O_ASYNC` or `O_DIRECT` is set, the writers of a FIFO have left
/// already, or opening a serial line would raise DTR or RTS.
///
/// Closing or dropping the wrapper then puts the flag back, also while a panic unwinds, but
/// not in a child made by fork(2), which shares it with the parent. A process that ends
/// without dropping the wrapper (`std::process::exit`, a signal) leaves the flag set. If
/// another wrapper has put it back, the next read or write sets it again. To have it never
/// set, see [`leave_blocking`](FileWrapper::leave_blocking).
///
/// It implements [`Read`] and [`Write`], and so does a shared reference to it, as for
/// [`std::fs::File`]. A call that would block returns an error of kind `WouldBlock`.
///
/// ```
/// use fdloop::FileWrapper;
/// use std::io::Read;
///
/// let (mut reader, writer) = os_pipe::pipe()?;
/// let mut wrapper = FileWrapper::new(&writer)?;
/// drop(writer);
/// wrapper.send(b"It's not dead")?;
/// wrapper.close()?;
/// wrapper.close()?; // closing twice is fine
/// let mut data = String::new();
/// reader.read_to_string(&mut data)?;
/// assert_eq!(data, "It's not dead");
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug)]
pub struct FileWrapper {
    /// None when closed.
    fd: Option<OwnedFd>,
    kind: FileKind,
    access: Access,
    blocking: Blocking,
    /// A terminal's last read failed with EIO: its input is not to be waited for again.
    hung_up: AtomicBool,
    /// True if a read that finds nothing is the end of the input.
    ends_when_empty: bool,
}

impl FileWrapper {
    /// Duplicates `file`. The original stays open, and its owner keeps it.
    ///
    /// # Errors
    ///
    /// The errors of fcntl(2): the `errno` EMFILE if there are too many descriptors.
    pub fn new(file: impl AsFd) -> Result<Self> {
        Self::wrap(file.as_fd(), false)
    }

    /// Duplicates `file` as [`new`](FileWrapper::new) does, and never changes a flag that
    /// others share.
    ///
    /// Where `new` would set `O_NONBLOCK`, this wrapper calls poll(2) before each read and
    /// write. It then reads at most once each time that the file is ready, and writes at most
    /// `PIPE_BUF` bytes a call (4,096 on Linux, 512 on Apple systems and the BSDs). To a
    /// terminal it writes these one by one, with a poll(2) before each, since a writable
    /// terminal may have room for one byte alone. A call can still block if another process
    /// reads or fills the file between poll(2) and the call.
    ///
    /// ```
    /// use fdloop::{EventLoop, FileDispatcher, FileWrapper, Handler, Io, Result, View};
    ///
    /// struct Keyboard;
    /// impl Handler for Keyboard {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 64];
    ///         let n = io.recv(&mut buf)?;
    ///         println!("{n} bytes");
    ///         Ok(())
    ///     }
    ///     fn writable(&self, _: &View<'_>) -> bool {
    ///         false
    ///     }
    /// }
    ///
    /// # let (reader, _) = os_pipe::pipe()?;
    /// # let stdin = || reader;
    /// # /*
    /// use std::io::stdin;
    /// # */
    /// let mut event_loop = EventLoop::new()?;
    /// let input = FileWrapper::leave_blocking(stdin())?;
    /// event_loop.add(FileDispatcher::over(input, Keyboard))?;
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`new`](FileWrapper::new). On Apple systems, reads and writes of a device that
    /// poll(2) refuses fail with `Unsupported`.
    pub fn leave_blocking(file: impl AsFd) -> Result<Self> {
        Self::wrap(file.as_fd(), true)
    }

    fn wrap(file: BorrowedFd<'_>, leave_flags: bool) -> Result<Self> {
        let duplicate = || {
            let kind = fd::kind(file)?;
            let access = fd::access(file)?;
            let (duplicate, blocking) = Blocking::duplicate(file, kind, leave_flags)?;
            Ok(Self {
                fd: Some(duplicate),
                kind,
                access,
                blocking,
                hung_up: AtomicBool::new(false),
                ends_when_empty: false,
            })
        };
        duplicate().map_err(|e| Error::system("wrap a file", Some(file.as_raw_fd()), e))
    }

    /// Adds the attempted action to an error.
    fn context<R>(&self, action: &str, result: io::Result<R>) -> Result<R> {
        let number = self.fd.as_ref().map(AsRawFd::as_raw_fd);
        result.map_err(|e| Error::system(action, number, e))
    }

    /// Reads at most `buf.len()` bytes. Returns 0 at end of file, and for a terminal that has
    /// hung up (EIO). See read(2).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is nothing yet; `Unsupported` if it is open for writing only,
    /// or `BrokenPipe` (EPIPE) if its reader is gone as well; the `errno` EBADF if it is
    /// closed; else the errors of read(2).
    pub fn recv(&mut self, buf: &mut [u8]) -> Result<usize> {
        let result = self.read_once(buf);
        self.context("read", result)
    }

    /// Reads as [`recv`](FileWrapper::recv) does.
    ///
    /// # Errors
    ///
    /// As for [`recv`](FileWrapper::recv).
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        self.recv(buf)
    }

    /// Writes at most `data.len()` bytes. Returns the number written. See write(2).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; `Unsupported` if it is open for reading only; the
    /// `errno` EBADF if it is closed; else the errors of write(2), such as `BrokenPipe` or
    /// `StorageFull`. (A program that does not ignore SIGPIPE, as Rust's do, gets that
    /// signal.)
    pub fn send(&mut self, data: &[u8]) -> Result<usize> {
        let result = Transport::send(self, data);
        self.context("write", result)
    }

    /// Writes as [`send`](FileWrapper::send) does.
    ///
    /// # Errors
    ///
    /// As for [`send`](FileWrapper::send).
    pub fn write(&mut self, data: &[u8]) -> Result<usize> {
        self.send(data)
    }

    /// Returns the descriptor, unless it is closed.
    fn open_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.fd {
            Some(fd) => Ok(fd.as_fd()),
            // What read(2) and write(2) return for it, and asyncore.
            None => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    fn read_once(&self, buf: &mut [u8]) -> io::Result<usize> {
        let fd = self.open_fd()?;
        if self.access == Access::WriteOnly {
            return Err(not_readable(fd));
        }
        let result = self.blocking.read(fd, buf);
        let hung_up = self.is_hang_up(&result);
        self.hung_up.store(hung_up, Ordering::Relaxed);
        match result {
            _ if hung_up => Ok(0),
            Err(error) if self.ends_when_empty && error.kind() == io::ErrorKind::WouldBlock => {
                Ok(0)
            }
            result => result,
        }
    }

    /// Runs a write, if the file is open for that.
    fn write_once(
        &self,
        write: impl FnOnce(&Blocking, BorrowedFd<'_>, FileKind) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let fd = self.open_fd()?;
        if self.access == Access::ReadOnly {
            return Err(not_writable(fd));
        }
        let result = write(&self.blocking, fd, self.kind);
        // Without its other side, a terminal fails with EIO where a pipe fails with EPIPE.
        if self.is_hang_up(&result) {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        result
    }

    fn send_once(&self, data: &[u8]) -> io::Result<usize> {
        self.write_once(|blocking, fd, kind| blocking.write(fd, kind, data))
    }

    fn send_several(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_once(|blocking, fd, kind| blocking.write_vectored(fd, kind, bufs))
    }

    /// Checks whether a call found the other side of a terminal gone.
    fn is_hang_up(&self, result: &io::Result<usize>) -> bool {
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        self.kind == FileKind::Terminal && errno == Some(libc::EIO)
    }

    /// Returns the descriptor; `None` if closed.
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(OwnedFd::as_fd)
    }

    /// Puts the flags back and closes the duplicate. Closing twice is fine.
    ///
    /// # Errors
    ///
    /// The errors of close(2), such as `StorageFull` for a file whose data could not be written
    /// after all. The duplicate is closed even then.
    pub fn close(&mut self) -> Result<()> {
        let Some(fd) = self.fd.take() else {
            return Ok(());
        };
        let number = fd.as_raw_fd();
        self.blocking.restore(fd.as_fd());
        fd::close(fd).map_err(|e| Error::system("close", Some(number), e))
    }
}

fn not_readable(fd: BorrowedFd<'_>) -> io::Error {
    // The loop reports a pipe whose reader has gone as readable.
    if fd::has_no_reader(fd) {
        return io::Error::from_raw_os_error(libc::EPIPE);
    }
    let message = format!(
        "cannot read from fd {}: it is open for writing only; return false from readable, or \
         open it for both",
        fd.as_raw_fd()
    );
    Error::misuse(io::ErrorKind::Unsupported, message).into()
}

fn not_writable(fd: BorrowedFd<'_>) -> io::Error {
    let message = format!(
        "cannot write to fd {}: it is open for reading only; open it for writing too, or write \
         to the other end",
        fd.as_raw_fd()
    );
    Error::misuse(io::ErrorKind::Unsupported, message).into()
}

impl Drop for FileWrapper {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::error!("while dropping a file: {error}");
        }
    }
}

impl AsRawFd for FileWrapper {
    /// Returns the number of the descriptor; -1 if closed, as asyncore's `fileno`.
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

impl Read for FileWrapper {
    /// Reads as [`recv`](FileWrapper::recv) does, and returns the error of the system call
    /// as it is.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_once(buf)
    }
}

impl Write for FileWrapper {
    /// Writes as [`send`](FileWrapper::send) does, and returns the error of the system call
    /// as it is.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send_once(data)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_several(bufs)
    }

    /// Does nothing: a wrapper has no buffer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// As for std's `File`: one descriptor is read and written through shared references.

impl Read for &FileWrapper {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_once(buf)
    }
}

impl Write for &FileWrapper {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send_once(data)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_several(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
