//! Pairs, conversions, out-of-band data, addresses of peers, transports of one's own.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::rc::Rc;

use crate::common::{
    Probe, TempDir, settle, turn_once, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{
    Address, Dispatcher, DispatcherWithSend, EventLoop, Io, Socket, SocketType, Transport,
};

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[test]
fn the_sockets_of_a_pair_are_connected_to_each_other() {
    with_every_loop(|event_loop| {
        let (a, b) = Socket::pair().unwrap();
        assert_eq!(a.peer_addr().unwrap(), Address::Unnamed);
        let (probe, left) = Probe::new();
        let mut channel = Dispatcher::new(a, probe).unwrap();
        assert!(channel.connected());
        channel.send(b"to the right").unwrap();
        let left_id = event_loop.add(channel).unwrap();
        let (probe, right) = Probe::new();
        event_loop.add(Dispatcher::new(b, probe).unwrap()).unwrap();
        turn_until(event_loop, "it came", || right.received_len() == 12);
        event_loop.get_mut(left_id).unwrap().close();
        turn_until_empty(event_loop);
        assert!(left.events().is_empty());
        assert_eq!(right.count("close"), 1);
    });
}

#[test]
fn sockets_turn_into_those_of_the_standard_library_and_back() {
    let dir = TempDir::new();
    let listener = Socket::adopt(TcpListener::bind(LOCAL).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from(listener);
    assert_eq!(Address::from(listener.local_addr().unwrap()), address);
    let client = Socket::adopt(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let mut client = TcpStream::from(client.unwrap());
    // It stays non-blocking.
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let udp = Socket::adopt(UdpSocket::bind(LOCAL).unwrap()).unwrap();
    assert_eq!(udp.socket_type(), SocketType::Datagram);
    let _ = UdpSocket::from(udp);
    let unix = Socket::adopt(UnixListener::bind(dir.join("socket")).unwrap()).unwrap();
    let unix = UnixListener::from(unix);
    assert_eq!(
        unix.local_addr().unwrap().as_pathname(),
        Some(dir.join("socket").as_path())
    );
    let datagram = Socket::adopt(UnixDatagram::unbound().unwrap()).unwrap();
    let _ = UnixDatagram::from(datagram);
    let (a, b) = Socket::pair().unwrap();
    let (mut a, b) = (UnixStream::from(a), OwnedFd::from(b));
    a.write_all(b"through").unwrap();
    let mut b = UnixStream::from(Socket::adopt(b).unwrap());
    let mut got = [0; 7];
    b.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"through");
}

#[test]
fn a_dispatcher_gives_its_socket_and_its_handler_back() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        settle(event_loop);
        let channel = event_loop.remove(id).unwrap();
        let (socket, probe) = channel.into_parts();
        let socket = socket.unwrap();
        theirs.write_all(b"x").unwrap();
        let channel = DispatcherWithSend::new(socket, probe).unwrap();
        event_loop.add(channel).unwrap();
        turn_until(event_loop, "it goes on", || seen.received_len() == 1);
    });
}

#[test]
fn out_of_band_data_overtakes_and_is_received_apart() {
    with_every_loop(|event_loop| {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let (probe, seen) = Probe::new();
        let urgent = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&urgent);
        let probe = probe.on_expt(move |io| {
            let mut buf = [0; 16];
            let n = io.recv_oob(&mut buf)?;
            kept.borrow_mut().extend_from_slice(&buf[..n]);
            Ok(())
        });
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let mut sender = Dispatcher::new(theirs, Probe::silent()).unwrap();
        assert_eq!(sender.send(b"in order").unwrap(), 8);
        assert_eq!(sender.send_oob(b"!").unwrap(), 1);
        assert_eq!(sender.send(b", and on").unwrap(), 8);
        turn_until(event_loop, "all came", || {
            seen.received_len() == 16 && !urgent.borrow().is_empty()
        });
        assert_eq!(seen.received(), b"in order, and on");
        assert_eq!(*urgent.borrow(), b"!");
        assert_eq!(seen.count("error"), 0);
    });
}

/// The peer's address that a listener on `address` is given for `connect`'s socket.
fn accepted_peer(
    event_loop: &mut EventLoop,
    address: Address,
    connect: impl Fn() -> OwnedFd,
) -> Address {
    let (probe, seen) = Probe::new();
    let id = event_loop
        .add(Dispatcher::listen(address, probe).unwrap())
        .unwrap();
    let _client = connect();
    turn_until(event_loop, "accepted", || seen.heard("accepted"));
    assert!(event_loop.close(id).unwrap());
    let (socket, peer) = seen.accepted.borrow_mut().pop().unwrap();
    assert_eq!(socket.peer_addr().unwrap(), peer);
    peer
}

