//! Connections to an address that does not answer: a listener whose backlog is
//! full, for which Linux drops whatever else comes.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{Probe, Seen, settle, turn_until, turn_until_empty, with_every_loop};
use fdloop::{Address, ChannelId, Dispatcher, EventLoop, Family, SocketType};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

/// A listener that answers nobody, since its backlog is full.
struct Silent {
    _listener: Dispatcher<Probe>,
    /// Those that fill it.
    _waiting: Vec<OwnedFd>,
    address: Address,
}

impl Silent {
    #[track_caller]
    fn new() -> Self {
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
            _listener: listener,
            _waiting: waiting,
            address,
        }
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

fn add(
    event_loop: &mut EventLoop,
    addresses: Vec<Address>,
) -> (ChannelId<Dispatcher<Probe>>, Rc<Seen>) {
    let (probe, seen) = Probe::new();
    let client = Dispatcher::connect(addresses, probe).unwrap();
    (event_loop.add(client).unwrap(), seen)
}

/// The loop serves another channel, and sleeps when that has nothing to say.
#[track_caller]
fn assert_responsive(event_loop: &mut EventLoop) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (probe, seen) = Probe::new();
    let id = event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    for i in 1..=5 {
        theirs.write_all(b"x").unwrap();
        assert_eq!(event_loop.turn(Some(crate::common::PATIENCE)).unwrap(), 1);
        assert_eq!(seen.received_len(), i);
        let timeout = Duration::from_millis(20);
        let begin = Instant::now();
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout);
    }
    assert!(event_loop.close(id).unwrap());
}

#[test]
fn a_connection_that_gets_no_answer_keeps_nobody_waiting() {
    with_every_loop(|event_loop| {
        let silent = Silent::new();
        let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        second.set_nonblocking(true).unwrap();
        let addresses = vec![silent.address.clone(), second.local_addr().unwrap().into()];
        let (id, seen) = add(event_loop, addresses);
        assert_responsive(event_loop);
        assert!(seen.events().is_empty());
        let channel = event_loop.get(id).unwrap();
        assert!(channel.connecting() && !channel.connected());
        let early = second.accept().unwrap_err();
        assert_eq!(early.kind(), ErrorKind::WouldBlock, "in order");

        // When nobody listens there any more, the next attempt of the kernel, which
        // makes one a second, is refused, and it is the second address's turn.
        drop(silent);
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(seen.events(), ["connect"]);
        let channel = event_loop.get(id).unwrap();
        let (_, peer) = second.accept().unwrap();
        assert_eq!(channel.local_addr().unwrap(), peer.into());
    });
}

#[test]
fn a_connection_that_gets_no_answer_can_be_given_up() {
    with_every_loop(|event_loop| {
        let silent = Silent::new();
        let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        second.set_nonblocking(true).unwrap();
        let addresses = vec![silent.address.clone(), second.local_addr().unwrap().into()];

        let (id, seen) = add(event_loop, addresses.clone());
        settle(event_loop);
        event_loop.get_mut(id).unwrap().close();
        turn_until_empty(event_loop);
        assert!(seen.events().is_empty(), "closed by itself");

        let (id, seen) = add(event_loop, addresses);
        settle(event_loop);
        assert!(event_loop.close(id).unwrap());
        assert!(event_loop.is_empty());
        assert!(seen.events().is_empty(), "closed by its id");

        settle(event_loop);
        second.accept().unwrap_err();
    });
}
