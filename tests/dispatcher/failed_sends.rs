//! Input that has arrived before a send finds the connection lost is still read.

use std::io::Write;
use std::os::unix::net::UnixStream;

use crate::common::{Probe, settle, turn_once, turn_until_empty, with_every_loop};
use fdloop::{Dispatcher, DispatcherWithSend};

/// A peer that has said something, and is gone.
fn last_words(words: &[u8]) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(words).unwrap();
    ours
}

#[test]
fn what_came_in_is_read_to_its_end_and_then_the_channel_closes_with_the_reason() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let mut channel = DispatcherWithSend::new(last_words(b"last words"), probe).unwrap();
        channel.send(b"the peer is gone").unwrap();
        event_loop.add(channel).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"last words");
        assert_eq!(seen.events().last(), Some(&"close"));
        assert_eq!(seen.count("close"), 1);
        let (errno, text) = seen.reason().unwrap();
        assert_eq!(errno, Some(libc::EPIPE), "{text}");
    });
}

#[test]
fn with_nothing_to_read_the_channel_closes_at_once() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let mut channel = Dispatcher::new(last_words(b""), probe).unwrap();
        assert_eq!(channel.send(b"the peer is gone").unwrap(), 0);
        event_loop.add(channel).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["close"]);
    });
}

#[test]
fn a_channel_that_never_reads_closes_at_once() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let mut channel = DispatcherWithSend::new(last_words(b"unheard"), probe).unwrap();
        channel.send(b"the peer is gone").unwrap();
        event_loop.add(channel).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["close"]);
    });
}

#[test]
fn a_channel_that_leaves_its_input_for_a_while_gets_it_all_later() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let mut channel = DispatcherWithSend::new(last_words(b"heard later"), probe).unwrap();
        channel.set_keep_unread(true);
        channel.send(b"the peer is gone").unwrap();
        event_loop.add(channel).unwrap();
        settle(event_loop);
        assert!(seen.events().is_empty(), "{:?}", seen.events());
        seen.wants_read.set(true);
        turn_once(event_loop);
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"heard later");
        assert_eq!(seen.count("close"), 1);
    });
}

#[test]
fn a_channel_whose_handler_does_not_read_does_not_spin() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|_| Ok(()));
        let mut channel = DispatcherWithSend::new(last_words(b"unread"), probe).unwrap();
        channel.send(b"the peer is gone").unwrap();
        event_loop.add(channel).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["read", "close"]);
    });
}
