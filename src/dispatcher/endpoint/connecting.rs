//! Connecting.

use std::io;
use std::mem;
use std::time::Instant;

use super::super::attempts::{Attempts, Next};
use super::super::link::Link;
use super::super::rival::Rival;
use super::super::socket::{Socket, SocketType};
use super::Endpoint;
use super::state::Phase;
use crate::address::{Address, ToAddresses};
use crate::error::Result;
use crate::event_loop::EventLoop;

impl Endpoint {
    /// Begins to connect, and makes the socket if the channel has none. `handle_connect` is
    /// called when the connection is established.
    ///
    /// If `address` resolves to several addresses, they are tried in their order. The next attempt
    /// begins when the one before has failed, or a quarter of a second after it has begun; the one
    /// before then goes on (RFC 8305). The first connection that is established is kept, and the
    /// other sockets are closed. During several attempts, the loop has a [background
    /// channel](EventLoop::add_background) for each attempt but the first. If every address fails,
    /// `handle_error` is called once.
    ///
    /// A host name is resolved before this returns, which may take long:
    /// [`connect_by_name`](Endpoint::connect_by_name) does not wait for that.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the channel is connected, connecting or listening; the errors of
    /// [`ToAddresses`]; and, if every address fails at once, those of connect(2) for the last
    /// one, such as `ConnectionRefused`, or `NotFound` for a Unix socket. The message has the
    /// addresses.
    pub fn connect(&mut self, address: impl ToAddresses) -> Result<()> {
        self.check_unconnected("connect")?;
        let mut addresses = address.to_addresses()?;
        if let Some(socket) = self.socket() {
            // The socket was made for a family, and may have been set up or bound.
            let family = socket.local_addr()?.family();
            addresses.retain(|address| address.family() == family);
        }
        let spent = matches!(self.phase, Phase::Idle { spent: true });
        self.connect_to(addresses, spent)
    }

    /// Connects to the first of the addresses that can be connected to. If `spent`, the socket
    /// cannot be used.
    pub(super) fn connect_to(&mut self, addresses: Vec<Address>, spent: bool) -> Result<()> {
        self.connect_next(Box::new(Attempts::new(addresses, spent)))
    }

    /// Connects to the next address.
    ///
    /// # Errors
    ///
    /// If no address is left, the error of the last one.
    fn connect_next(&mut self, mut attempts: Box<Attempts>) -> Result<()> {
        while let Some(address) = attempts.next() {
            match self.attempt(&address, &mut attempts.spent) {
                Ok(established) => {
                    self.addr = Some(address);
                    self.note_activity();
                    self.phase = if established {
                        Phase::Announcing { begun: false }
                    } else {
                        Phase::Connecting(attempts)
                    };
                    return Ok(());
                }
                Err(failure) => attempts.failed(failure),
            }
        }
        if attempts.leave_to_rivals() {
            self.phase = Phase::Connecting(attempts);
            return Ok(());
        }
        self.phase = self.phase_without_connection(attempts.spent);
        Err(attempts.error((self.fd >= 0).then_some(self.fd)))
    }

    /// Returns the phase after a connect has failed. A datagram socket receives nevertheless.
    pub(super) fn phase_without_connection(&self, spent: bool) -> Phase {
        match self.socket() {
            Some(socket) if !socket.is_stream() => Phase::Unconnected,
            _ => Phase::Idle { spent },
        }
    }

    /// Connects. Returns true if the connection is established at once.
    fn attempt(&mut self, address: &Address, spent: &mut bool) -> io::Result<bool> {
        if let Some(Link::Socket(socket)) = &mut self.link {
            if *spent {
                // Systems differ in what can be done with a socket that failed to connect.
                // A new one takes its number, by which the loop knows the channel.
                socket.replace(Socket::new(address.family(), socket.socket_type())?)?;
                self.replaced = true;
            }
            // A datagram socket can be connected again.
            *spent = socket.is_stream();
            return socket.connect(address);
        }
        let fresh = Socket::new(address.family(), SocketType::Stream)?;
        let established = fresh.connect(address)?;
        self.set_link(Link::Socket(fresh));
        *spent = true;
        Ok(established)
    }

    /// Checks a connect in progress. If it failed, the next address is tried.
    ///
    /// # Errors
    ///
    /// If no address is left, the error of the last one.
    pub(super) fn check_connection(&mut self) -> Result<()> {
        let Phase::Connecting(attempts) = &mut self.phase else {
            return Ok(());
        };
        if attempts.is_out() {
            return Ok(());
        }
        let early = attempts.take_early();
        let socket = self.socket_for("connect")?;
        let failure = match early.map_or_else(|| socket.check_connect(), Err) {
            Ok(Some(peer)) => {
                self.addr = Some(peer);
                self.phase = Phase::Announcing { begun: false };
                return Ok(());
            }
            // Spurious: the event was for a socket that has been replaced.
            Ok(None) => return Ok(()),
            Err(failure) => failure,
        };
        let gone = self.give_up_if_closed(failure.raw_os_error());
        match mem::replace(&mut self.phase, Phase::IDLE) {
            Phase::Connecting(mut attempts) => {
                attempts.failed(failure);
                if gone {
                    return Err(attempts.error(Some(self.fd)));
                }
                self.connect_next(attempts)
            }
            _ => Ok(()),
        }
    }

