//! Connecting to several addresses in turn.

use std::io;

use crate::address::Address;
use crate::error::Error;

/// The addresses that a connect still has to try, and the results of earlier attempts.
#[derive(Debug)]
pub(super) struct Attempts {
    left: std::vec::IntoIter<Address>,
    tried: Vec<Address>,
    failure: Option<io::Error>,
    /// The error of the current attempt, if a send consumed it.
    early: Option<io::Error>,
    /// The socket was used for an attempt. The next attempt needs a new one.
    pub(super) spent: bool,
}

impl Attempts {
    pub(super) fn new(addresses: Vec<Address>, spent: bool) -> Self {
        Self {
            left: addresses.into_iter(),
            tried: Vec::new(),
            failure: None,
            early: None,
            spent,
        }
    }

    /// Records an attempt at `address` that has succeeded.
    pub(super) fn made(address: Option<Address>) -> Self {
        Self {
            tried: address.into_iter().collect(),
            ..Self::new(Vec::new(), true)
        }
    }

    /// Returns the next address to try.
    pub(super) fn next(&mut self) -> Option<Address> {
        let address = self.left.next()?;
        self.tried.push(address.clone());
        Some(address)
    }

    /// Checks whether there is another address to try.
    pub(super) fn has_more(&self) -> bool {
        self.left.len() > 0
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

    /// Returns the error after every attempt has failed. It names all addresses, and the
    /// failure of the last.
    pub(super) fn error(self, fd: Option<i32>) -> Error {
        let failure = self.failure.unwrap_or_else(|| {
            let message = "none of the addresses has the socket's family";
            io::Error::new(io::ErrorKind::AddrNotAvailable, message)
        });
        let tried: Vec<_> = self.tried.iter().map(Address::to_string).collect();
        let action = match tried.as_slice() {
            [] => "connect".to_owned(),
            [one] => format!("connect to {one}"),
            [rest @ .., last] => format!("connect to {} and {last}", rest.join(", ")),
        };
        Error::system(action, fd, failure)
    }
}
