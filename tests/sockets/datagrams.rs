//! Datagram sockets as channels.

use std::cell::RefCell;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;

use crate::common::{Probe, TempDir, settle, turn_once, turn_until, with_every_loop};
use fdloop::{Address, Dispatcher, Family, IntoSocket, SocketType};

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

type Datagrams = Rc<RefCell<Vec<(Vec<u8>, Address)>>>;

/// A channel that keeps its datagrams, and sends each back in capitals.
fn answering(socket: impl IntoSocket) -> (Dispatcher<Probe>, Datagrams) {
    let got = Datagrams::default();
    let kept = Rc::clone(&got);
    let probe = Probe::silent().on_read(move |io| {
        let mut buf = [0; 100];
        let (n, from) = io.recv_from(&mut buf)?;
        if from != Address::Unnamed {
            io.send_to(&buf[..n].to_ascii_uppercase(), &from)?;
        }
        kept.borrow_mut().push((buf[..n].to_vec(), from));
        Ok(())
    });
    (Dispatcher::new(socket, probe).unwrap(), got)
}

#[test]
fn udp_datagrams_are_received_with_their_senders_and_answered() {
    with_every_loop(|event_loop| {
        let (channel, got) = answering(UdpSocket::bind(LOCAL).unwrap());
        let Address::Inet(address) = channel.local_addr().unwrap() else {
            panic!("no internet address");
        };
        event_loop.add(channel).unwrap();
        let client = UdpSocket::bind(LOCAL).unwrap();
        client
            .set_read_timeout(Some(crate::common::PATIENCE))
            .unwrap();
        let me = Address::from(client.local_addr().unwrap());
        for text in ["spam", "", "and eggs"] {
            client.send_to(text.as_bytes(), address).unwrap();
            turn_once(event_loop);
            assert_eq!(got.take(), [(text.into(), me.clone())]);
            let mut buf = [0; 100];
            let (n, from) = client.recv_from(&mut buf).unwrap();
            assert_eq!(&buf[..n], text.to_uppercase().as_bytes());
            assert_eq!(from, address);
        }
    });
}

#[test]
fn an_empty_datagram_is_not_the_end() {
    with_every_loop(|event_loop| {
        let ours = UdpSocket::bind(LOCAL).unwrap();
        let theirs = UdpSocket::bind(LOCAL).unwrap();
        ours.connect(theirs.local_addr().unwrap()).unwrap();
        theirs.connect(ours.local_addr().unwrap()).unwrap();
        let (probe, seen) = Probe::new();
        let channel = Dispatcher::new(ours, probe).unwrap();
        assert_eq!(
            channel.socket().unwrap().socket_type(),
            SocketType::Datagram
        );
        assert!(channel.connected());
        let id = event_loop.add(channel).unwrap();
        for text in ["", "after an empty one", ""] {
            theirs.send(text.as_bytes()).unwrap();
            turn_once(event_loop);
        }
        settle(event_loop);
        assert_eq!(seen.events(), ["read", "read", "read"]);
        assert_eq!(seen.received(), b"after an empty one");
        let channel = event_loop.get_mut(id).unwrap();
        assert!(!channel.input_ended());
        assert_eq!(channel.send(b"hello").unwrap(), 5);
        let mut buf = [0; 100];
        assert_eq!(theirs.recv(&mut buf).unwrap(), 5);
    });
}

#[test]
fn unix_datagrams_come_from_named_and_unnamed_senders() {
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        let (channel, got) = answering(UnixDatagram::bind(dir.join("server")).unwrap());
        assert_eq!(
            channel.local_addr().unwrap(),
            Address::Path(dir.join("server"))
        );
        event_loop.add(channel).unwrap();
        let named = UnixDatagram::bind(dir.join("client")).unwrap();
        named.send_to(b"named", dir.join("server")).unwrap();
        turn_once(event_loop);
        assert_eq!(
            got.take(),
            [(b"named".to_vec(), Address::Path(dir.join("client")))]
        );
        let mut buf = [0; 100];
        assert_eq!(named.recv(&mut buf).unwrap(), 5);
        assert_eq!(&buf[..5], b"NAMED");
        let unnamed = UnixDatagram::unbound().unwrap();
        unnamed.send_to(b"unnamed", dir.join("server")).unwrap();
        turn_once(event_loop);
        assert_eq!(got.take(), [(b"unnamed".to_vec(), Address::Unnamed)]);
    });
}

#[test]
fn a_datagram_socket_can_be_made_and_bound_here() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let mut channel = Dispatcher::unconnected(probe);
        channel
            .create_socket(fdloop::Family::Inet, SocketType::Datagram)
            .unwrap();
        channel.bind(LOCAL).unwrap();
        let Some(&Address::Inet(address)) = channel.addr() else {
            panic!("no address");
        };
        assert_ne!(address.port(), 0, "the port that the system chose");
        event_loop.add(channel).unwrap();
        let client = UdpSocket::bind(LOCAL).unwrap();
        client.send_to(b"spam", address).unwrap();
        turn_until(event_loop, "it came", || seen.received() == b"spam");
    });
}

#[test]
fn a_datagram_socket_goes_on_receiving_after_a_connect_that_failed() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let mut channel = Dispatcher::unconnected(probe.on_read(|io| {
            io.recv_from(&mut [0; 8])?;
            Ok(())
        }));
        channel
            .create_socket(Family::Inet, SocketType::Datagram)
            .unwrap();
        channel.bind(LOCAL).unwrap();
        let address = channel.local_addr().unwrap();
        let id = event_loop.add(channel).unwrap();
        // Not allowed without SO_BROADCAST.
        let channel = event_loop.get_mut(id).unwrap();
        channel.connect("255.255.255.255:9").unwrap_err();
        assert!(!channel.connected() && !channel.connecting());
        let client = UdpSocket::bind(LOCAL).unwrap();
        client
            .send_to(b"hello", (Ipv4Addr::LOCALHOST, address.port().unwrap()))
            .unwrap();
        turn_once(event_loop);
        assert_eq!(seen.events(), ["read"]);
        // Nor does the next attempt lose the address.
        let channel = event_loop.get_mut(id).unwrap();
        channel
            .connect(Address::from(client.local_addr().unwrap()))
            .unwrap();
        assert_eq!(channel.local_addr().unwrap(), address);
        settle(event_loop);
        assert_eq!(seen.events(), ["read", "connect"]);
    });
}
