//! Connections that are being made: refused, tried at several addresses, silent
//! about writing, sent too early.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::common::{
    PATIENCE, Probe, TempDir, fd_flags, settle, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{Address, Dispatcher, DispatcherWithSend, Error, Family, SocketType};

/// An address without a listener, kept free by a socket that is bound to it.
fn refusing() -> (Dispatcher<Probe>, Address) {
    let mut bound = Dispatcher::unconnected(Probe::silent());
    bound
        .create_socket(Family::Inet, SocketType::Stream)
        .unwrap();
    bound.bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = bound.local_addr().unwrap();
    (bound, address)
}

fn listening() -> (TcpListener, Address) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address.into())
}

#[test]
fn a_refused_connection_gives_one_error_and_no_handle_connect() {
    with_every_loop(|event_loop| {
        for (read, write) in [(true, true), (true, false), (false, true), (false, false)] {
            let (_bound, address) = refusing();
            let (probe, seen) = Probe::new();
            seen.wants_read.set(read);
            seen.wants_write.set(write);
            let client = Dispatcher::connect(&address, probe).unwrap();
            let fd = client.as_raw_fd();
            event_loop.add(client).unwrap();
            turn_until_empty(event_loop);
            assert_eq!(seen.events(), ["error", "close"]);
            let (errno, text) = seen.reason().unwrap();
            assert_eq!(errno, Some(libc::ECONNREFUSED));
            assert!(text.contains(&address.to_string()), "{text}");
            assert!(text.contains(&format!("fd {fd}")), "{text}");
        }
    });
}

#[test]
fn a_refused_connection_whose_error_is_forgiven_hears_nothing_more() {
    with_every_loop(|event_loop| {
        let (_bound, address) = refusing();
        let (probe, seen) = Probe::new();
        seen.wants_write.set(true);
        let probe = probe.on_error(|io, error| {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(!io.connected() && !io.connecting());
            Ok(())
        });
        let client = Dispatcher::connect(&address, probe).unwrap();
        let id = event_loop.add(client).unwrap();
        turn_until(event_loop, "the error", || seen.heard("error"));
        settle(event_loop);
        assert_eq!(seen.events(), ["error"]);
        assert!(event_loop.get(id).is_some());
        // Nor does what is left of it keep the loop from sleeping.
        let timeout = Duration::from_millis(30);
        let begin = std::time::Instant::now();
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout);
    });
}

#[test]
fn after_a_refusal_another_connection_can_be_tried_with_the_same_channel() {
    with_every_loop(|event_loop| {
        let (_bound, address) = refusing();
        let (listener, second) = listening();
        let (probe, seen) = Probe::new();
        let probe = probe.on_error(move |io, _| io.connect(&second));
        let client = Dispatcher::connect(&address, probe).unwrap();
        let id = event_loop.add(client).unwrap();
        turn_until(event_loop, "the second", || seen.heard("connect"));
        assert_eq!(seen.events(), ["error", "connect"]);
        let channel = event_loop.get(id).unwrap();
        assert_eq!(channel.as_raw_fd(), id.fd(), "under the same number");
        assert_eq!(channel.local_addr().unwrap(), accepted_peer(&listener));
    });
}

fn accepted_peer(listener: &TcpListener) -> Address {
    listener.accept().unwrap().1.into()
}

#[test]
fn several_addresses_are_tried_until_one_answers() {
    with_every_loop(|event_loop| {
        let (_bound, first) = refusing();
        let (_other, second) = refusing();
        let (listener, third) = listening();
        let (probe, seen) = Probe::new();
        let addresses = vec![first, second, third.clone()];
        let client = Dispatcher::connect(addresses, probe).unwrap();
        let id = event_loop.add(client).unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(seen.events(), ["connect"], "no word of the others");
        let channel = event_loop.get(id).unwrap();
        assert_eq!(channel.addr(), Some(&third));
        assert!(channel.connected());
        assert_eq!(fd_flags(channel.socket().unwrap()), (true, true));
        assert_eq!(channel.local_addr().unwrap(), accepted_peer(&listener));
    });
}

#[test]
fn when_no_address_answers_there_is_one_error_that_names_them_all() {
    with_every_loop(|event_loop| {
        let (_bound, first) = refusing();
        let (_other, second) = refusing();
        let (probe, seen) = Probe::new();
        let client = Dispatcher::connect(vec![first.clone(), second.clone()], probe).unwrap();
        event_loop.add(client).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["error", "close"]);
        let text = &seen.errors()[0];
        for address in [first, second] {
            assert!(text.contains(&address.to_string()), "{text}");
        }
    });
}

