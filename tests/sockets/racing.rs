//! Several addresses that are tried beside each other (RFC 8305).
#![cfg(target_os = "linux")]

use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::clock::{Clock, with_clocks};
use crate::common::{
    PATIENCE, Probe, Seen, Silent, fd_flags, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{
    Address, ChannelId, Deadline, Dispatcher, DispatcherWithSend, EventLoop, Family, SocketType,
};

/// The time after which the next address is tried.
const DELAY: Duration = Duration::from_millis(250);

fn listening() -> (TcpListener, Address) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address.into())
}

/// An address that refuses, kept free by a socket that is bound to it.
fn refusing() -> (Dispatcher<Probe>, Address) {
    let mut bound = Dispatcher::unconnected(Probe::silent());
    let made = bound.create_socket(Family::Inet, SocketType::Stream);
    made.unwrap();
    bound.bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = bound.local_addr().unwrap();
    (bound, address)
}

type Id = ChannelId<DispatcherWithSend<Probe>>;

fn add(event_loop: &mut EventLoop, addresses: Vec<Address>) -> (Id, Rc<Seen>) {
    let (probe, seen) = Probe::new();
    let client = DispatcherWithSend::connect(addresses, probe).unwrap();
    (event_loop.add(client).unwrap(), seen)
}

/// Makes passes that advance the time by no more than the loop's timers need, until a connection
/// is established.
#[track_caller]
fn connect(event_loop: &mut EventLoop, seen: &Seen) {
    let deadline = Instant::now() + PATIENCE;
    while !seen.heard("connect") {
        assert!(Instant::now() < deadline, "not connected");
        event_loop.turn(None).unwrap();
    }
}

/// Makes passes until `end`, and a few more that do not wait.
fn turn_until_time(event_loop: &mut EventLoop, clock: &Clock, end: Instant) {
    while clock.get() < end {
        event_loop.turn_until(Deadline::At(end)).unwrap();
    }
    for _ in 0..3 {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn an_address_that_is_silent_holds_up_the_next_by_a_quarter_of_a_second() {
    with_clocks(|event_loop, clock| {
        for silent_ones in 1..=3_u32 {
            let begin = clock.get();
            let silent = Silent::new();
            let (listener, good) = listening();
            let mut addresses = vec![silent.address.clone(); silent_ones as usize];
            addresses.push(good.clone());
            let (id, seen) = add(event_loop, addresses);
            connect(event_loop, &seen);
            assert_eq!(clock.get() - begin, silent_ones * DELAY);
            assert_eq!(seen.events(), ["connect"]);
            let channel = event_loop.get(id).unwrap();
            assert!(channel.connected() && channel.addr() == Some(&good));
            assert_eq!(channel.as_raw_fd(), id.fd(), "under the same number");
            assert_eq!(fd_flags(channel.socket().unwrap()), (true, true));
            let (stream, peer) = listener.accept().unwrap();
            assert_eq!(channel.local_addr().unwrap(), peer.into());
            drop(stream);
            turn_until_empty(event_loop);
            assert_eq!((seen.count("close"), seen.count("error")), (1, 0));
        }
    });
}

#[test]
fn the_winner_may_be_of_the_other_family_and_gets_what_was_sent() {
    with_clocks(|event_loop, _| {
        let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            return; // there is no IPv6
        };
        let silent = Silent::new();
        let addresses = vec![
            silent.address.clone(),
            listener.local_addr().unwrap().into(),
        ];
        let (probe, seen) = Probe::new();
        let mut client = DispatcherWithSend::connect(addresses, probe).unwrap();
        client.set_nodelay(false).unwrap();
        client.send(b"early").unwrap();
        client.close_when_done();
        let id = event_loop.add(client).unwrap();
        connect(event_loop, &seen);
        if let Some(client) = event_loop.get(id) {
            assert!(!client.socket().unwrap().nodelay().unwrap());
        }
        turn_until_empty(event_loop);
        let mut got = String::new();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_string(&mut got).unwrap();
        assert_eq!(got, "early");
    });
}

#[test]
fn the_first_attempt_goes_on_beside_the_others() {
    with_every_loop(|event_loop| {
        let mut silent = Silent::new();
        let (_bound, refusing) = refusing();
        let (id, seen) = add(event_loop, vec![silent.address.clone(), refusing]);
        let expected = silent.address.clone();
        // The kernel tries again after a second. By then the other address has refused.
        let listener = silent.answer();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(seen.events(), ["connect"]);
        let channel = event_loop.get(id).unwrap();
        assert_eq!(channel.addr(), Some(&expected));
        let ours = channel.local_addr().unwrap();
        let mut peers = std::iter::from_fn(|| listener.accept().unwrap());
        assert!(peers.any(|(_, peer)| peer == ours));
    });
}

#[test]
fn a_failure_has_the_next_address_tried_at_once() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let silent = Silent::new();
        let nothing = Address::Path("/no/such/socket".into());
        let (_listener, good) = listening();
        let addresses = vec![silent.address.clone(), nothing.clone(), nothing, good];
        let (_, seen) = add(event_loop, addresses);
        connect(event_loop, &seen);
        assert_eq!(clock.get() - begin, DELAY);
        assert_eq!(seen.events(), ["connect"]);
    });
}

