//! A simulated connection behaves like a TCP connection on Linux.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::time::Duration;

use fdloop::sim::{End, Peer, Stream, World, for_seeds};
use fdloop::{Deadline, Interest, Poller, Readiness, Transport};

/// A calm world, and a connection in it without delay and with ample room.
fn calm() -> (World, Stream, Peer) {
    let world = World::with_seed(0);
    world.set_noise(0);
    let (stream, peer) = world.pair();
    peer.set_delay(Duration::ZERO..=Duration::ZERO);
    peer.set_room(1 << 20);
    (world, stream, peer)
}

/// Lets everything arrive.
fn arrive(world: &World) {
    world.run(&mut world.event_loop()).unwrap();
}

fn readiness(world: &World, stream: &Stream, interest: Interest) -> Readiness {
    let mut poller = world.poller();
    poller.set(stream.raw_fd(), interest).unwrap();
    let mut ready = Vec::new();
    poller.wait(Deadline::Now, &mut ready).unwrap();
    ready
        .first()
        .map_or(Readiness::empty(), |event| event.readiness)
}

#[track_caller]
fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

const READ_WRITE: Interest = Interest::READABLE.union(Interest::WRITABLE);

#[test]
fn what_is_sent_arrives_both_ways_and_ends_in_order() {
    let (world, mut stream, peer) = calm();
    assert_eq!(readiness(&world, &stream, READ_WRITE), Readiness::WRITABLE);
    let mut buf = [0; 16];
    assert_eq!(errno(stream.recv(&mut buf)), libc::EAGAIN);
    peer.send("hello");
    peer.shutdown();
    peer.send("after the end");
    arrive(&world);
    assert!(stream.has_unread());
    assert_eq!(stream.recv(&mut buf[..4]).unwrap(), 4);
    assert_eq!(stream.recv(&mut buf[4..]).unwrap(), 1);
    assert_eq!(&buf[..5], b"hello");
    assert_eq!(stream.recv(&mut buf).unwrap(), 0);
    assert_eq!(
        readiness(&world, &stream, Interest::HANGUP),
        Readiness::empty()
    );

    let parts = [
        IoSlice::new(b"good"),
        IoSlice::new(b""),
        IoSlice::new(b"bye"),
    ];
    assert_eq!(stream.send_vectored(&parts).unwrap(), 7);
    assert_eq!(peer.end(), None);
    stream.shutdown_write().unwrap();
    assert_eq!(errno(stream.send(b"more")), libc::EPIPE);
    arrive(&world);
    assert_eq!(peer.received(), b"goodbye");
    assert_eq!(peer.take_received(), b"goodbye");
    assert_eq!(peer.take_received(), b"");
    assert_eq!(peer.end(), Some(End::InOrder));
    assert_eq!(
        readiness(&world, &stream, Interest::HANGUP),
        Readiness::HANGUP
    );
}

#[test]
fn a_reset_leaves_what_has_arrived_and_is_reported_once() {
    let (world, mut stream, peer) = calm();
    peer.send("last words");
    peer.reset();
    arrive(&world);
    assert_eq!(
        readiness(&world, &stream, READ_WRITE),
        Readiness::READABLE | Readiness::WRITABLE
    );
    let mut buf = [0; 16];
    assert_eq!(stream.recv(&mut buf).unwrap(), 10);
    assert_eq!(errno(stream.recv(&mut buf)), libc::ECONNRESET);
    assert_eq!(stream.recv(&mut buf).unwrap(), 0);
    assert_eq!(errno(stream.send(b"x")), libc::EPIPE);
    assert_eq!(errno(stream.shutdown_write()), libc::ENOTCONN);
    assert!(stream.take_error().unwrap().is_none());
}

#[test]
fn a_reset_after_the_end_of_the_input_shows_in_sends_and_as_a_hangup() {
    let (world, mut stream, peer) = calm();
    peer.shutdown();
    arrive(&world);
    peer.reset();
    arrive(&world);
    assert_eq!(
        readiness(&world, &stream, Interest::HANGUP),
        Readiness::HANGUP | Readiness::ERROR
    );
    assert_eq!(stream.recv(&mut [0; 16]).unwrap(), 0);
    assert_eq!(
        stream.take_error().unwrap().unwrap().raw_os_error(),
        Some(libc::EPIPE)
    );
}

