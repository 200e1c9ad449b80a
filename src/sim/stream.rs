//! The transport of a handler that is tested.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::World;
use super::side::{Fate, Output};
use super::state::{SideId, State};
use super::trace::What;
use crate::dispatcher::Transport;

/// A side of a simulated connection, for a dispatcher or a chat over it. It behaves like a TCP
/// socket on Linux. [`World::pair`] and [`World::streams`] make it.
///
/// - Receives and sends may be cut short, find nothing (`WouldBlock`) or be interrupted
///   (`Interrupted`), as often as [`World::set_noise`] says.
/// - A reset discards nothing that has arrived. The first call afterwards fails with
///   `ConnectionReset`, or with `BrokenPipe` if the input had ended. Later receives return 0, and
///   later sends fail with `BrokenPipe`.
/// - Closing it while input is unread resets the connection, and so does data that arrives later.
///   The peer then gets the data that was under way, but not the data that waited for room.
/// - [`Endpoint::abort`](crate::Endpoint::abort) resets the connection.
///
/// It has a number and no descriptor, so that only an event loop of its [`World`] can watch it.
pub struct Stream {
    world: World,
    id: SideId,
    fd: RawFd,
}

impl Stream {
    pub(super) fn new(world: World, id: SideId) -> Self {
        let fd = world.state().side(id).fd;
        Self { world, id, fd }
    }
}

/// Draws the disturbance of a call.
fn disturb(state: &mut State, id: SideId) -> io::Result<()> {
    let noise = state.noise;
    if !state.random.chance(noise) {
        return Ok(());
    }
    let errno = match state.random.below(2) {
        0 => libc::EINTR,
        _ => libc::EAGAIN,
    };
    Err(state.fail(id, errno))
}

/// Returns the number of bytes that a call moves, of the `most` that it could.
fn cut(state: &mut State, most: usize) -> usize {
    let noise = state.noise;
    if state.random.chance(noise) {
        state.random.length(most)
    } else {
        most
    }
}

impl State {
    fn recv(&mut self, id: SideId, buf: &mut [u8]) -> io::Result<usize> {
        let arrived = self.side(id).inbox.len();
        if arrived == 0 {
            return self.recv_nothing(id);
        }
        disturb(self, id)?;
        let n = cut(self, arrived.min(buf.len()));
        for (place, byte) in buf.iter_mut().zip(self.side_mut(id).inbox.drain(..n)) {
            *place = byte;
        }
        self.note(id, What::Received(n));
        self.pump(id ^ 1);
        Ok(n)
    }

    /// Receives from an empty inbox.
    fn recv_nothing(&mut self, id: SideId) -> io::Result<usize> {
        let side = self.side_mut(id);
        // As on Linux, a reset after the end of the input shows in sends alone.
        if !side.input_ended {
            if let Some(errno) = side.take_error() {
                return Err(self.fail(id, errno));
            }
            if side.fate == Fate::Whole {
                return Err(self.fail(id, libc::EAGAIN));
            }
        }
        self.note(id, What::Received(0));
        Ok(0)
    }

    fn send(&mut self, id: SideId, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let side = self.side_mut(id);
        if let Some(errno) = side.take_error() {
            return Err(self.fail(id, errno));
        }
        if side.output != Output::Open || side.fate != Fate::Whole {
            return Err(self.fail(id, libc::EPIPE));
        }
        disturb(self, id)?;
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        let room = self.room_from(id);
        if room == 0 && offered > 0 {
            return Err(self.fail(id, libc::EAGAIN));
        }
        let n = cut(self, offered.min(room));
        let bytes = bufs.iter().flat_map(|buf| buf.iter()).take(n);
        self.side_mut(id).outbox.extend(bytes);
        self.note(id, What::Sent(n));
        self.pump(id);
        Ok(n)
    }
}

impl Transport for Stream {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn raw_fd(&self) -> RawFd {
        self.fd
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.world.state().recv(self.id, buf)
    }

    fn has_unread(&self) -> bool {
        !self.world.state().side(self.id).inbox.is_empty()
    }

    fn outlives_input(&self) -> bool {
        true
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        let error = self.world.state().side_mut(self.id).take_error();
        Ok(error.map(io::Error::from_raw_os_error))
    }

    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.world.state().send(self.id, &[IoSlice::new(data)])
    }

    fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.world.state().send(self.id, bufs)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut state = self.world.state();
        // Both directions have ended, or the connection is lost.
        if state.side(self.id).has_hung_up() {
            return Err(state.fail(self.id, libc::ENOTCONN));
        }
        state.end_output(self.id);
        Ok(())
    }

    fn reset_on_close(&mut self) -> io::Result<()> {
        self.world.state().side_mut(self.id).resets = true;
        Ok(())
    }
}

// For `Async::over`: a coroutine on one side.

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(buf)
    }
}

impl Write for Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_vectored(bufs)
    }

    /// Does nothing: the side has no buffer of its own.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    /// Closes the side.
    fn drop(&mut self) {
        self.world.state().close(self.id);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("fd", &self.fd).finish()
    }
}
