//! Leaving the loop loses nothing: what was sent leaves however `run` ends, what has
//! arrived can be read before it does, and the loop can be used afterwards.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, Probe, turn_once, with_every_loop};
use fdloop::{
    AsyncChat, ChannelId, ChatHandler, ChatIo, Dispatcher, DispatcherWithSend, Error, EventLoop,
    Io, IterProducer, Result, RunOptions,
};

/// A stream whose peer has sent one byte, and the peer.
fn poked() -> (UnixStream, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    (ours, theirs)
}

/// Returns the bytes that have reached `peer`, without waiting for more.
fn arrived(peer: &mut UnixStream) -> String {
    peer.set_nonblocking(true).unwrap();
    let mut data = Vec::new();
    // It ends with `WouldBlock`, as the other side is still open, or with the end.
    let _ = peer.read_to_end(&mut data);
    String::from_utf8(data).unwrap()
}

struct Listener;
impl ChatHandler for Listener {
    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }
}

/// The channels that have calls when the channel of `act` is poked.
struct Audience {
    own: UnixStream,
    chat: UnixStream,
    buffered: UnixStream,
}

/// Three channels, of which one sends to itself and to the others when it reads, and
/// then ends its handler as `end` says.
fn speaker(
    event_loop: &mut EventLoop,
    mut end: impl FnMut(&mut Io<'_>) -> Result<()> + 'static,
) -> Audience {
    let (chat, chat_peer) = UnixStream::pair().unwrap();
    let chat = event_loop
        .add(AsyncChat::new(chat, Listener).unwrap())
        .unwrap();
    let (other, other_peer) = UnixStream::pair().unwrap();
    let other: ChannelId<DispatcherWithSend<Probe>> = event_loop
        .add(DispatcherWithSend::new(other, Probe::silent()).unwrap())
        .unwrap();
    let (ours, theirs) = poked();
    let probe = Probe::silent().on_read(move |io| {
        io.recv(&mut [0; 16])?;
        io.send(b"one ")?;
        io.send(b"two")?;
        io.event_loop().get_mut(chat).unwrap().push("pushed")?;
        let other = io.event_loop().get_mut(other).unwrap();
        other.send(b"three ")?;
        other.send(b"four")?;
        end(io)
    });
    event_loop
        .add(DispatcherWithSend::new(ours, probe).unwrap())
        .unwrap();
    Audience {
        own: theirs,
        chat: chat_peer,
        buffered: other_peer,
    }
}

impl Audience {
    #[track_caller]
    fn assert_heard_all(mut self) {
        assert_eq!(arrived(&mut self.own), "one two");
        assert_eq!(arrived(&mut self.chat), "pushed");
        assert_eq!(arrived(&mut self.buffered), "three four");
    }
}

#[test]
fn the_exit_error_takes_nothing_that_was_sent_before_it() {
    with_every_loop(|event_loop| {
        let audience = speaker(event_loop, |_| Err(Error::ExitNow));
        assert!(matches!(event_loop.run(), Err(Error::ExitNow)));
        audience.assert_heard_all();
    });
}

#[test]
fn the_exit_error_of_a_turn_takes_nothing_that_was_sent_before_it() {
    with_every_loop(|event_loop| {
        let audience = speaker(event_loop, |_| Err(Error::ExitNow));
        let error = event_loop.turn(Some(PATIENCE)).unwrap_err();
        assert!(matches!(error, Error::ExitNow));
        audience.assert_heard_all();
    });
}

#[test]
fn a_stop_takes_nothing_that_was_sent_before_it() {
    with_every_loop(|event_loop| {
        let audience = speaker(event_loop, |io| {
            io.event_loop().stop();
            Ok(())
        });
        event_loop.run().unwrap();
        audience.assert_heard_all();
    });
}

#[test]
fn the_last_pass_of_a_count_takes_nothing_that_was_sent_in_it() {
    with_every_loop(|event_loop| {
        let audience = speaker(event_loop, |_| Ok(()));
        event_loop.run_with(RunOptions::new().count(1)).unwrap();
        audience.assert_heard_all();
    });
}

#[test]
fn a_panic_takes_nothing_that_was_sent_before_it() {
    with_every_loop(|event_loop| {
        let audience = speaker(event_loop, |_| panic!("this is expected"));
        catch_unwind(AssertUnwindSafe(|| event_loop.run())).unwrap_err();
        audience.assert_heard_all();
    });
}

#[test]
fn what_was_sent_outside_of_a_loop_leaves_when_the_channel_is_dropped() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut channel = DispatcherWithSend::new(ours, Probe::silent()).unwrap();
    channel.send(b"one ").unwrap();
    channel.send(b"two").unwrap();
    drop(channel);
    assert_eq!(arrived(&mut theirs), "one two");

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut chat = AsyncChat::new(ours, Listener).unwrap();
    chat.push("pushed ").unwrap();
    chat.push("twice").unwrap();
    drop(chat);
    assert_eq!(arrived(&mut theirs), "pushed twice");

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut chat = AsyncChat::new(ours, Listener).unwrap();
    let pieces = IterProducer::new(["pro", "duced"]);
    chat.push_with_producer(pieces).unwrap();
    drop(chat);
    assert_eq!(arrived(&mut theirs), "produced");

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut chat = AsyncChat::new(ours, Listener).unwrap();
    chat.push("handed on").unwrap();
    let (socket, Listener) = chat.into_parts();
    assert_eq!(arrived(&mut theirs), "handed on");
    drop(socket);
}

