//! An attempt to connect beside that of the channel's own socket.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Weak;

use super::endpoint::Endpoint;
use super::socket::{Socket, SocketType};
use crate::address::Address;
use crate::error::{Error, Result};
use crate::event_loop::{AnyId, Channel, EventLoop, Predicates};
use crate::poller::Interest;

/// A socket that connects to one of the addresses of another channel. If it succeeds, it gives the
/// connection to that channel.
///
/// The loop asks it in every pass, and removes it once the other channel is connected, closed or
/// gone.
pub(super) struct Rival {
    socket: Option<Socket>,
    /// True once the result is delivered.
    finished: bool,
    number: RawFd,
    address: Address,
    owner: AnyId,
    wanted: Weak<()>,
}

impl Rival {
    /// Begins to connect.
    pub(super) fn begin(
        address: Address,
        socket_type: SocketType,
        owner: AnyId,
        wanted: Weak<()>,
    ) -> io::Result<Self> {
        let socket = Socket::new(address.family(), socket_type)?;
        // A connection that is established at once is reported like one that is established later.
        socket.connect(&address)?;
        Ok(Self {
            number: socket.as_raw_fd(),
            socket: Some(socket),
            finished: false,
            address,
            owner,
            wanted,
        })
    }

    /// Delivers the result, and ends.
    fn finish(&mut self, event_loop: &mut EventLoop, failure: Option<io::Error>) {
        if self.finished {
            return;
        }
        self.finished = true;
        let now = event_loop.now();
        let Some(owner) = event_loop.part_mut::<Endpoint>(self.owner) else {
            return;
        };
        match (failure, self.socket.take()) {
            (None, Some(socket)) => owner.take_connection(socket),
            (None, None) => {}
            (Some(failure), _) => owner.note_failed_rival(&self.address, failure, now),
        }
    }

    /// Delivers an error of the loop's, such as that other code has closed the descriptor.
    fn fail(&mut self, event_loop: &mut EventLoop, error: Option<&Error>) {
        let failure = error.map_or_else(|| "the socket was closed".to_owned(), Error::to_string);
        self.finish(event_loop, Some(io::Error::other(failure)));
    }
}

impl AsRawFd for Rival {
    fn as_raw_fd(&self) -> RawFd {
        self.number
    }
}

impl Channel for Rival {
    fn interest(&self, event_loop: &EventLoop) -> Option<Interest> {
        let wanted = self.wanted.strong_count() > 0 && event_loop.contains(self.owner);
        (wanted && !self.finished).then_some(Interest::WRITABLE)
    }

    fn predicates(&self) -> Predicates {
        Predicates::EveryPass
    }

    fn handle_write_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        match self.socket.as_ref().map(Socket::check_connect) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(_))) => self.finish(event_loop, None),
            Some(Err(failure)) => self.finish(event_loop, Some(failure)),
        }
        Ok(())
    }

    fn descriptor_lost(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.forget();
        }
    }

    fn handle_close(&mut self, event_loop: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        self.fail(event_loop, reason.as_ref());
        Ok(())
    }

    fn handle_error(&mut self, event_loop: &mut EventLoop, error: Error) -> Result<()> {
        self.fail(event_loop, Some(&error));
        Ok(())
    }
}