#[test]
fn when_all_fail_there_is_one_error_that_names_them() {
    with_every_loop(|event_loop| {
        let silent = Silent::new();
        let (_bound, refusing) = refusing();
        let addresses = vec![silent.address.clone(), refusing];
        let (id, seen) = add(event_loop, addresses.clone());
        let begin = Instant::now();
        while begin.elapsed() < 2 * DELAY {
            event_loop.turn(Some(DELAY)).unwrap();
        }
        assert!(event_loop.get(id).unwrap().connecting());
        drop(silent); // which refuses now
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["error", "close"]);
        let (errno, text) = seen.reason().unwrap();
        assert_eq!(errno, Some(libc::ECONNREFUSED));
        for address in addresses {
            assert!(text.contains(&address.to_string()), "{text}");
        }
    });
}

#[test]
fn the_timeout_counts_from_the_last_attempt() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let silent = Silent::new();
        let (probe, seen) = Probe::new();
        let addresses = vec![silent.address.clone(); 3];
        let mut channel = Dispatcher::connect(addresses, probe).unwrap();
        channel.set_timeout(Some(2 * Duration::from_secs(1)));
        event_loop.add(channel).unwrap();
        event_loop.run().unwrap();
        assert_eq!(clock.get() - begin, 2 * DELAY + Duration::from_secs(2));
        assert_eq!(seen.events(), ["close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::ETIMEDOUT));
    });
}

#[test]
fn a_short_timeout_has_one_address_tried_after_the_other() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let silent = Silent::new();
        let (_listener, good) = listening();
        let (probe, seen) = Probe::new();
        let addresses = vec![silent.address.clone(), silent.address.clone(), good];
        let mut channel = Dispatcher::connect(addresses, probe).unwrap();
        let timeout = Duration::from_millis(20);
        channel.set_timeout(Some(timeout));
        event_loop.add(channel).unwrap();
        connect(event_loop, &seen);
        assert!(clock.get() - begin >= 2 * timeout);
    });
}

#[test]
fn a_channel_that_is_closed_meanwhile_takes_all_attempts_with_it() {
    with_clocks(|event_loop, clock| {
        let silent = Silent::new();
        let addresses = vec![silent.address.clone(); 4];
        for by_itself in [true, false] {
            let (id, seen) = add(event_loop, addresses.clone());
            turn_until_time(event_loop, clock, clock.get() + 2 * DELAY);
            assert_eq!(event_loop.len(), 3, "two attempts beside the first");
            if by_itself {
                event_loop.get_mut(id).unwrap().close();
            } else {
                assert!(event_loop.close(id).unwrap());
            }
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            assert!(event_loop.is_empty());
            assert!(seen.events().is_empty());
        }
    });
}

#[test]
fn a_channel_that_is_removed_and_added_again_tries_all_addresses_again() {
    with_clocks(|event_loop, clock| {
        let silent = Silent::new();
        let (_listener, good) = listening();
        let addresses = vec![silent.address.clone(), silent.address.clone(), good];
        let (id, seen) = add(event_loop, addresses);
        turn_until_time(event_loop, clock, clock.get() + DELAY);
        assert_eq!(event_loop.len(), 2);
        let channel = event_loop.remove(id).unwrap();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(event_loop.is_empty());
        let begin = clock.get();
        event_loop.add(channel).unwrap();
        connect(event_loop, &seen);
        assert_eq!(clock.get() - begin, 2 * DELAY);
        assert_eq!(seen.events(), ["connect"]);
        assert_eq!(event_loop.len(), 1);
    });
}
