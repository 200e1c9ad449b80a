//! Connecting to one address after the other.

use std::io;

use crate::address::Address;
use crate::error::Error;

/// The addresses that a connect has still to try, and what became of the others.
#[derive(Debug)]
pub(super) struct Attempts {
    left: std::vec::IntoIter<Address>,
    tried: Vec<Address>,
    failure: Option<io::Error>,
    /// The error of the attempt that is going on, which a send took.
    early: Option<io::Error>,
    /// The socket was used for one, and is of no use for another.
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

    /// An attempt at `address` that has succeeded.
    pub(super) fn made(address: Option<Address>) -> Self {
        Self {
            tried: address.into_iter().collect(),
            ..Self::new(Vec::new(), true)
        }
    }

    /// The next address to try.
    pub(super) fn next(&mut self) -> Option<Address> {
        let address = self.left.next()?;
        self.tried.push(address.clone());
        Some(address)
    }

    /// Notes why the last one tried was none.
    pub(super) fn failed(&mut self, failure: io::Error) {
        self.failure = Some(failure);
    }

    /// Notes that a send found why the one that is tried is none.
    pub(super) fn failed_early(&mut self, failure: io::Error) {
        self.early = Some(failure);
    }

    /// What [`failed_early`](Attempts::failed_early) noted.
    pub(super) fn take_early(&mut self) -> Option<io::Error> {
        self.early.take()
    }

    /// The error when all were tried in vain: names them all, and says of the
    /// last why.
    pub(super) fn error(self, fd: Option<i32>) -> Error {
        let failure = self.failure.unwrap_or_else(|| {
            let message = "there is no address of the socket's family";
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
