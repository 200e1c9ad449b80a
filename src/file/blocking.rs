//! Ways to keep the reads and writes of a file from blocking the loop, with the least effect
//! on other users of the file.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::fd::{self, FileKind};
use crate::sys::reopen;
#[cfg(has_msg_dontwait)]
use crate::sys::socket;

/// The way in which the calls of one wrapper are kept from blocking.
#[derive(Debug)]
pub(super) enum Blocking {
    /// The wrapper has an open file description of its own, which is non-blocking.
    OwnDescription,
    /// The file is a socket, and each call passes `MSG_DONTWAIT`.
    #[cfg(has_msg_dontwait)]
    EachCall,
    /// O_NONBLOCK is set on the description that the wrapper shares with the original.
    /// `set_by` is the process that set it and clears it again: not a child that
    /// fork(2) made later. 0 if it was already set.
    SharedFlag { set_by: AtomicU32 },
    /// Files of this kind never block.
    Never,
    /// The flags are left alone. poll(2) is called before each call.
    AskedFirst,
}

/// Bytes that a writable pipe takes without blocking (POSIX, write(2)).
#[allow(clippy::unnecessary_cast, reason = "a c_int on illumos")]
const PIPE_ROOM: usize = libc::PIPE_BUF as usize;

/// Bytes that a writable terminal takes without blocking: it may have room for one alone.
const TERMINAL_ROOM: usize = 1;

impl Blocking {
    /// Duplicates `file`, and chooses the way with the least effect on others. With
    /// `leave_flags`, O_NONBLOCK is never set on a shared description.
    pub(super) fn duplicate(
        file: BorrowedFd<'_>,
        kind: FileKind,
        leave_flags: bool,
    ) -> io::Result<(OwnedFd, Self)> {
        if let Some(own) = own_description(file, kind) {
            return Ok((own, Self::OwnDescription));
        }
        let duplicate = fd::duplicate(file)?;
        let blocking = match kind {
            FileKind::AlwaysReady => Self::Never,
            #[cfg(has_msg_dontwait)]
            FileKind::Socket => Self::EachCall,
            _ if leave_flags => Self::AskedFirst,
            _ => {
                let set_by = AtomicU32::new(0);
                let shared = Self::SharedFlag { set_by };
                shared.ensure(duplicate.as_fd())?;
                shared
            }
        };
        Ok((duplicate, blocking))
    }

    /// Sets a shared flag again if it is off, since another wrapper of the description may
    /// have been closed. The process that sets it also clears it.
    fn ensure(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        if let Self::SharedFlag { set_by } = self {
            if fd::set_nonblocking(file, true)? {
                set_by.store(process::id(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Checks whether calls on the descriptor do not block by themselves.
    pub(super) fn is_in_descriptor(&self) -> bool {
        matches!(self, Self::OwnDescription | Self::Never)
    }

    /// Calls read(2), or returns `WouldBlock`.
    pub(super) fn read(&self, file: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
        self.ensure(file)?;
        match self {
            #[cfg(has_msg_dontwait)]
            Self::EachCall => socket::recv_now(file, buf),
            Self::AskedFirst if !fd::is_ready(file, libc::POLLIN)? => Err(would_block()),
            _ => fd::read(file, buf),
        }
    }

    /// Calls write(2), or returns `WouldBlock`.
    pub(super) fn write(
        &self,
        file: BorrowedFd<'_>,
        kind: FileKind,
        data: &[u8],
    ) -> io::Result<usize> {
        self.ensure(file)?;
        match self {
            #[cfg(has_msg_dontwait)]
            Self::EachCall => socket::send_now(file, data),
            Self::AskedFirst => write_when_ready(file, kind, data),
            _ => fd::write(file, data),
        }
    }

    /// Calls writev(2), or returns `WouldBlock`.
    pub(super) fn write_vectored(
        &self,
        file: BorrowedFd<'_>,
        kind: FileKind,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.ensure(file)?;
        match self {
            #[cfg(has_msg_dontwait)]
            Self::EachCall => socket::send_vectored_now(file, bufs),
            Self::AskedFirst => {
                let first = bufs.iter().find(|buf| !buf.is_empty());
                first.map_or(Ok(0), |buf| write_when_ready(file, kind, buf))
            }
            _ => fd::write_vectored(file, bufs),
        }
    }

    /// Restores the flags of the description.
    pub(super) fn restore(&self, file: BorrowedFd<'_>) {
        let Self::SharedFlag { set_by } = self else {
            return;
        };
        if set_by.swap(0, Ordering::Relaxed) != process::id() {
            return;
        }
        match fd::set_nonblocking(file, false) {
            Ok(_) => {}
            // The number was closed elsewhere, which close(2) reports next.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {}
            Err(error) => {
                let number = fd::number(&file);
                log::error!(
                    "fd {number} stays non-blocking for every process that shares it: {error}"
                );
            }
        }
    }
}

/// Opens a file again if its kind and the system allow it. Returns `None` otherwise.
fn own_description(file: BorrowedFd<'_>, kind: FileKind) -> Option<OwnedFd> {
    match kind {
        FileKind::Terminal => reopen::terminal(file).ok(),
        FileKind::Pipe => {
            let own = reopen::pipe(file).ok()?;
            // A description that was opened after the last writer of a FIFO had left does
            // not report that end. If a writer comes between the two calls, both
            // descriptions report when it leaves.
            let loses_end = fd::has_hung_up(file) && !fd::has_hung_up(own.as_fd());
            (!loses_end).then_some(own)
        }
        FileKind::Socket | FileKind::AlwaysReady | FileKind::Other => None,
    }
}

/// Writes as much as a blocking descriptor takes without waiting.
fn write_when_ready(file: BorrowedFd<'_>, kind: FileKind, data: &[u8]) -> io::Result<usize> {
    let room = match kind {
        FileKind::Terminal => TERMINAL_ROOM,
        _ => PIPE_ROOM,
    };
    let mut written = 0;
    for piece in data[..data.len().min(PIPE_ROOM)].chunks(room) {
        let result = match fd::is_ready(file, libc::POLLOUT) {
            Ok(true) => fd::write(file, piece),
            Ok(false) => Err(would_block()),
            Err(error) => Err(error),
        };
        match result {
            Ok(n) => written += n,
            Err(error) if written == 0 => return Err(error),
            // The bytes written count; the next call fails again.
            Err(_) => break,
        }
    }
    Ok(written)
}

fn would_block() -> io::Error {
    io::Error::from(io::ErrorKind::WouldBlock)
}
