//! Peers that say something bit by bit, and then end in some manner.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use fdloop::sim::{Peer, What, World};

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
    /// It sends all its words, and then falls silent.
    FallsSilent,
}

/// A peer that says something bit by bit.
pub struct Speaker {
    pub peer: Peer,
    pub manner: Manner,
    pub words: Vec<u8>,
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
        let checked = Cell::new(0);
        Self {
            peer,
            manner,
            words,
            checked,
        }
    }

    /// Checks whether the peer reads to the end.
    pub fn reads(&self) -> bool {
        matches!(self.manner, Manner::HalfCloses | Manner::FallsSilent)
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