#[test]
fn what_was_sent_to_a_channel_leaves_when_its_loop_is_dropped() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    let id = event_loop
        .add(AsyncChat::new(ours, Listener).unwrap())
        .unwrap();
    event_loop.get_mut(id).unwrap().push("goodbye").unwrap();
    drop(event_loop);
    assert_eq!(arrived(&mut theirs), "goodbye");
}

#[test]
fn a_close_or_an_abort_drops_what_it_always_dropped() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut chat = AsyncChat::new(ours, Listener).unwrap();
    chat.push("never said").unwrap();
    chat.abort();
    drop(chat);
    assert_eq!(arrived(&mut theirs), "");
}

#[test]
fn a_panic_of_a_producer_that_a_drop_asks_stays_in_there() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut chat = AsyncChat::new(ours, Listener).unwrap();
    let pieces = std::iter::once_with(|| -> Vec<u8> { panic!("this is expected") });
    chat.push_with_producer(IterProducer::new(pieces)).unwrap();
    drop(chat);
}

#[test]
fn a_stop_when_idle_reads_what_has_arrived_on_every_channel() {
    with_every_loop(|event_loop| {
        let data = vec![b'x'; 48_894];
        let mut peers = Vec::new();
        let mut all = Vec::new();
        for _ in 0..3 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&data).unwrap();
            let (probe, seen) = Probe::new();
            let channel = Dispatcher::new(ours, probe).unwrap();
            event_loop.add(channel).unwrap();
            peers.push(theirs);
            all.push(seen);
        }
        let (ours, _theirs) = poked();
        let probe = Probe::silent().on_read(|io| {
            io.recv(&mut [0; 16])?;
            io.event_loop().stop_when_idle();
            Ok(())
        });
        let channel = Dispatcher::new(ours, probe).unwrap();
        event_loop.add(channel).unwrap();
        event_loop.run().unwrap();
        for seen in all {
            assert_eq!(seen.received_len(), data.len());
        }
        assert_eq!(event_loop.len(), 4, "all channels are still there");
    });
}

#[test]
fn a_stop_when_idle_before_run_makes_one_wait_and_does_not_take_a_stop_back() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = poked();
        let (probe, seen) = Probe::new();
        let channel = Dispatcher::new(ours, probe).unwrap();
        event_loop.add(channel).unwrap();
        event_loop.stop_when_idle();
        event_loop.run().unwrap();
        assert_eq!(seen.received(), b"x");
        theirs.write_all(b"y").unwrap();
        event_loop.stop();
        event_loop.stop_when_idle();
        event_loop.run().unwrap();
        assert_eq!(seen.received(), b"x", "a stop was asked for before");
    });
}

#[test]
fn after_a_stop_and_a_panic_in_one_pass_the_loop_waits_again() {
    with_every_loop(|event_loop| {
        let (ours, _theirs) = poked();
        let probe = Probe::silent().on_read(|io| {
            io.event_loop().stop();
            panic!("this is expected")
        });
        let channel = Dispatcher::new(ours, probe).unwrap();
        event_loop.add(channel).unwrap();
        let (quiet, _peer) = UnixStream::pair().unwrap();
        let channel = Dispatcher::new(quiet, Probe::silent()).unwrap();
        event_loop.add(channel).unwrap();
        catch_unwind(AssertUnwindSafe(|| event_loop.run())).unwrap_err();

        let (timeout, begin) = (Duration::from_millis(30), Instant::now());
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout, "a loop of turns would spin");
        let begin = Instant::now();
        let options = RunOptions::new().timeout(timeout).count(1);
        event_loop.run_with(options).unwrap();
        assert!(begin.elapsed() >= timeout, "the stop was not forgotten");
    });
}

#[test]
fn what_with_calls_cannot_run_the_loop() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = poked();
        let (probe, seen) = Probe::new();
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        event_loop
            .with(id, |_, event_loop| {
                for result in [
                    event_loop.turn(Some(PATIENCE)).map(drop),
                    event_loop.run(),
                    event_loop.run_with(RunOptions::new().count(1)),
                ] {
                    let error = result.unwrap_err();
                    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
                    assert!(error.to_string().contains("visit by `with`"), "{error}");
                }
                Ok(())
            })
            .unwrap();
        assert!(!seen.heard("read"));
        turn_once(event_loop);
        assert_eq!(seen.received(), b"x");
        assert_eq!(arrived(&mut theirs), "");
    });
}
