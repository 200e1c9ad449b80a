//! A channel keeps its descriptor for as long as a loop has it. Safe code that puts
//! another one in its place is found out, and nothing leaks or spins.

use std::cell::Cell;
use std::io::{Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{
    Counting, PATIENCE, Probe, Seen, on_every_backend, turn_once, with_every_loop,
};
use fdloop::{Channel, ChannelId, Dispatcher, Error, EventLoop, Result};

type Id = ChannelId<Dispatcher<Probe>>;

fn channel() -> (Dispatcher<Probe>, Rc<Seen>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (probe, seen) = Probe::new();
    (Dispatcher::new(ours, probe).unwrap(), seen, theirs)
}

fn add(event_loop: &mut EventLoop) -> (Id, Rc<Seen>, UnixStream) {
    let (channel, seen, theirs) = channel();
    (event_loop.add(channel).unwrap(), seen, theirs)
}

/// Checks whether the other side of `peer` was closed by now.
#[track_caller]
fn is_closed(peer: &mut UnixStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    peer.read(&mut [0; 16]).is_ok_and(|n| n == 0)
}

#[track_caller]
fn assert_told(seen: &Seen, id: Id) {
    assert_eq!(seen.events(), ["error", "close"]);
    let error = &seen.errors()[0];
    assert!(error.contains("was exchanged for"), "{error}");
    assert!(error.contains(&format!("fd {}", id.fd())), "{error}");
}

/// A loop over nothing that is ready sleeps.
#[track_caller]
fn assert_sleeps(event_loop: &mut EventLoop) {
    let (timeout, begin) = (Duration::from_millis(30), Instant::now());
    assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
    assert!(begin.elapsed() >= timeout, "the loop spins");
}

#[test]
fn a_channel_that_is_assigned_over_another_is_found_out_and_closed() {
    with_every_loop(|event_loop| {
        let (id, old_seen, mut old_peer) = add(event_loop);
        let (other, seen, mut peer) = channel();
        *event_loop.get_mut(id).unwrap() = other;
        assert!(is_closed(&mut old_peer), "the assignment dropped it");
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_told(&seen, id);
        assert!(old_seen.events().is_empty());
        assert!(is_closed(&mut peer));
        assert!(event_loop.is_empty());
        assert!(event_loop.get(id).is_none());
        assert_sleeps(event_loop);
    });
}

#[test]
fn two_channels_that_are_exchanged_are_both_found_out_and_a_third_goes_on() {
    with_every_loop(|event_loop| {
        let (one, one_seen, mut one_peer) = add(event_loop);
        let (two, two_seen, mut two_peer) = add(event_loop);
        let (_, third_seen, mut third_peer) = add(event_loop);
        let (mut spare, spare_seen, mut spare_peer) = channel();
        mem::swap(event_loop.get_mut(one).unwrap(), &mut spare);
        mem::swap(event_loop.get_mut(two).unwrap(), &mut spare);
        mem::swap(event_loop.get_mut(one).unwrap(), &mut spare);
        for peer in [&mut one_peer, &mut two_peer, &mut third_peer] {
            peer.write_all(b"x").unwrap();
        }
        turn_once(event_loop);
        // Under the first one's number is the second one's channel, and the reverse.
        assert_told(&two_seen, one);
        assert_told(&one_seen, two);
        assert_eq!(third_seen.received(), b"x");
        assert_eq!(event_loop.len(), 1);
        // They were closed with a byte unread, which resets a Unix socket.
        for peer in [&mut one_peer, &mut two_peer] {
            assert!(peer.write_all(b"y").is_err(), "it is still open");
        }
        assert_sleeps(event_loop);
        drop(spare);
        assert!(spare_seen.events().is_empty());
        assert!(is_closed(&mut spare_peer));
    });
}

#[test]
fn an_endpoint_that_a_handler_exchanges_is_found_out_when_it_returns() {
    with_every_loop(|event_loop| {
        let (mut spare, _, mut spare_peer) = channel();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(move |io| {
            io.recv(&mut [0; 16])?;
            mem::swap(&mut **io, &mut *spare);
            Ok(())
        });
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        turn_once(event_loop);
        assert_eq!(seen.events(), ["read", "error", "close"]);
        assert!(seen.errors()[0].contains(&format!("fd {}", id.fd())));
        assert!(event_loop.is_empty());
        assert!(
            is_closed(&mut spare_peer),
            "what the channel had at the end"
        );
        assert!(is_closed(&mut theirs), "what the handler kept went with it");
        assert_sleeps(event_loop);
    });
}

#[test]
fn a_channel_without_a_descriptor_in_the_place_of_another_is_found_out() {
    with_every_loop(|event_loop| {
        let (id, _, mut peer) = add(event_loop);
        let (probe, seen) = Probe::new();
        let mut other = Dispatcher::unconnected(probe);
        mem::swap(event_loop.get_mut(id).unwrap(), &mut other);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_told(&seen, id);
        assert!(event_loop.is_empty());
        // The old one left the loop as it is, and can be added again.
        let id = event_loop.add(other).unwrap();
        peer.write_all(b"x").unwrap();
        turn_once(event_loop);
        assert_eq!(event_loop.get(id).unwrap().pending(), 0);
    });
}

#[test]
fn exchanged_channels_that_are_closed_at_once_are_forgotten_by_the_poller_first() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (one, _, mut one_peer) = add(&mut event_loop);
        let (two, two_seen, _two_peer) = add(&mut event_loop);
        let (mut spare, _, _) = channel();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        mem::swap(event_loop.get_mut(one).unwrap(), &mut spare);
        mem::swap(event_loop.get_mut(two).unwrap(), &mut spare);
        mem::swap(event_loop.get_mut(one).unwrap(), &mut spare);
        // Closes the descriptor of the second one.
        assert!(event_loop.close(one).unwrap());
        assert!(heard.interests.borrow().is_empty());
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(event_loop.is_empty());
        assert!(two_seen.events().is_empty(), "it was closed in order");
        assert!(is_closed(&mut one_peer));
    });
}

/// Names another descriptor each time it is asked.
struct Liar {
    stream: UnixStream,
    later: RawFd,
    asked: Cell<u32>,
    told: Rc<Cell<u32>>,
}

impl AsRawFd for Liar {
    fn as_raw_fd(&self) -> RawFd {
        self.asked.set(self.asked.get() + 1);
        match self.asked.get() {
            1 => self.stream.as_raw_fd(),
            _ => self.later,
        }
    }
}

impl Channel for Liar {
    fn handle_error(&mut self, _: &mut EventLoop, _: Error) -> Result<()> {
        self.told.set(self.told.get() + 1);
        Ok(())
    }
}

#[test]
fn a_channel_that_names_another_descriptor_the_second_time_is_removed() {
    with_every_loop(|event_loop| {
        for later in [-1, RawFd::MAX, 0] {
            let (_, seen, mut peer) = add(event_loop);
            let told = Rc::default();
            let (stream, mut liars_peer) = UnixStream::pair().unwrap();
            let liar = Liar {
                stream,
                later,
                asked: Cell::new(0),
                told: Rc::clone(&told),
            };
            event_loop.add(liar).unwrap();
            peer.write_all(b"x").unwrap();
            event_loop.turn(Some(PATIENCE)).unwrap();
            assert_eq!(told.get(), 1, "{later}");
            assert!(is_closed(&mut liars_peer));
            assert_eq!(seen.received(), b"x", "the others keep their watches");
            assert_eq!(event_loop.len(), 1);
            event_loop.close_all(false).unwrap();
        }
    });
}
