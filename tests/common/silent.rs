//! An address that does not answer, without a network: a listener whose backlog is full, for
//! which Linux drops whatever else comes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::Probe;
use fdloop::{Address, Dispatcher, Family, SocketType};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

/// A listener that answers nobody, since its backlog is full. Dropped, it refuses.
pub struct Silent {
    listener: Dispatcher<Probe>,
    /// Those that fill it.
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
        // Some more than the first that gets no answer, should that be a slow one.
        let (mut waiting, mut unanswered) = (Vec::new(), 0);
        while unanswered < 3 {
            assert!(waiting.len() < 100, "the backlog has no end");
            let client = dial(&address);
            unanswered += usize::from(!stands(&client));
            waiting.push(client);
        }
        Self {
            listener,
            waiting,
            address,
        }
    }

    /// Takes those that wait, and so answers again.
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

/// Whether a connection stands, or does so soon.
fn stands(client: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::from(50_u8)).unwrap() == 1
}
