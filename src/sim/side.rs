//! One side of a connection, and the data under way to the other.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// The state of one side. The other side has the number with the last bit inverted.
#[derive(Debug)]
pub(super) struct Side {
    /// The number of the stream; for a peer, that of the stream at the other side.
    pub(super) fd: RawFd,
    pub(super) is_peer: bool,
    /// True until its owner closes it.
    pub(super) open: bool,
    /// True if closing resets the connection, even if everything was read.
    pub(super) resets: bool,
    /// True once a reset was sent to the other side.
    pub(super) reset_sent: bool,
    pub(super) fate: Fate,
    /// Bytes that have arrived and were not received.
    pub(super) inbox: VecDeque<u8>,
    /// The most bytes that are in the inbox or under way to it.
    pub(super) room: usize,
    pub(super) input_ended: bool,
    /// Bytes that were sent, and wait until the other side has room.
    pub(super) outbox: VecDeque<u8>,
    pub(super) output: Output,
    /// The number of bytes under way to the other side.
    pub(super) under_way: usize,
    /// The arrival of the latest data under way; `None` if it never arrives. Data that is sent later
    /// does not arrive before.
    pub(super) last_arrival: Option<Instant>,
    /// True for a peer that receives everything as soon as it arrives.
    pub(super) reads: bool,
    /// Everything that a peer has received.
    pub(super) received: Vec<u8>,
}

/// The state of the connection, as a side knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    /// A reset has arrived. The next call returns this `errno`.
    Lost(i32),
    /// A call has returned the `errno`.
    Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Open,
    /// The output ends when the outbox is empty.
    Ending,
    Ended,
}

/// The pace of a connection, both ways.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The shortest and the longest piece, in bytes.
    pub(super) pieces: (usize, usize),
    /// The least and the most time that a piece takes.
    pub(super) delay: (Duration, Duration),
}

impl Side {
    pub(super) fn new(fd: RawFd, is_peer: bool, room: usize, now: Instant) -> Self {
        Self {
            fd,
            is_peer,
            open: true,
            resets: false,
            reset_sent: false,
            fate: Fate::Whole,
            inbox: VecDeque::new(),
            room,
            input_ended: false,
            outbox: VecDeque::new(),
            output: Output::Open,
            under_way: 0,
            last_arrival: Some(now),
            reads: is_peer,
            received: Vec::new(),
        }
    }

    /// Takes the error of a reset, unless a call has returned it already.
    pub(super) fn take_error(&mut self) -> Option<i32> {
        match self.fate {
            Fate::Lost(errno) => {
                self.fate = Fate::Told;
                Some(errno)
            }
            _ => None,
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        !self.inbox.is_empty() || self.input_ended || self.fate != Fate::Whole
    }

    /// Checks whether both directions have ended, or the connection is lost.
    pub(super) fn has_hung_up(&self) -> bool {
        self.fate != Fate::Whole || self.input_ended && self.output != Output::Open
    }
}
