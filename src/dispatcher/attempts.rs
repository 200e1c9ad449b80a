//! The addresses of a connect, and the attempts at them.
//!
//! An address that does not react must not hide the others, so they are tried beside each other, as
//! RFC 8305 says. The first attempt is that of the channel's own socket. A quarter of a second
//! later, or when an attempt fails, the next address is tried. The first connection that is
//! established is the channel's. [`Rival`](super::rival::Rival)s are the attempts beside the first.

use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::socket::Socket;
use crate::address::Address;
use crate::error::Error;
use crate::event_loop::AnyId;

/// The time that an attempt has before the next one begins beside it. RFC 8305 calls it the
/// Connection Attempt Delay, and recommends this value.
pub(crate) const DELAY: Duration = Duration::from_millis(250);

/// The addresses that a connect still has to try, and the results of earlier attempts.
#[derive(Debug)]
pub(super) struct Attempts {
    left: VecDeque<Address>,
    tried: Vec<Address>,
    failure: Option<io::Error>,
    /// The error of the current attempt, if a send consumed it.
    early: Option<io::Error>,
    /// The socket was used for an attempt. The next attempt needs a new one.
    pub(super) spent: bool,
    /// True if the channel's own socket has failed, and no address is left for it.
    out: bool,
    race: Race,
}

/// The attempts beside that of the channel's own socket.
#[derive(Debug, Default)]
struct Race {
    /// The channel for which they are made.
    owner: Option<AnyId>,
    /// The handle of a rival, which ends when this is dropped.
    token: Rc<()>,
    /// The addresses of the attempts in progress.
    rivals: Vec<Address>,
    /// The time of the next attempt. `None` if an attempt has begun since it was last set.
    next: Option<Instant>,
    /// The time at which the loop settles the channel because of `next`.
    alarm: Option<Instant>,
    winner: Option<Socket>,
}

/// The next attempt beside those in progress.
#[derive(Debug)]
pub(super) enum Next {
    /// Not begun: none is left, or the loop settles the channel when the next is due.
    Nothing,
    In(Duration),
    Now(Address),
}

impl Attempts {
    pub(super) fn new(addresses: Vec<Address>, spent: bool) -> Self {
        Self {
            left: addresses.into(),
            tried: Vec::new(),
            failure: None,
            early: None,
            spent,
            out: false,
            race: Race::default(),
        }
    }

    /// Records an attempt at `address` that has succeeded.
    pub(super) fn made(address: Option<Address>) -> Self {
        Self {
            tried: address.into_iter().collect(),
            ..Self::new(Vec::new(), true)
        }
    }

    /// Returns the next address to try with the channel's own socket.
    pub(super) fn next(&mut self) -> Option<Address> {
        self.out = false;
        self.take_next()
    }

    fn take_next(&mut self) -> Option<Address> {
        let address = self.left.pop_front()?;
        self.tried.push(address.clone());
        self.race.next = None;
        Some(address)
    }

    /// Checks whether there is another address to try.
    pub(super) fn has_more(&self) -> bool {
        !self.left.is_empty()
    }

    /// Checks whether an address is left, or is tried beside the first.
    pub(super) fn are_several(&self) -> bool {
        self.has_more() || !self.race.rivals.is_empty()
    }

    /// Records the error of the last attempt.
    pub(super) fn failed(&mut self, failure: io::Error) {
        self.failure = Some(failure);
    }

    /// Records the error of the current attempt, which a send has found.
    pub(super) fn failed_early(&mut self, failure: io::Error) {
        self.early = Some(failure);
    }

    /// Takes the error that [`failed_early`](Attempts::failed_early) recorded.
    pub(super) fn take_early(&mut self) -> Option<io::Error> {
        self.early.take()
    }

    /// Leaves the remaining addresses to the rivals. Returns false if no rival exists.
    pub(super) fn leave_to_rivals(&mut self) -> bool {
        self.out = !self.race.rivals.is_empty();
        self.out
    }

    /// Checks whether the channel's own socket takes no part any more.
    pub(super) fn is_out(&self) -> bool {
        self.out
    }

    /// Notes the channel for which rivals are made. If it has moved to another loop, the rivals of
    /// the old one end, and their addresses are tried again.
    pub(super) fn enter(&mut self, owner: AnyId) {
        if self.race.owner == Some(owner) {
            return;
        }
        for address in self.race.rivals.drain(..).rev() {
            self.left.push_front(address);
        }
        self.race = Race {
            owner: Some(owner),
            winner: self.race.winner.take(),
            ..Race::default()
        };
    }

    /// Returns the next attempt to begin beside those in progress.
    pub(super) fn next_beside(&mut self, now: Instant) -> Next {
        if self.left.is_empty() || self.race.winner.is_some() {
            return Next::Nothing;
        }
        let later = now.checked_add(DELAY).unwrap_or(now);
        let at = *self.race.next.get_or_insert(later);
        if at > now {
            if self.race.alarm == Some(at) {
                return Next::Nothing;
            }
            self.race.alarm = Some(at);
            return Next::In(at.saturating_duration_since(now));
        }
        match self.take_next() {
            Some(address) => Next::Now(address),
            None => Next::Nothing,
        }
    }

    /// Returns the handle with which a rival ends.
    pub(super) fn token(&self) -> Weak<()> {
        Rc::downgrade(&self.race.token)
    }

    /// Records that an attempt beside the first has begun.
    pub(super) fn begun(&mut self, address: Address) {
        self.race.rivals.push(address);
    }

    /// Records that an attempt beside the first could not begin, or has failed: the next one
    /// begins at once.
    pub(super) fn failed_beside(&mut self, address: &Address, failure: io::Error, now: Instant) {
        self.race.rivals.retain(|rival| rival != address);
        self.race.next = Some(now);
        self.failed(failure);
    }

    /// Records that an attempt beside the first has succeeded.
    pub(super) fn won(&mut self, winner: Socket) {
        self.race.winner.get_or_insert(winner);
    }

    /// Checks whether the rivals have decided: one has won, or the last has failed after the
    /// channel's own socket.
    pub(super) fn are_decided(&self) -> bool {
        self.race.winner.is_some() || (self.out && self.race.rivals.is_empty())
    }

    /// Takes the connection of the rival that has won.
    pub(super) fn take_winner(&mut self) -> Option<Socket> {
        self.race.winner.take()
    }

    /// Returns the addresses that were tried, for messages.
    pub(super) fn to_connect(&self) -> String {
        let tried: Vec<_> = self.tried.iter().map(Address::to_string).collect();
        match tried.as_slice() {
            [] => "connect".to_owned(),
            [one] => format!("connect to {one}"),
            [rest @ .., last] => format!("connect to {} and {last}", rest.join(", ")),
        }
    }

    /// Returns the error after every attempt has failed. It names all addresses, and the
    /// failure of the last.
    pub(super) fn error(mut self, fd: Option<i32>) -> Error {
        let failure = self.failure.take().unwrap_or_else(|| {
            let message = "none of the addresses has the socket's family";
            io::Error::new(io::ErrorKind::AddrNotAvailable, message)
        });
        Error::system(self.to_connect(), fd, failure)
    }
}