/// A Unix stream socket that is bound to `name` and connected to `to`.
fn unix_client(name: &nix::sys::socket::UnixAddr, to: &nix::sys::socket::UnixAddr) -> OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, connect, socket};
    let client = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::empty(),
        None,
    )
    .unwrap();
    bind(client.as_raw_fd(), name).unwrap();
    connect(client.as_raw_fd(), to).unwrap();
    client
}

#[test]
fn peers_of_unix_sockets_have_paths_or_no_names() {
    use nix::sys::socket::UnixAddr;
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        let server = dir.join("server");
        let peer = accepted_peer(event_loop, Address::Path(server.clone()), || {
            UnixStream::connect(&server).unwrap().into()
        });
        assert_eq!(peer, Address::Unnamed);
        let (server, client) = (dir.join("second"), dir.join("client"));
        let peer = accepted_peer(event_loop, Address::Path(server.clone()), || {
            let (name, to) = (UnixAddr::new(&client), UnixAddr::new(&server));
            unix_client(&name.unwrap(), &to.unwrap())
        });
        assert_eq!(peer, Address::Path(client));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn servers_and_clients_may_have_abstract_names() {
    use nix::sys::socket::UnixAddr;
    with_every_loop(|event_loop| {
        let unique = format!("fdloop-test-{}", std::process::id());
        let (server, client) = (format!("{unique}-server"), format!("{unique}-client"));
        let address: Address = format!("@{server}").parse().unwrap();
        assert_eq!(address, Address::Abstract(server.clone().into()));
        let peer = accepted_peer(event_loop, address, || {
            let name = UnixAddr::new_abstract(client.as_bytes()).unwrap();
            let to = UnixAddr::new_abstract(server.as_bytes()).unwrap();
            unix_client(&name, &to)
        });
        assert_eq!(peer, Address::Abstract(client.clone().into()));
        // And a client of ours finds such a server.
        let (probe, seen) = Probe::new();
        let address = format!("@{server}");
        let listener = Dispatcher::listen(&address, Probe::silent()).unwrap();
        event_loop.add(listener).unwrap();
        event_loop
            .add(Dispatcher::connect(&address, probe).unwrap())
            .unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
    });
}

#[test]
fn abort_resets_a_tcp_connection() {
    with_every_loop(|event_loop| {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let id = event_loop
            .add(Dispatcher::new(ours, Probe::silent()).unwrap())
            .unwrap();
        event_loop.get_mut(id).unwrap().abort();
        settle(event_loop);
        assert!(event_loop.is_empty());
        let error = theirs.read(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_channel_that_resets_on_close_does_so_when_its_output_is_written() {
    with_every_loop(|event_loop| {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
        channel.reset_on_close();
        channel.send(b"hello").unwrap();
        let id = event_loop.add(channel).unwrap();
        settle(event_loop);
        theirs.read_exact(&mut [0; 5]).unwrap();
        assert!(event_loop.contains(id));
        event_loop.get_mut(id).unwrap().close_when_done();
        turn_until_empty(event_loop);
        assert_eq!(seen.count("close"), 1);
        let error = theirs.read(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

/// Scrambles what goes through a socket, as a cipher would.
struct Scrambled(UnixStream);

impl Transport for Scrambled {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        buf[..n].iter_mut().for_each(|byte| *byte ^= 0x55);
        Ok(n)
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        let scrambled: Vec<u8> = data.iter().map(|byte| byte ^ 0x55).collect();
        self.0.write(&scrambled)
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}

#[test]
fn a_transport_of_ones_own_can_end_its_output() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut channel = DispatcherWithSend::over(Scrambled(ours), Probe::silent());
        channel.shutdown_when_done().unwrap();
        event_loop.add(channel).unwrap();
        settle(event_loop);
        assert_eq!(theirs.read(&mut [0; 16]).unwrap(), 0);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn anything_that_owns_a_socket_makes_a_dispatcher() {
    /// As another library would have one.
    struct Theirs(UnixStream);
    impl From<Theirs> for OwnedFd {
        fn from(theirs: Theirs) -> Self {
            theirs.0.into()
        }
    }
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(Theirs(ours), probe).unwrap())
            .unwrap();
        theirs.write_all(b"hello").unwrap();
        drop(theirs);
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"hello");
    });
}

#[test]
fn a_dispatcher_works_over_a_transport_of_ones_own() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = DispatcherWithSend::over(Scrambled(ours), probe);
        channel.send(b"secret").unwrap();
        assert!(channel.socket().is_none());
        event_loop.add(channel).unwrap();
        let mut got = [0; 6];
        theirs.read_exact(&mut got).unwrap();
        assert_eq!(got, b"secret".map(|byte| byte ^ 0x55));
        theirs
            .write_all(&b"answer".map(|byte| byte ^ 0x55))
            .unwrap();
        drop(theirs);
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"answer");
        assert_eq!((seen.count("eof"), seen.count("close")), (1, 1));
    });
}

#[test]
fn a_transport_without_a_descriptor_cannot_be_added() {
    struct Nothing;
    impl Transport for Nothing {
        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }
        fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn send(&mut self, data: &[u8]) -> io::Result<usize> {
            Ok(data.len())
        }
    }
    with_every_loop(|event_loop| {
        let channel = Dispatcher::over(Nothing, Probe::silent());
        let failed = event_loop.try_add(channel).unwrap_err();
        assert_eq!(failed.error.kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_transport_that_answers_more_than_is_possible_is_an_error() {
    /// Moves four bytes, and says that it was twenty-one.
    struct Boastful(UnixStream);
    impl Transport for Boastful {
        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.0.as_fd())
        }
        fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read_exact(&mut buf[..4])?;
            Ok(21)
        }
        fn send(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.write_all(&data[..4])?;
            Ok(21)
        }
    }
    with_every_loop(|event_loop| {
        // What another channel received is in the buffer that they share.
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let probe = Probe::silent().on_read(|io| io.recv_with(100, |_, _| Ok(())));
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"a secret of another channel").unwrap();
        turn_once(event_loop);

        let acts: [fn(&mut Io<'_>) -> fdloop::Result<()>; 3] = [
            |io| io.recv_with(4, |_, data| panic!("it was given {data:?}")),
            |io| io.recv(&mut [0; 4]).map(drop),
            |io| {
                io.recv(&mut [0; 100])?;
                io.send(b"spam").map(drop)
            },
        ];
        for act in acts {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let fd = ours.as_raw_fd();
            let (probe, seen) = Probe::new();
            let channel = DispatcherWithSend::over(Boastful(ours), probe.on_read(act));
            event_loop.add(channel).unwrap();
            theirs.write_all(b"spam").unwrap();
            turn_once(event_loop);
            let errors = seen.errors();
            let [error] = &errors[..] else {
                panic!("{errors:?}");
            };
            assert!(error.contains(&format!("fd {fd}")), "{error}");
            assert!(
                error.contains("returned 21 bytes where at most 4"),
                "{error}"
            );
        }
    });
}

/// Interrupted, and seldom not.
struct Interrupted {
    stream: UnixStream,
    calls: u32,
}

impl Interrupted {
    fn interrupt(&mut self) -> io::Result<&mut UnixStream> {
        self.calls += 1;
        match self.calls % 1_000_000 {
            0 => Ok(&mut self.stream),
            _ => Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

impl Transport for Interrupted {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.as_fd())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.interrupt()?.read(buf)
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.interrupt()?.write(data)
    }
}

#[test]
fn a_transport_that_is_interrupted_a_million_times_neither_overflows_nor_stops_the_others() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let transport = Interrupted {
            stream: ours,
            calls: 0,
        };
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| io.recv_with(4, |io, data| io.send(data).map(drop)));
        let channel = DispatcherWithSend::over(transport, probe);
        event_loop.add(channel).unwrap();
        theirs.write_all(b"spam").unwrap();
        // No call of the channel's lasts until the interruptions end.
        let (quiet, mut quiet_peer) = UnixStream::pair().unwrap();
        let (other, other_seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(quiet, other).unwrap())
            .unwrap();
        quiet_peer.write_all(b"x").unwrap();
        turn_once(event_loop);
        assert_eq!(other_seen.received(), b"x");

        theirs.set_nonblocking(true).unwrap();
        let mut got = Vec::new();
        turn_until(event_loop, "it comes back", || {
            let _ = theirs.read_to_end(&mut got);
            got == b"spam"
        });
        assert!(seen.errors().is_empty());
    });
}