#[test]
fn closing_with_something_unread_resets_and_so_does_what_arrives_later() {
    let (world, mut stream, peer) = calm();
    peer.send("unread");
    arrive(&world);
    stream.send(b"under way").unwrap();
    drop(stream);
    arrive(&world);
    assert_eq!(
        (peer.received(), peer.end()),
        (b"under way".to_vec(), Some(End::Reset))
    );

    let (world, stream, peer) = calm();
    drop(stream);
    arrive(&world);
    assert_eq!(peer.end(), Some(End::InOrder));
    peer.send("too late");
    arrive(&world);
    assert_eq!(peer.end(), Some(End::Reset));

    let (world, mut stream, peer) = calm();
    stream.reset_on_close().unwrap();
    drop(stream);
    arrive(&world);
    assert_eq!(peer.end(), Some(End::Reset));

    let (world, mut stream, peer) = calm();
    peer.close();
    arrive(&world);
    assert_eq!(stream.send(b"into the void").unwrap(), 13);
    arrive(&world);
    assert_eq!(errno(stream.send(b"x")), libc::EPIPE);
    assert_eq!(stream.recv(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_sender_waits_for_room_and_goes_on_when_the_peer_reads() {
    let (world, mut stream, peer) = calm();
    peer.set_room(10);
    peer.pause();
    assert_eq!(stream.send(b"0123456789abcdef").unwrap(), 10);
    assert_eq!(errno(stream.send(b"x")), libc::EAGAIN);
    arrive(&world);
    assert_eq!((peer.unread(), peer.received().len()), (10, 0));
    assert_eq!(
        readiness(&world, &stream, Interest::WRITABLE),
        Readiness::empty()
    );
    peer.read(3);
    assert_eq!(peer.received(), b"012");
    assert_eq!(
        readiness(&world, &stream, Interest::WRITABLE),
        Readiness::WRITABLE
    );
    assert_eq!(stream.send(b"abcdef").unwrap(), 3);
    peer.resume();
    arrive(&world);
    assert_eq!(peer.received(), b"0123456789abc");

    // A peer may send more than there is room for.
    peer.send([7; 100]);
    arrive(&world);
    assert_eq!(peer.pending(), 90);
    assert_eq!(stream.recv(&mut [0; 64]).unwrap(), 10);
    arrive(&world);
    assert_eq!(peer.pending(), 80);
    peer.set_room(0);
    assert_eq!(stream.recv(&mut [0; 64]).unwrap(), 10);
    arrive(&world);
    assert_eq!(stream.recv(&mut [0; 64]).unwrap(), 1);
}

#[test]
fn pieces_and_delays_are_as_they_are_set() {
    let (world, mut stream, peer) = calm();
    peer.set_pieces(2..=2);
    peer.set_delay(Duration::from_millis(5)..=Duration::from_millis(5));
    peer.send("abcde");
    assert_eq!(errno(stream.recv(&mut [0; 16])), libc::EAGAIN);
    arrive(&world);
    assert_eq!(world.elapsed(), Duration::from_millis(5));
    let arrived: Vec<_> = world
        .trace()
        .iter()
        .filter(|step| !step.at_peer)
        .map(ToString::to_string)
        .collect();
    let nothing = io::Error::from_raw_os_error(libc::EAGAIN);
    assert_eq!(
        arrived,
        [
            &format!("0ns fd 1000: {nothing}"),
            "5ms fd 1000: 2 arrived",
            "5ms fd 1000: 2 arrived",
            "5ms fd 1000: 1 arrived",
        ]
    );
}

#[test]
fn noise_cuts_blocks_interrupts_and_reports_what_is_not_so() {
    let mut seen = BTreeMap::new();
    for_seeds(500, |world| {
        let (mut stream, peer) = world.pair();
        peer.set_room(1 << 16);
        peer.set_delay(Duration::ZERO..=Duration::ZERO);
        let mut note = |what: &'static str| *seen.entry(what).or_insert(0) += 1;
        let spurious = readiness_after_a_wait(world, &stream);
        if spurious.contains(Readiness::READABLE) {
            note("spurious");
        }
        match stream.send(&[1; 1_000]) {
            Ok(1_000) => note("sent"),
            Ok(_) => note("cut"),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => note("blocked"),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => note("interrupted"),
            Err(e) => return Err(e.into()),
        }
        peer.send([2; 1_000]);
        arrive(world);
        match stream.recv(&mut [0; 1_000]) {
            Ok(1_000) => note("received"),
            Ok(_) => note("cut short"),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => note("found nothing"),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => note("interrupted, too"),
            Err(e) => return Err(e.into()),
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(seen.len(), 9, "{seen:?}");
    assert!(seen["sent"] > 300 && seen["received"] > 300, "{seen:?}");
}

fn readiness_after_a_wait(world: &World, stream: &Stream) -> Readiness {
    let mut poller = world.poller();
    poller.set(stream.raw_fd(), Interest::READABLE).unwrap();
    let deadline = Deadline::At(world.now() + Duration::from_millis(1));
    let mut ready = Vec::new();
    poller.wait(deadline, &mut ready).unwrap();
    ready
        .first()
        .map_or(Readiness::empty(), |event| event.readiness)
}