#[test]
fn a_connection_completes_though_its_channel_wants_neither_to_read_nor_to_write() {
    with_every_loop(|event_loop| {
        let (_listener, address) = listening();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let id = event_loop
            .add(Dispatcher::connect(address, probe).unwrap())
            .unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        settle(event_loop);
        assert_eq!(seen.events(), ["connect"]);
        assert!(event_loop.get(id).unwrap().connected());
    });
}

#[test]
fn a_unix_connection_that_stands_at_once_is_told_too() {
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        let _listener = UnixListener::bind(dir.join("socket")).unwrap();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        event_loop
            .add(Dispatcher::connect(dir.join("socket"), probe).unwrap())
            .unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        settle(event_loop);
        assert_eq!(seen.events(), ["connect"]);
    });
}

#[test]
fn what_cannot_even_be_tried_is_an_error_of_connect_itself() {
    let dir = TempDir::new();
    let path = dir.join("nobody");
    let error = Dispatcher::connect(path.as_path(), Probe::silent()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nobody"), "{error}");
    let error = Dispatcher::connect("no address at all", Probe::silent()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let none: Vec<Address> = Vec::new();
    Dispatcher::connect(none, Probe::silent()).unwrap_err();
}

#[test]
fn what_is_sent_before_the_connection_stands_is_queued_and_delivered() {
    with_every_loop(|event_loop| {
        let (listener, address) = listening();
        let (probe, seen) = Probe::new();
        let mut client = DispatcherWithSend::connect(address, probe).unwrap();
        let data = vec![b'e'; 1 << 20];
        assert_eq!(client.send(&data).unwrap(), data.len());
        client.shutdown_when_done().unwrap();
        event_loop.add(client).unwrap();
        let reader = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).map(|_| got)
        });
        turn_until_empty(event_loop);
        assert!(reader.join().unwrap().unwrap() == data);
        assert_eq!(seen.events()[0], "connect");
        assert_eq!((seen.count("connect"), seen.count("error")), (1, 0));
    });
}

#[test]
fn an_early_send_does_not_hide_that_the_connection_was_refused() {
    with_every_loop(|event_loop| {
        let (_bound, address) = refusing();
        let (probe, seen) = Probe::new();
        let mut client = DispatcherWithSend::connect(address, probe).unwrap();
        // On the loopback the refusal is there by now, and a send takes it.
        for _ in 0..3 {
            assert_eq!(client.send(b"early").unwrap(), 5);
        }
        event_loop.add(client).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["error", "close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::ECONNREFUSED));
    });
}

#[test]
fn an_early_send_is_delivered_at_the_address_that_answers() {
    with_every_loop(|event_loop| {
        let (_bound, first) = refusing();
        let (listener, second) = listening();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let mut client = DispatcherWithSend::connect(vec![first, second], probe).unwrap();
        client.send(b"to whom it may concern").unwrap();
        client.close_when_done();
        event_loop.add(client).unwrap();
        turn_until_empty(event_loop);
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        assert_eq!(got, "to whom it may concern");
    });
}

#[test]
fn closing_a_channel_that_is_connecting_tells_it_nothing() {
    with_every_loop(|event_loop| {
        let (_listener, address) = listening();
        let (probe, seen) = Probe::new();
        let id = event_loop
            .add(Dispatcher::connect(address, probe).unwrap())
            .unwrap();
        event_loop.get_mut(id).unwrap().close();
        settle(event_loop);
        assert!(event_loop.is_empty());
        assert!(seen.events().is_empty());
    });
}

#[test]
fn an_error_of_handle_connect_that_is_forgiven_lets_it_be_called_again() {
    with_every_loop(|event_loop| {
        let (_listener, address) = listening();
        let (probe, seen) = Probe::new();
        let mut times = 0;
        let probe = probe
            .on_connect(move |_| {
                times += 1;
                match times {
                    1 => Err(Error::other("not like that")),
                    _ => Ok(()),
                }
            })
            .on_error(|_, _| Ok(()));
        event_loop
            .add(Dispatcher::connect(address, probe).unwrap())
            .unwrap();
        turn_until(event_loop, "again", || seen.count("connect") == 2);
        settle(event_loop);
        assert_eq!(seen.events(), ["connect", "error", "connect"]);
    });
}

#[test]
fn a_host_name_is_resolved_and_its_addresses_are_tried() {
    with_every_loop(|event_loop| {
        let (listener, address) = listening();
        let port = address.port().unwrap();
        let (probe, seen) = Probe::new();
        // It may stand for ::1 as well, where nobody listens.
        let client = Dispatcher::connect(("localhost", port), probe).unwrap();
        event_loop.add(client).unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(seen.events(), ["connect"]);
        let (_, peer): (_, SocketAddr) = listener.accept().unwrap();
        assert!(peer.ip().is_loopback());
    });
}