    /// Checks whether several addresses are tried, or one is left to try.
    #[inline]
    pub(in crate::dispatcher) fn is_racing(&self) -> bool {
        matches!(&self.phase, Phase::Connecting(attempts) if attempts.are_several())
    }

    /// Tries the next address beside the others, if its time has come.
    pub(in crate::dispatcher) fn race(&mut self, event_loop: &mut EventLoop) {
        let socket_type = self
            .socket()
            .map_or(SocketType::Stream, Socket::socket_type);
        let (Phase::Connecting(attempts), Some(id)) = (&mut self.phase, event_loop.serving_id())
        else {
            return;
        };
        attempts.enter(id);
        let now = event_loop.now();
        let mut begun = false;
        loop {
            let address = match attempts.next_beside(now) {
                Next::Now(address) => address,
                Next::In(delay) => {
                    event_loop.settle_later(delay);
                    break;
                }
                Next::Nothing => break,
            };
            let rival = Rival::begin(address.clone(), socket_type, id, attempts.token());
            match rival.and_then(|rival| Ok(event_loop.add_background(rival)?)) {
                Ok(_) => {
                    attempts.begun(address);
                    begun = true;
                }
                Err(failure) => attempts.failed_beside(&address, failure, now),
            }
        }
        if begun {
            self.note_activity();
        }
    }

    /// Takes the connection of the first rival that has one. The loop settles the channel next.
    pub(in crate::dispatcher) fn take_connection(&mut self, connection: Socket) {
        if let Phase::Connecting(attempts) = &mut self.phase {
            attempts.won(connection);
        }
    }

    /// Records that a rival has failed. The loop settles the channel next.
    pub(in crate::dispatcher) fn note_failed_rival(
        &mut self,
        address: &Address,
        failure: io::Error,
        now: Instant,
    ) {
        if let Phase::Connecting(attempts) = &mut self.phase {
            attempts.failed_beside(address, failure, now);
        }
    }

    /// Acts on the results of the rivals: the connection of one becomes the channel's, under the
    /// channel's number, or all have failed.
    ///
    /// # Errors
    ///
    /// If all have failed, the error of the last one.
    pub(super) fn heed_rivals(&mut self) -> Result<()> {
        if !matches!(&self.phase, Phase::Connecting(attempts) if attempts.are_decided()) {
            return Ok(());
        }
        let Phase::Connecting(mut attempts) = mem::replace(&mut self.phase, Phase::IDLE) else {
            return Ok(());
        };
        let (Some(winner), Some(Link::Socket(socket))) = (attempts.take_winner(), &mut self.link)
        else {
            return self.connect_next(attempts);
        };
        let peer = winner.peer_addr();
        match peer
            .map_err(io::Error::from)
            .and_then(|peer| socket.replace(winner).map(|()| peer))
        {
            Ok(peer) => {
                self.replaced = true;
                self.addr = Some(peer);
                self.phase = Phase::Announcing { begun: false };
                Ok(())
            }
            Err(failure) => {
                attempts.failed(failure);
                self.phase = Phase::Connecting(attempts);
                self.check_connection()
            }
        }
    }

    /// Handles the end of the time that the last attempt has: the next address is tried. Returns
    /// false if none is left, or no connect is in progress.
    ///
    /// # Errors
    ///
    /// If all the others fail at once, the error of the last one.
    pub(super) fn give_up_address(&mut self) -> Result<bool> {
        if !matches!(&self.phase, Phase::Connecting(attempts) if attempts.has_more()) {
            return Ok(false);
        }
        if let Phase::Connecting(mut attempts) = mem::replace(&mut self.phase, Phase::IDLE) {
            attempts.failed(io::Error::from_raw_os_error(libc::ETIMEDOUT));
            self.connect_next(attempts)?;
        }
        Ok(true)
    }

    /// Begins `handle_connect`. The connection is in use from here on.
    pub(in crate::dispatcher) fn begin_connect(&mut self) {
        self.phase = Phase::Announcing { begun: true };
    }

    /// Ends `handle_connect`, which has returned or panicked. If it failed, it is called again
    /// at the next event.
    pub(crate) fn end_connect(&mut self, succeeded: bool) {
        if !matches!(self.phase, Phase::Announcing { begun: true }) {
            return;
        }
        self.phase = if succeeded {
            Phase::Connected
        } else {
            Phase::Connecting(Box::new(Attempts::made(self.addr.clone())))
        };
    }
}
