//! Connecting by name, and to the first of several addresses.
// A silent address is a listener whose backlog is full: Linux alone then drops connects.
#![cfg(target_os = "linux")]

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use fdloop::{Address, Resolver};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::common::clock::with_clocks;
use crate::common::{Silent, with_every_loop};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// The time that an attempt has before the next one begins.
const DELAY: Duration = Duration::from_millis(250);

fn listening() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    (listener, address)
}

/// An address that refuses connections.
fn refusing() -> Address {
    listening().1
}

#[test]
fn a_name_is_resolved_and_connected_to_in_one_call() {
    with_every_loop(|event_loop| {
        let (listener, address) = listening();
        let name = format!("localhost:{}", address.port().unwrap());
        let resolver = Resolver::start(event_loop, 1).unwrap();
        let handle = event_loop.handle();
        let echoed = event_loop.block_on(async move {
            let mut stream = handle.connect_by_name(&resolver, name, LONG).await?;
            let (peer, _) = listener.accept().unwrap();
            let mut peer = fdloop::Async::new(&handle, peer)?;
            stream.write_all(b"hello").await?;
            let mut buf = [0; 5];
            peer.read_exact(&mut buf).await?;
            Ok::<_, fdloop::Error>(buf)
        });
        assert_eq!(&echoed.unwrap().unwrap(), b"hello");
    });
}

#[test]
fn an_address_that_refuses_and_nonsense_are_errors() {
    with_every_loop(|event_loop| {
        let resolver = Resolver::start(event_loop, 1).unwrap();
        let handle = event_loop.handle();
        let kinds = event_loop.block_on(async move {
            let refused = refusing().to_string();
            let refused = handle.connect_by_name(&resolver, refused, LONG).await;
            let nonsense = handle.connect_by_name(&resolver, "no port", LONG).await;
            let none = handle.connect(Vec::<Address>::new()).await;
            assert!(none.unwrap_err().to_string().contains("no address"));
            (refused.unwrap_err().kind(), nonsense.unwrap_err().kind())
        });
        let expected = (
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::InvalidInput,
        );
        assert_eq!(kinds.unwrap(), expected);
    });
}

#[test]
fn an_address_that_fails_has_the_next_one_tried_at_once() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let (_listener, good) = listening();
        let handle = event_loop.handle();
        let addresses = vec![refusing(), refusing(), good.clone()];
        let stream = event_loop.block_on(async move { handle.connect(addresses).await });
        assert_eq!(
            stream.unwrap().unwrap().get_ref().peer_addr().unwrap(),
            good
        );
        assert_eq!(clock.get(), begin);
    });
}

#[test]
fn an_address_that_is_silent_holds_up_the_next_by_a_quarter_of_a_second() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let (_listener, good) = listening();
        let (one, two) = (Silent::new(), Silent::new());
        let handle = event_loop.handle();
        let addresses = vec![one.address.clone(), two.address.clone(), good.clone()];
        let stream = event_loop.block_on(async move { handle.connect(addresses).await });
        assert_eq!(
            stream.unwrap().unwrap().get_ref().peer_addr().unwrap(),
            good
        );
        assert_eq!(clock.get() - begin, 2 * DELAY);
        // The attempts that lost are gone from the loop.
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(event_loop.is_empty());
    });
}

#[test]
fn a_connect_by_name_that_takes_longer_than_its_limit_names_what_it_did() {
    with_clocks(|event_loop, clock| {
        let silent = Silent::new();
        let name = silent.address.to_string();
        let resolver = Resolver::start(event_loop, 1).unwrap();
        let handle = event_loop.handle();
        let begin = clock.get();
        let limit = Duration::from_secs(5);
        let known = name.clone();
        let late = event_loop
            .block_on(async move { handle.connect_by_name(&resolver, known, limit).await });
        let error = late.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains(&name), "{error}");
        assert!(clock.get() - begin >= limit);
    });
}

#[test]
fn a_connect_that_is_dropped_leaves_nothing() {
    with_every_loop(|event_loop| {
        let silent = Silent::new();
        let address = silent.address.clone();
        let handle = event_loop.handle();
        let outcome = event_loop.block_on(async move {
            let connect = handle.connect(vec![address.clone(), address]);
            handle.timeout(Duration::from_millis(1), connect).await
        });
        assert!(outcome.unwrap().is_err());
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(event_loop.is_empty());
    });
}
