//! Connections to an address that does not respond: a listener whose backlog is
//! full, for which Linux drops whatever else comes.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::clock::with_clocks;
use crate::common::{
    Probe, Seen, Silent, Simulated, settle, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{Address, ChannelId, Dispatcher, Event, EventLoop, Readiness};

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
fn an_unresponsive_address_does_not_hold_up_other_channels() {
    with_every_loop(|event_loop| {
        let silent = Silent::new();
        let (id, seen) = add(event_loop, vec![silent.address.clone()]);
        assert_responsive(event_loop);
        assert!(seen.events().is_empty());
        let channel = event_loop.get(id).unwrap();
        assert!(channel.connecting() && !channel.connected());
        // When the listener is gone, the next attempt of the kernel, which
        // makes one a second, is refused.
        drop(silent);
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["error", "close"]);
    });
}

#[test]
fn a_connect_to_an_unresponsive_address_can_be_given_up() {
    // In no time, so that the second address is not tried yet.
    with_clocks(|event_loop, _| {
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

/// Makes the connect that is in progress on a socket fail with ECONNRESET.
fn cut_off(channel: &Dispatcher<Probe>) {
    use nix::sys::socket::{Shutdown, shutdown};
    shutdown(channel.as_raw_fd(), Shutdown::Both).unwrap();
}

#[test]
fn a_receive_before_the_connection_does_not_hide_the_next_address() {
    with_every_loop(|event_loop| {
        let silent = Silent::new();
        let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addresses = vec![silent.address.clone(), second.local_addr().unwrap().into()];
        let (id, seen) = add(event_loop, addresses);
        for cut in [false, true, false] {
            let channel = event_loop.get_mut(id).unwrap();
            if cut {
                cut_off(channel);
            }
            // The first receive after the failure takes the socket's error.
            let none_yet = channel.recv(&mut [0; 8]).unwrap_err();
            assert_eq!(none_yet.kind(), ErrorKind::WouldBlock);
        }
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(seen.events(), ["connect"]);
    });
}

#[test]
fn a_priority_event_before_the_connection_does_not_hide_the_next_address() {
    let silent = Silent::new();
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addresses = vec![silent.address.clone(), second.local_addr().unwrap().into()];
    let (probe, seen) = Probe::new();
    let client = Dispatcher::connect(addresses, probe).unwrap();
    let fd = client.as_raw_fd();
    let (poller, script, _) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let id = event_loop.add(client).unwrap();
    settle(&mut event_loop);
    cut_off(event_loop.get(id).unwrap());
    for readiness in [Readiness::PRIORITY, Readiness::WRITABLE] {
        script
            .borrow_mut()
            .push_back(vec![Event::new(fd, readiness)]);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(seen.events(), ["connect"]);
    second.accept().unwrap();
}
