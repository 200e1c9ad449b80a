//! A descriptor that becomes readable when another thread says so: eventfd(2), or a pipe.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

#[cfg(not(has_eventfd))]
use super::check;
use super::fd;

#[derive(Debug)]
pub(crate) struct Waker {
    reader: OwnedFd,
    #[cfg(not(has_eventfd))]
    writer: OwnedFd,
}

impl Waker {
    #[cfg(has_eventfd)]
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let number =
            super::check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: eventfd has just made this descriptor, and no other code has its number.
        let reader = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(Self { reader })
    }

    #[cfg(not(has_eventfd))]
    pub(crate) fn new() -> io::Result<Self> {
        let mut numbers = [-1; 2];
        // SAFETY: the call writes two numbers to the exclusively borrowed array.
        check(unsafe { libc::pipe(numbers.as_mut_ptr()) })?;
        // SAFETY: pipe has just made both descriptors, and no other code has their numbers.
        let [reader, writer] = numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) });
        for end in [&reader, &writer] {
            fd::set_close_on_exec(end.as_fd())?;
            fd::set_nonblocking(end.as_fd(), true)?;
        }
        Ok(Self { reader, writer })
    }

    /// Makes the descriptor readable.
    pub(crate) fn wake(&self) -> io::Result<()> {
        #[cfg(has_eventfd)]
        let writer = &self.reader;
        #[cfg(not(has_eventfd))]
        let writer = &self.writer;
        match fd::write(writer.as_fd(), &1_u64.to_ne_bytes()) {
            // It is readable already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result.map(drop),
        }
    }

    /// Makes the descriptor unreadable, until the next [`wake`](Self::wake).
    pub(crate) fn clear(&self) {
        // A pipe holds as many wakes as there were before it was read, which are few. An error
        // means that there is nothing to read.
        let _ = fd::read(self.reader.as_fd(), &mut [0; 512]);
    }

    /// Puts another descriptor under the same number, which a parent process does not share.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let new = Self::new()?;
        #[cfg(not(has_eventfd))]
        fd::replace(self.writer.as_fd(), new.writer)?;
        fd::replace(self.reader.as_fd(), new.reader)
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
