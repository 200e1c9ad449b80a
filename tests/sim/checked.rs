//! The checks of every test under seeds: the order of a handler's calls, and the bytes.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use fdloop::sim::{Peer, What, World};
use fdloop::{Error, EventLoop, Handler, Io, Predicates, Result, View};

/// The calls of a checked handler.
#[derive(Default)]
pub struct Heard {
    closes: Cell<u32>,
    /// The channel is closed: no handler may run any more.
    over: Cell<bool>,
    /// The name of the handler that runs.
    within: Cell<Option<&'static str>>,
    pub timeouts: Cell<u32>,
    pub ends_of_input: Cell<u32>,
}

impl Heard {
    pub fn closes(&self) -> u32 {
        self.closes.get()
    }

    /// Notes that something else than a handler has closed the channel.
    pub fn end(&self) {
        self.over.set(true);
    }
}

/// Checks the calls of another handler: none within another, none after `handle_close` or
/// `close`, and `handle_close` at most once.
pub struct Checked<H> {
    handler: H,
    heard: Rc<Heard>,
}

impl<H: Handler> Checked<H> {
    pub fn new(handler: H) -> (Self, Rc<Heard>) {
        let heard = Rc::<Heard>::default();
        let checked = Self {
            handler,
            heard: Rc::clone(&heard),
        };
        (checked, heard)
    }

    fn call(
        &mut self,
        name: &'static str,
        io: &mut Io<'_>,
        call: impl FnOnce(&mut H, &mut Io<'_>) -> Result<()>,
    ) -> Result<()> {
        let outer = self.heard.within.replace(Some(name));
        assert_eq!(outer, None, "{name} was called within another");
        assert!(!self.heard.over.get(), "{name} was called after the end");
        let result = call(&mut self.handler, io);
        self.heard.within.set(None);
        if io.is_closed() {
            self.heard.over.set(true);
        }
        result
    }
}

impl<H: Handler> Handler for Checked<H> {
    fn readable(&self, io: &View<'_>) -> bool {
        self.handler.readable(io)
    }
    fn writable(&self, io: &View<'_>) -> bool {
        self.handler.writable(io)
    }
    fn predicates(&self) -> Predicates {
        self.handler.predicates()
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call("handle_read", io, H::handle_read)
    }
    fn handle_write(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call("handle_write", io, H::handle_write)
    }
    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call("handle_drain", io, H::handle_drain)
    }
    fn handle_timeout(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.heard.timeouts.set(self.heard.timeouts.get() + 1);
        self.call("handle_timeout", io, H::handle_timeout)
    }
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.heard
            .ends_of_input
            .set(self.heard.ends_of_input.get() + 1);
        self.call("handle_eof", io, H::handle_eof)
    }
    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        let result = self.call("handle_error", io, |handler, io| {
            handler.handle_error(io, error)
        });
        self.heard
            .over
            .set(self.heard.over.get() || self.heard.closes.get() > 0);
        result
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.heard.closes.set(self.heard.closes.get() + 1);
        let result = self.call("handle_close", io, H::handle_close);
        // An error of it is the last that is handled.
        self.heard.over.set(result.is_ok());
        result
    }
}

/// Runs a loop until its channels are closed, calls `check` after each step, and then lets all
/// that is under way arrive.
pub fn run_checked(
    world: &World,
    event_loop: &mut EventLoop,
    check: impl FnMut(&mut EventLoop),
) -> Result<()> {
    run_until_left(world, event_loop, 0, check)
}

/// Runs a loop as [`run_checked`] does, until so many channels are left.
pub fn run_until_left(
    world: &World,
    event_loop: &mut EventLoop,
    left: usize,
    mut check: impl FnMut(&mut EventLoop),
) -> Result<()> {
    world.run_until(event_loop, |event_loop| {
        check(event_loop);
        event_loop.len() == left
    })?;
    world.run(event_loop)?;
    check(event_loop);
    Ok(())
}

/// Bytes from which their position can be seen.
pub fn pattern(range: Range<usize>) -> Vec<u8> {
    range.map(|at| (at * 7 + (at >> 8)) as u8).collect()
}

