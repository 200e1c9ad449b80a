//! Code that the tests of chats share: a handler that records its pieces, the other side of its
//! socket, and a transport that counts the writes.

mod metered;
pub mod model;
mod recorder;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use fdloop::{AsyncChat, ChannelId, ChatHandler, EventLoop, Terminator, Transport};

pub use super::pattern;
pub use metered::{Meter, Metered};
pub use recorder::{Recorder, Records};

use super::PATIENCE;

/// The id of a chat with a recorder.
pub type Id = ChannelId<AsyncChat<Recorder>>;

/// Adds a chat over a socket. Returns the other side.
#[track_caller]
pub fn chat<H: ChatHandler + 'static>(
    event_loop: &mut EventLoop,
    handler: H,
    terminator: impl Into<Terminator>,
) -> (ChannelId<AsyncChat<H>>, Peer) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let chat = AsyncChat::new(ours, handler).unwrap();
    (add(event_loop, chat, terminator), Peer::new(theirs))
}

/// Adds a chat without a terminator over a socket. Returns the other side.
#[track_caller]
pub fn chat_without_terminator<H: ChatHandler + 'static>(
    event_loop: &mut EventLoop,
    handler: H,
) -> (ChannelId<AsyncChat<H>>, Peer) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let chat = AsyncChat::new(ours, handler).unwrap();
    (event_loop.add(chat).unwrap(), Peer::new(theirs))
}

/// Makes a chat over a [`Metered`] transport.
#[track_caller]
pub fn metered_chat<H: ChatHandler + 'static>(
    event_loop: &mut EventLoop,
    handler: H,
    terminator: impl Into<Terminator>,
) -> (ChannelId<AsyncChat<H>>, Peer, Meter) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (transport, meter) = Metered::new(ours);
    let chat = AsyncChat::over(transport, handler);
    (add(event_loop, chat, terminator), Peer::new(theirs), meter)
}

#[track_caller]
fn add<H: ChatHandler + 'static>(
    event_loop: &mut EventLoop,
    mut chat: AsyncChat<H>,
    terminator: impl Into<Terminator>,
) -> ChannelId<AsyncChat<H>> {
    chat.set_terminator(terminator);
    event_loop.add(chat).unwrap()
}

/// The other side of a chat's socket. It never blocks: to wait, it makes passes of the chat's loop.
pub struct Peer(UnixStream);

impl Peer {
    fn new(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self(stream)
    }

    /// Sends data for which there must be room.
    #[track_caller]
    pub fn say(&mut self, data: impl AsRef<[u8]>) {
        self.0.write_all(data.as_ref()).unwrap();
    }

    /// Sends data in pieces of `size` bytes, each of which is received by itself.
    #[track_caller]
    pub fn say_in_pieces(&mut self, event_loop: &mut EventLoop, data: &[u8], size: usize) {
        for piece in data.chunks(size) {
            self.say(piece);
            event_loop.turn(Some(PATIENCE)).unwrap();
        }
    }

    /// Ends the output, and goes on reading.
    #[track_caller]
    pub fn end(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Receives at most `most` bytes that have arrived.
    #[track_caller]
    pub fn read(&mut self, most: usize) -> Vec<u8> {
        let mut data = vec![0; most];
        match self.0.read(&mut data) {
            Ok(n) => data.truncate(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => data.clear(),
            Err(error) => panic!("{error}"),
        }
        data
    }

    /// Makes passes until `len` bytes have arrived. Returns them.
    #[track_caller]
    pub fn hear(&mut self, event_loop: &mut EventLoop, len: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        let mut data = Vec::new();
        while data.len() < len {
            let read = self.read(len - data.len());
            if read.is_empty() {
                let late = Instant::now() > deadline;
                assert!(!late, "only {} of {len} bytes arrived", data.len());
                event_loop.turn(Some(Duration::from_millis(20))).unwrap();
            }
            data.extend(read);
        }
        data
    }

    /// Makes passes until the loop has no channels. Returns all bytes that arrived.
    #[track_caller]
    pub fn hear_to_end(&mut self, event_loop: &mut EventLoop) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        let mut data = Vec::new();
        while !event_loop.is_empty() {
            assert!(Instant::now() < deadline, "the chat never ended");
            event_loop.turn(Some(Duration::from_millis(20))).unwrap();
            data.extend(self.read(1 << 20));
        }
        loop {
            match self.read(1 << 20) {
                rest if rest.is_empty() => return data,
                rest => data.extend(rest),
            }
        }
    }
}
