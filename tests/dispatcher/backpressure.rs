//! A channel whose output is made of its input reads no faster than its peer does.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use crate::common::{PATIENCE, Probe, settle, turn_until, turn_until_empty, with_every_loop};
use fdloop::{
    AsyncChat, ChannelId, ChatHandler, ChatIo, DispatcherWithSend, EventLoop, Handler, Io, Result,
    View,
};

/// Sends back what it gets.
fn echo() -> Probe {
    Probe::silent().on_read(|io| io.recv_with(65_536, |io, data| io.send(data).map(drop)))
}

fn add(
    event_loop: &mut EventLoop,
    backpressure: bool,
) -> (ChannelId<DispatcherWithSend<Probe>>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut channel = DispatcherWithSend::new(ours, echo()).unwrap();
    if backpressure {
        channel = channel.with_backpressure();
    }
    (event_loop.add(channel).unwrap(), theirs)
}

/// Writes as long as the channel reads, but at most `most` bytes. Gives how many.
fn flood(event_loop: &mut EventLoop, peer: &mut UnixStream, most: usize) -> usize {
    let data = [b'x'; 65_536];
    let mut written = 0;
    let mut stalled = 0;
    while written < most && stalled < 3 {
        match peer.write(&data) {
            Ok(n) => {
                written += n;
                stalled = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                stalled += 1;
            }
        }
        settle(event_loop);
    }
    written
}

#[test]
fn a_peer_that_never_reads_makes_the_output_grow_to_the_high_watermark_and_no_further() {
    with_every_loop(|event_loop| {
        let (id, mut peer) = add(event_loop, true);
        let written = flood(event_loop, &mut peer, 64 << 20);
        assert!(written < 64 << 20, "it took {written} bytes");
        let pending = event_loop.get(id).unwrap().pending();
        // One receive more than the watermark.
        assert!((65_536..131_072 + 65_536).contains(&pending), "{pending}");
        assert!(event_loop.get(id).unwrap().is_congested());
    });
}

#[test]
fn without_it_the_output_grows_by_all_that_is_sent() {
    with_every_loop(|event_loop| {
        let (id, mut peer) = add(event_loop, false);
        assert_eq!(flood(event_loop, &mut peer, 8 << 20), 8 << 20);
        assert!(event_loop.get(id).unwrap().pending() > 7 << 20);
    });
}

#[test]
fn all_comes_back_when_the_peer_reads_in_the_end() {
    with_every_loop(|event_loop| {
        let (_, mut peer) = add(event_loop, true);
        let written = flood(event_loop, &mut peer, 64 << 20);
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let (mut got, mut buf) = (0, vec![0; 65_536]);
        turn_until(event_loop, "all is back", || {
            loop {
                match peer.read(&mut buf) {
                    Ok(0) => break true,
                    Ok(n) => got += n,
                    Err(_) => break false,
                }
            }
        });
        assert_eq!(got, written);
        turn_until_empty(event_loop);
    });
}

#[test]
fn a_peer_that_goes_while_it_is_held_back_ends_the_channel() {
    with_every_loop(|event_loop| {
        let (_, mut peer) = add(event_loop, true);
        flood(event_loop, &mut peer, 64 << 20);
        drop(peer);
        turn_until_empty(event_loop);
    });
}

struct Shouter;
impl ChatHandler for Shouter {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let line = io.take_data();
        io.push(line)
    }
}

#[test]
fn a_chat_can_have_it_too() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut chat = AsyncChat::new(ours, Shouter).unwrap();
        chat.set_terminator("y");
        chat.set_limit(None);
        chat.set_backpressure(true);
        let id = event_loop.add(chat).unwrap();
        let line = [&[b'x'; 65_535][..], b"y"].concat();
        let mut stalled = 0;
        let mut written = 0;
        while stalled < 3 {
            match theirs.write(&line[written % line.len()..]) {
                Ok(n) => (written, stalled) = (written + n, 0),
                Err(_) => stalled += 1,
            }
            assert!(written < 64 << 20, "it took {written} bytes");
            settle(event_loop);
        }
        assert!(event_loop.get(id).unwrap().is_congested());
    });
}

/// Refuses input itself, too.
struct Choosy {
    wants: bool,
}
impl Handler for Choosy {
    fn readable(&self, _: &View<'_>) -> bool {
        self.wants
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(65_536, |io, data| io.send(data).map(drop))
    }
}

#[test]
fn readable_is_still_asked() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let channel = DispatcherWithSend::new(ours, Choosy { wants: false }).unwrap();
        let id = event_loop.add(channel.with_backpressure()).unwrap();
        theirs.write_all(b"spam").unwrap();
        settle(event_loop);
        theirs.set_nonblocking(true).unwrap();
        assert!(theirs.read(&mut [0; 4]).is_err(), "it was read");
        event_loop.get_mut(id).unwrap().handler_mut().wants = true;
        event_loop.turn(Some(PATIENCE)).unwrap();
        assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 4);
    });
}