/// The end that a peer makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It half-closes after its last word, and reads to the end.
    HalfCloses,
    /// It closes after its last word, even if input arrives.
    Closes,
    /// It resets the connection at some time.
    Resets,
    /// It says all it has to say, and then nothing.
    FallsSilent,
}

/// A peer that says something bit by bit.
pub struct Speaker {
    pub peer: Peer,
    pub manner: Manner,
    pub words: Rc<RefCell<Vec<u8>>>,
    checked: Cell<usize>,
}

impl Speaker {
    /// Has `peer` say `words`, in parts and with pauses that the seed decides.
    pub fn new(world: &World, peer: Peer, words: Vec<u8>) -> Self {
        let manner = match world.between(0..=9) {
            0..=5 => Manner::HalfCloses,
            6 => Manner::Closes,
            7..=8 => Manner::Resets,
            _ => Manner::FallsSilent,
        };
        Self::with_manner(world, peer, words, manner)
    }

    pub fn with_manner(world: &World, peer: Peer, words: Vec<u8>, manner: Manner) -> Self {
        let second = Duration::from_secs(1);
        let mut at = world.duration(Duration::ZERO..=second);
        let mut left = &words[..];
        while !left.is_empty() {
            let (part, rest) = left.split_at(world.between(1..=left.len() as u64) as usize);
            let (speaker, part) = (peer.clone(), part.to_vec());
            world.call_later(at, move |_| speaker.send(part));
            at += world.duration(Duration::ZERO..=second);
            left = rest;
        }
        let last = peer.clone();
        match manner {
            Manner::HalfCloses => world.call_later(at, move |_| last.shutdown()),
            Manner::Closes => world.call_later(at, move |_| last.close()),
            Manner::Resets => {
                let at = world.duration(Duration::ZERO..=2 * at);
                world.call_later(at, move |_| last.reset());
            }
            Manner::FallsSilent => {}
        }
        // It stops reading for a while.
        if world.chance(20) {
            let (first, then) = (peer.clone(), peer.clone());
            let begin = world.duration(Duration::ZERO..=at);
            world.call_later(begin, move |_| first.pause());
            let end = begin + world.duration(Duration::ZERO..=10 * second);
            world.call_later(end, move |_| then.resume());
        }
        let words = Rc::new(RefCell::new(words));
        let checked = Cell::new(0);
        Self {
            peer,
            manner,
            words,
            checked,
        }
    }

    /// Checks whether its reset has arrived while the stream was open.
    pub fn was_reset_while_open(&self, world: &World) -> bool {
        steps_of(world, &self.peer)
            .take_while(|what| *what != What::Closed)
            .any(|what| what == What::Reset)
    }

    /// Checks that all that the peer has received so far begins `expected`.
    pub fn check_received(&self, expected: &[u8]) {
        let received = self.peer.received();
        let checked = self.checked.replace(received.len());
        assert!(received.len() <= expected.len(), "more came than was due");
        assert!(
            received[checked..] == expected[checked..received.len()],
            "byte {checked} or a later one of {} is wrong",
            received.len()
        );
    }
}

/// Returns the number of bytes of a peer that have arrived while the stream was open.
pub fn arrived(world: &World, peer: &Peer) -> usize {
    steps_of(world, peer)
        .map(|what| match what {
            What::Arrived(bytes) => bytes,
            _ => 0,
        })
        .sum()
}

/// Checks whether the end of a peer's output has arrived while the stream was open.
pub fn input_ended(world: &World, peer: &Peer) -> bool {
    steps_of(world, peer).any(|what| what == What::InputEnded)
}

/// Returns the events of the stream that is connected to `peer`.
fn steps_of(world: &World, peer: &Peer) -> impl Iterator<Item = What> + use<> {
    let (steps, connection) = (world.trace().into_iter(), peer.connection());
    steps
        .filter(move |step| step.connection == connection && !step.at_peer)
        .map(|step| step.what)
}

/// Sets the room and the pieces of a connection so that `most` bytes take some hundred steps at
/// most.
pub fn set_pace(world: &World, peer: &Peer, most: usize) {
    let least = (most / 50 + 1) as u64;
    peer.set_room(world.between(least..=4 * least) as usize * world.between(1..=10) as usize);
    peer.set_pieces(1..=world.between(least..=2 * least) as usize);
}
