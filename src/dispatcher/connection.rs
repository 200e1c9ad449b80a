//! A connection on its way from one channel to another.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};

use super::endpoint::Outlet;
use super::link::{Link, Replay};
use super::queue::Mark;
use super::transport::Transport;
use crate::address::Address;

/// A connection that leaves its channel: see [`Io::replace`](crate::Io::replace). It has the
/// descriptor, the input that was received and not handled, and the output that was sent and not
/// written.
///
/// [`DispatcherWithSend::from_connection`](crate::DispatcherWithSend::from_connection) and
/// [`AsyncChat::from_connection`](crate::AsyncChat::from_connection) make channels of it. It is
/// also a [`Transport`], for one that goes between the connection and a channel, such as TLS: it
/// writes what is left of the pending output before it sends or receives.
///
/// Dropping it closes the connection.
pub struct Connection {
    pub(super) link: Link,
    pub(super) outlet: Outlet,
    pub(super) addr: Option<Address>,
    pub(super) input_ended: bool,
    pub(super) output_ended: bool,
}

impl Connection {
    /// Puts `data` before the input, for a handler that has received more than was meant for
    /// it.
    pub fn unread(mut self, data: &[u8]) -> Self {
        self.link = Replay::before(self.link, data.to_vec());
        self
    }

    /// Returns the address of the peer, if it is known.
    #[must_use]
    pub fn addr(&self) -> Option<&Address> {
        self.addr.as_ref()
    }

    /// Writes the pending output, which comes before any other.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if some is left. A call makes one write, as a write event does, since a
    /// producer can be endless and a transport can take nothing.
    fn write_pending(&mut self) -> io::Result<()> {
        let fd = self.link.raw_fd();
        let Some(queue) = self.outlet.queue_mut() else {
            return Ok(());
        };
        if queue.is_empty() {
            return Ok(());
        }
        if queue.write_to(&mut self.link, fd)? {
            while let Some(mark) = queue.take_mark() {
                if mark == Mark::Shutdown {
                    self.link.shutdown_write().inspect_err(|error| {
                        if error.kind() == io::ErrorKind::WouldBlock {
                            queue.put_back_shutdown();
                        }
                    })?;
                }
            }
        }
        if queue.is_empty() {
            return Ok(());
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Transport for Connection {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_fd()
    }

    fn raw_fd(&self) -> RawFd {
        self.link.raw_fd()
    }

    /// Receives after it has written what it can of the pending output, since the peer may wait
    /// for that.
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.write_pending() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => self.link.recv(buf),
        }
    }

    fn holds_input(&self) -> bool {
        self.link.holds_input()
    }

    fn has_unread(&self) -> bool {
        self.link.has_unread()
    }

    fn outlives_input(&self) -> bool {
        self.link.outlives_input()
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Ok(self.link.take_error())
    }

    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_pending()?;
        self.link.send(data)
    }

    fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_pending()?;
        self.link.send_vectored(bufs)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.write_pending()?;
        self.link.shutdown_write()
    }

    fn reset_on_close(&mut self) -> io::Result<()> {
        self.link.reset_on_close();
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.link.close()
    }

    fn forget(self: Box<Self>) {
        self.link.forget();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("fd", &self.link.raw_fd())
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}
