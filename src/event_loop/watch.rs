//! What the loop knows of each channel beside the channel itself.

use std::os::fd::RawFd;

use super::id::{Key, Serial};
use crate::poller::Interest;

/// The loop's knowledge of one channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// Which of all that ever have that number; [`VACANT`] if there is none.
    pub(super) serial: Serial,
    /// What the poller was told.
    pub(super) interest: Interest,
    /// Its predicates may look at anything, so it is not asked only when touched.
    pub(super) asked: bool,
    /// Above 0 if it was ready lately, and then among the active ones of `Asking`. Only if
    /// it is asked.
    pub(super) warmth: u8,
    /// Does not keep `run` going.
    pub(super) background: bool,
    /// Stands in `EventLoop::touched`.
    pub(super) touched: bool,
    /// One of its methods runs.
    pub(super) in_service: bool,
    pub(super) life: Life,
}

/// How far the loop has ended a channel. Above `Going` only while one of its methods runs:
/// the channel is removed when that has returned. (A channel that ends by itself has no
/// interest any more, and the loop keeps no account of that.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    Going,
    /// Its `handle_close` was called, and may still call handlers.
    Ending,
    /// It was closed by its id, or its `handle_close` has returned.
    Over,
}

/// No channel has this serial number, and it is above all that have one.
const VACANT: Serial = Serial::MAX;

impl Watch {
    pub(super) fn new(serial: Serial, interest: Interest, asked: bool) -> Self {
        Self {
            serial,
            interest,
            asked,
            warmth: 0,
            background: false,
            touched: false,
            in_service: false,
            life: Life::Going,
        }
    }

    fn is_vacant(&self) -> bool {
        self.serial == VACANT
    }
}

/// All watches, in a table by descriptor number. The kernel gives out the lowest
/// free number, so the table is as long as the most descriptors there ever were.
#[derive(Debug, Default)]
pub(super) struct Watches(Vec<Watch>);

/// The index of a number. One that is negative lies behind every table.
fn index(fd: RawFd) -> usize {
    fd as usize
}

impl Watches {
    /// `fd` must not be negative.
    pub(super) fn insert(&mut self, fd: RawFd, watch: Watch) {
        let number = index(fd);
        if self.0.len() <= number {
            let vacant = Watch::new(VACANT, Interest::empty(), false);
            self.0.resize(number + 1, vacant);
        }
        self.0[number] = watch;
    }

    /// The watch of whoever has that number now.
    pub(super) fn get(&self, fd: RawFd) -> Option<&Watch> {
        self.0.get(index(fd)).filter(|watch| !watch.is_vacant())
    }

    /// The watch of whoever has that number now, if they must be asked in every pass.
    /// Debug builds ask everybody, to see whether what they claim is true.
    #[inline]
    pub(super) fn to_ask(&self, fd: RawFd) -> Option<&Watch> {
        let debug = cfg!(debug_assertions);
        self.0
            .get(index(fd))
            .filter(|watch| watch.asked || debug && !watch.is_vacant())
    }

    /// The serial number of whoever has that number, if that is below `limit`.
    pub(super) fn serial_below(&self, fd: RawFd, limit: Serial) -> Option<Serial> {
        let serial = self.0.get(index(fd))?.serial;
        (serial < limit).then_some(serial)
    }

    /// The watch of exactly that channel.
    pub(super) fn current(&self, key: Key) -> Option<&Watch> {
        let watch = self.0.get(index(key.fd))?;
        (watch.serial == key.serial).then_some(watch)
    }

    /// The watch of exactly that channel.
    pub(super) fn current_mut(&mut self, key: Key) -> Option<&mut Watch> {
        let watch = self.0.get_mut(index(key.fd))?;
        (watch.serial == key.serial).then_some(watch)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Watch> {
        let watch = self.current_mut(key)?;
        let removed = *watch;
        watch.serial = VACANT;
        watch.asked = false;
        Some(removed)
    }

    /// Every channel, in the order of their numbers.
    pub(super) fn keys(&self) -> Vec<Key> {
        let numbered = (0..).zip(&self.0).filter(|(_, watch)| !watch.is_vacant());
        numbered
            .map(|(fd, watch)| Key {
                fd,
                serial: watch.serial,
            })
            .collect()
    }
}
