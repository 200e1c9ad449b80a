//! What the loop knows of each channel beside the channel itself.

use std::os::fd::RawFd;

use super::id::Key;
use crate::poller::Interest;

/// The loop's knowledge of one channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// What the poller was told.
    pub(super) interest: Interest,
    /// Asked in every pass, and not only when touched.
    pub(super) asked: bool,
    /// Stands in `EventLoop::touched`.
    pub(super) touched: bool,
    /// One of its methods runs.
    pub(super) in_service: bool,
    /// Is to be removed when the method that runs has returned.
    pub(super) doomed: bool,
    /// Its `handle_close` was called.
    pub(super) ended: bool,
}

impl Watch {
    pub(super) fn new(interest: Interest, asked: bool) -> Self {
        Self {
            interest,
            asked,
            touched: false,
            in_service: false,
            doomed: false,
            ended: false,
        }
    }
}

/// All watches, in a table by descriptor number. The kernel gives out the lowest
/// free number, so the table is as long as the most descriptors there ever were.
#[derive(Debug, Default)]
pub(super) struct Watches(Vec<Option<(u64, Watch)>>);

impl Watches {
    /// `key.fd` must not be negative.
    pub(super) fn insert(&mut self, key: Key, watch: Watch) {
        let number = key.fd.cast_unsigned() as usize;
        if self.0.len() <= number {
            self.0.resize(number + 1, None);
        }
        self.0[number] = Some((key.serial, watch));
    }

    /// The serial number and watch of whoever has that number now.
    pub(super) fn get(&self, fd: RawFd) -> Option<(u64, Watch)> {
        *self.0.get(usize::try_from(fd).ok()?)?
    }

    /// The watch of exactly that channel.
    pub(super) fn current(&self, key: Key) -> Option<&Watch> {
        match self.0.get(usize::try_from(key.fd).ok()?)? {
            Some((serial, watch)) if *serial == key.serial => Some(watch),
            _ => None,
        }
    }

    /// The watch of exactly that channel.
    pub(super) fn current_mut(&mut self, key: Key) -> Option<&mut Watch> {
        match self.0.get_mut(usize::try_from(key.fd).ok()?)? {
            Some((serial, watch)) if *serial == key.serial => Some(watch),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Watch> {
        let watch = *self.current(key)?;
        self.0[key.fd.cast_unsigned() as usize] = None;
        Some(watch)
    }

    /// Every channel, in the order of their numbers.
    pub(super) fn keys(&self) -> Vec<Key> {
        let numbered = (0..).zip(&self.0);
        numbered
            .filter_map(|(fd, entry)| entry.map(|(serial, _)| Key { fd, serial }))
            .collect()
    }
}
