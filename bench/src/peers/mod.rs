//! The loops that are compared, each as its own users would write it.

#[cfg(not(polling_test_poll_backend))]
mod calloop;
#[cfg(have_libev)]
mod libev;
#[cfg(have_libevent)]
mod libevent;
mod mapped;
mod mio;
mod own;
mod polling;
mod popol;
mod python;
mod raw;
pub mod tasks;
mod tokio;

use std::error::Error;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

pub use python::PYTHON;

use crate::ring::{Ring, RingLoop};

/// The system call that a loop waits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Select,
    Poll,
    Epoll,
}

impl Call {
    pub const ALL: [Self; 3] = [Self::Select, Self::Poll, Self::Epoll];

    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Poll => "poll",
            Self::Epoll => "epoll",
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Makes a loop that has the channels of a ring registered.
pub type NewRing = fn(&Rc<Ring>, Vec<UnixStream>) -> Result<Box<dyn RingLoop>>;

/// Serves connections, sending back what they send, for ever.
pub type Echo = fn(TcpListener) -> Result<()>;

/// One of the loops.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// `library/method`.
    pub name: &'static str,
    pub call: Call,
    pub ring: Option<NewRing>,
    pub echo: Option<Echo>,
}

/// Checks whether this build has the Rust libraries wait with poll(2) that otherwise wait
/// with epoll(7). They can be told so only when they are built.
pub const FORCED_POLL: bool = cfg!(polling_test_poll_backend);

/// The name and system call of a library that [`FORCED_POLL`] concerns.
const fn forced(name: &'static str, poll_name: &'static str) -> (&'static str, Call) {
    if FORCED_POLL {
        (poll_name, Call::Poll)
    } else {
        (name, Call::Epoll)
    }
}

/// All that this program was built with.
pub fn all() -> Vec<Peer> {
    let mut peers = Vec::new();
    peers.extend_from_slice(raw::PEERS);
    peers.extend_from_slice(own::PEERS);
    peers.push(mapped::PEER);
    #[cfg(have_libevent)]
    peers.extend_from_slice(libevent::PEERS);
    #[cfg(have_libev)]
    peers.extend_from_slice(libev::PEERS);
    peers.extend_from_slice(&[popol::PEER, polling::PEER, mio::PEER, tokio::PEER]);
    #[cfg(not(polling_test_poll_backend))]
    peers.push(calloop::PEER);
    peers
}

/// The peer of that name, those of fdloop that are no peers of their own included.
pub fn named(name: &str) -> Result<Peer> {
    let others = own::ASKED.iter().chain(tasks::SERVERS).copied();
    let mut peers = all().into_iter().chain(others);
    let found = peers.find(|peer| peer.name == name);
    found.ok_or_else(|| format!("no peer {name:?} was built in").into())
}

/// The versions of the libraries, as `(name, version)`.
pub fn versions() -> Vec<(String, String)> {
    let mut versions = Vec::new();
    let lock = include_str!(concat!(env!("OUT_DIR"), "/versions"));
    for line in lock.lines() {
        let rust = [
            "fdloop", "mio", "polling", "popol", "calloop", "tokio", "memchr",
        ];
        if let Some((name, version)) = line.split_once(' ')
            && rust.contains(&name)
        {
            versions.push((name.to_owned(), version.to_owned()));
        }
    }
    #[cfg(have_libevent)]
    versions.push(("libevent".to_owned(), libevent::version()));
    #[cfg(have_libev)]
    versions.push(("libev".to_owned(), libev::version()));
    versions
}

/// Returns the peers that are left out, since they are not installed.
pub fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if !cfg!(have_libevent) {
        missing.push("libevent: not installed when this was built (package libevent-dev)");
    }
    if !cfg!(have_libev) {
        missing.push("libev: not installed when this was built (package libev-dev)");
    }
    missing
}
