//! A file that behaves like a socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::dispatcher::Transport;
use crate::error::{Error, Result};
use crate::sys::fd::{self, FileKind};

/// A duplicate of a descriptor, of any kind, with the methods of a socket.
/// asyncore's `file_wrapper`.
///
/// The descriptor is duplicated with dup(2) (`F_DUPFD_CLOEXEC`), so the original
/// may be closed, and the two are independent but for what all duplicates share:
/// the file offset, and the flags of the open file description.
///
/// The duplicate is made non-blocking, which is one of those flags, so it shows
/// in the original, and in every process that shares it: for a terminal, that is
/// the shell. It is put back as it was when the wrapper is closed or dropped,
/// also by a panic that unwinds. Wrappers of one terminal look after each other in
/// that; of two wrappers of one pipe, close the one that was made first last. A
/// process that exits without dropping it
/// (`std::process::exit`, a signal) leaves it set.
///
/// ```
/// use fdloop::FileWrapper;
/// use std::io::Read;
///
/// let (mut reader, writer) = std::io::pipe()?;
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
    /// The description was blocking, and is made so again at the end.
    was_blocking: bool,
}

impl FileWrapper {
    /// Duplicates `file`, which stays open and its owner's.
    ///
    /// # Errors
    ///
    /// What fcntl(2) answers: the `errno` EMFILE if there are too many
    /// descriptors.
    pub fn new(file: impl AsFd) -> Result<Self> {
        let number = fd::number(&file);
        let wrap = || {
            let duplicate = fd::duplicate(file.as_fd())?;
            let kind = fd::kind(duplicate.as_fd())?;
            // Regular files never block, and the flag would only show elsewhere.
            let was_blocking =
                kind != FileKind::Regular && fd::set_nonblocking(duplicate.as_fd(), true)?;
            Ok(Self {
                fd: Some(duplicate),
                kind,
                was_blocking,
            })
        };
        wrap().map_err(|e| Error::system("wrap a file", Some(number), e))
    }

    fn open(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.fd {
            Some(fd) => Ok(fd.as_fd()),
            // What the system would answer, and asyncore does.
            None => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    /// Adds what was attempted to an error.
    fn context<R>(&self, action: &str, result: io::Result<R>) -> Result<R> {
        let number = self.fd.as_ref().map(AsRawFd::as_raw_fd);
        result.map_err(|e| Error::system(action, number, e))
    }

    /// Reads at most `buf.len()` bytes; 0 at the end of the file. A terminal whose
    /// other side is gone (EIO) is at its end. See read(2).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is nothing yet; the `errno` EBADF if it is closed;
    /// else what read(2) answers.
    pub fn recv(&mut self, buf: &mut [u8]) -> Result<usize> {
        let result = self.read_once(buf);
        self.context("read", result)
    }

    /// The same as [`recv`](FileWrapper::recv).
    ///
    /// # Errors
    ///
    /// As for [`recv`](FileWrapper::recv).
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        self.recv(buf)
    }

    /// Writes at most `data.len()` bytes, and says how many. See write(2).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; the `errno` EBADF if it is closed; else
    /// what write(2) answers, such as `BrokenPipe` or `StorageFull`. (A program
    /// that does not ignore SIGPIPE, as Rust's do, gets that signal.)
    pub fn send(&mut self, data: &[u8]) -> Result<usize> {
        let result = Transport::send(self, data);
        self.context("write", result)
    }

    /// The same as [`send`](FileWrapper::send).
    ///
    /// # Errors
    ///
    /// As for [`send`](FileWrapper::send).
    pub fn write(&mut self, data: &[u8]) -> Result<usize> {
        self.send(data)
    }

    fn read_once(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stay_nonblocking()?;
        match fd::read(self.open()?, buf) {
            Err(e) if self.kind == FileKind::Terminal && e.raw_os_error() == Some(libc::EIO) => {
                Ok(0)
            }
            result => result,
        }
    }

    /// A terminal says EIO where a pipe says EPIPE: nobody is there to read.
    fn tell_hangup(&self, written: io::Result<usize>) -> io::Result<usize> {
        match written {
            Err(e) if self.kind == FileKind::Terminal && e.raw_os_error() == Some(libc::EIO) => {
                Err(io::Error::from_raw_os_error(libc::EPIPE))
            }
            written => written,
        }
    }

    /// Standard input and output are often one terminal, opened once: when the
    /// first wrapper of it puts the flags back, the others must not block. Whoever
    /// finds that takes over the duty to put them back. (Terminals are slow, so
    /// looking costs nothing that matters.)
    fn stay_nonblocking(&mut self) -> io::Result<()> {
        if self.kind == FileKind::Terminal && fd::set_nonblocking(self.open()?, true)? {
            self.was_blocking = true;
        }
        Ok(())
    }

    /// The descriptor; `None` when closed.
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(OwnedFd::as_fd)
    }

    /// Puts the flags back and closes the duplicate. Closing twice is fine.
    ///
    /// # Errors
    ///
    /// What close(2) answers, such as `StorageFull` for a file whose data could
    /// not be written after all. It is closed all the same.
    pub fn close(&mut self) -> Result<()> {
        let Some(fd) = self.fd.take() else {
            return Ok(());
        };
        let number = fd.as_raw_fd();
        self.put_flags_back(fd.as_fd());
        fd::close(fd).map_err(|e| Error::system("close", Some(number), e))
    }

    fn put_flags_back(&mut self, fd: BorrowedFd<'_>) {
        if self.was_blocking {
            self.was_blocking = false;
            if let Err(error) = fd::set_nonblocking(fd, false) {
                let fd = fd.as_raw_fd();
                log::error!("fd {fd} stays non-blocking for all who share it: {error}");
            }
        }
    }
}

impl Drop for FileWrapper {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            log::error!("while dropping a file: {error}");
        }
    }
}

impl AsRawFd for FileWrapper {
    /// The number of the descriptor; -1 when closed, as asyncore's `fileno`.
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
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
        self.stay_nonblocking()?;
        let written = fd::write(self.open()?, data);
        self.tell_hangup(written)
    }

    fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stay_nonblocking()?;
        let written = fd::write_vectored(self.open()?, bufs);
        self.tell_hangup(written)
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
