//! An unresponsive address without a network: a listener whose backlog is full. Linux then drops
//! further connects.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::Probe;
use fdloop::{Address, Dispatcher, Family, SocketType};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

/// A listener that does not respond, since its backlog is full. When it is dropped, connects are
/// refused.
pub struct Silent {
    listener: Dispatcher<Probe>,
    /// The connections that fill it.
    waiting: Vec<OwnedFd>,
    pub address: Address,
}

impl Silent {
    #[track_caller]
    pub fn new() -> Self {
        let mut listener = Dispatcher::unconnected(Probe::silent());
        listener
            .create_socket(Family::Inet, SocketType::Stream)
            .unwrap();
        listener.bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        // Several, since the first without a response may only be slow.
        let (mut waiting, mut unanswered) = (Vec::new(), 0);
        while unanswered < 3 {
            assert!(waiting.len() < 100, "the backlog has no end");
            let client = dial(&address);
            unanswered += usize::from(!is_established(&client));
            waiting.push(client);
        }
        Self {
            listener,
            waiting,
            address,
        }
    }

    /// Accepts the pending connections, so that the listener responds again.
    pub fn answer(&mut self) -> &mut Dispatcher<Probe> {
        self.waiting.clear();
        while let Ok(Some(_)) = self.listener.accept() {}
        &mut self.listener
    }
}

/// Begins to connect.
fn dial(address: &Address) -> OwnedFd {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port().unwrap());
    let begun = connect(client.as_raw_fd(), &SockaddrIn::from(address));
    assert!(matches!(begun, Ok(()) | Err(nix::Error::EINPROGRESS)));
    client
}

/// Checks whether a connection is established, now or soon.
fn is_established(client: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::from(50_u8)).unwrap() == 1
}
