//! The timers whose time has come.

use super::queue::{Entry, Queue};

/// Entries in the order in which they fire. Entries that a pass did not reach, because an error ended
/// it, come first in the next pass.
#[derive(Debug, Default)]
pub(super) struct Due {
    entries: Vec<Entry>,
    /// The number of entries that were taken.
    taken: usize,
}

impl Due {
    /// Returns the entries that were not taken.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.taken)
    }

    /// Moves the entries up to time `now` from the queue.
    #[inline]
    pub(super) fn fill(&mut self, queue: &mut Queue, now: u64) {
        queue.take_until(now, &mut self.entries);
    }

    /// Takes the first entry.
    #[inline]
    pub(super) fn take_first(&mut self) -> Option<Entry> {
        let first = self.entries.get(self.taken).copied();
        self.taken += usize::from(first.is_some());
        first
    }

    /// Keeps the entries for which `keep` returns true.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.drain(..self.taken);
        self.taken = 0;
        self.entries.retain(keep);
    }

    /// Removes all entries, and frees the memory of more than `kept`. Returns true if there was such
    /// memory.
    #[inline]
    pub(super) fn clear(&mut self, kept: usize) -> bool {
        let is_oversized = self.entries.capacity() > kept;
        self.entries.clear();
        self.entries.shrink_to(kept);
        self.taken = 0;
        is_oversized
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}
