//! The loop's knowledge of each channel, beside the channel itself.

use std::os::fd::RawFd;

use super::id::{Key, Serial};
use crate::poller::Interest;

/// The loop's knowledge of one channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// Distinguishes successive owners of the same number; [`VACANT`] if there is none.
    pub(super) serial: Serial,
    /// The interest that the poller has.
    pub(super) interest: Interest,
    /// Its predicates may look at anything, so it is asked in every pass.
    pub(super) asked: bool,
    /// Above 0 if it was recently ready, and is then among the active ones of `Asking`. Only
    /// for one that is asked.
    pub(super) warmth: u8,
    /// It does not keep `run` going.
    pub(super) background: bool,
    /// True for a channel of the crate's own, which the program does not see.
    pub(super) own: bool,
    /// It is in `EventLoop::touched`.
    pub(super) touched: bool,
    /// One of its methods runs.
    pub(super) in_service: bool,
    pub(super) life: Life,
}

/// The loop's part in the end of a channel. Above `Going` only while one of the channel's
/// methods runs, after which the channel is removed. (A channel that ends by itself has no
/// interest any more, and the loop keeps no record of that.)
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
            own: false,
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

/// Returns the index of a number. That of a negative one is beyond every table.
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

    /// Returns the watch of the channel that has the number now.
    pub(super) fn get(&self, fd: RawFd) -> Option<&Watch> {
        self.0.get(index(fd)).filter(|watch| !watch.is_vacant())
    }

    /// Returns the watch of the channel that has the number now, if that must be asked in every
    /// pass.
    #[inline]
    pub(super) fn to_ask(&self, fd: RawFd) -> Option<&Watch> {
        let debug = cfg!(debug_assertions);
        self.0
            .get(index(fd))
            .filter(|watch| watch.asked || debug && !watch.is_vacant())
    }

    /// Returns the serial number of the channel that has the number, if it is below `limit`.
    pub(super) fn serial_below(&self, fd: RawFd, limit: Serial) -> Option<Serial> {
        let serial = self.0.get(index(fd))?.serial;
        (serial < limit).then_some(serial)
    }

    /// Returns the watch of exactly this channel.
    pub(super) fn current(&self, key: Key) -> Option<&Watch> {
        let watch = self.0.get(index(key.fd))?;
        (watch.serial == key.serial).then_some(watch)
    }

    /// Returns the watch of exactly this channel.
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

    /// Returns the keys of all channels, in the order of their numbers.
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
