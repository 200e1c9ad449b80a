//! The places of timers: an array that grows without moving its elements.
//!
//! A vector of a million timers would be copied, by each growth, into memory that the process has
//! not touched before. Touching it takes longer than all the rest of making a timer.

use super::{Place, Slot};

/// The number of places in a chunk.
const CHUNK: usize = 1024;

/// Places by number.
#[derive(Default)]
pub(super) struct Places {
    /// All chunks but the last are full. Only the first one grows.
    chunks: Vec<Vec<Place>>,
}

impl Places {
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Place> {
        let number = number as usize;
        self.chunks.get(number / CHUNK)?.get(number % CHUNK)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Place> {
        let number = number as usize;
        self.chunks.get_mut(number / CHUNK)?.get_mut(number % CHUNK)
    }

    pub(super) fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Adds a place. Returns its number.
    #[inline]
    pub(super) fn push(&mut self, place: Place) -> u32 {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        if let Some(last) = self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            last.push(place);
            return (full + last.len() - 1) as u32;
        }
        self.push_chunk(place)
    }

    #[cold]
    fn push_chunk(&mut self, place: Place) -> u32 {
        let number = self.chunks.len() * CHUNK;
        let room = if number == 0 { 0 } else { CHUNK };
        let mut chunk = Vec::with_capacity(room);
        chunk.push(place);
        self.chunks.push(chunk);
        number as u32
    }

    /// Removes the vacant places after the last one that is taken, if these are the later half, and
    /// frees their memory. Returns true if it did.
    pub(super) fn shorten(&mut self) -> bool {
        let places = self.chunks.iter().flatten();
        let taken = places.enumerate().filter(|(_, place)| place.is_taken());
        let used = taken.last().map_or(0, |(last, _)| last + 1);
        if used > self.len() / 2 {
            return false;
        }
        self.chunks.truncate(used.div_ceil(CHUNK));
        if let Some(last) = self.chunks.last_mut() {
            last.truncate(used - used.saturating_sub(1) / CHUNK * CHUNK);
        }
        true
    }

    /// Links all vacant places. Returns the first one.
    pub(super) fn link_vacant(&mut self) -> Option<u32> {
        let mut first = None;
        for (number, place) in self.chunks.iter_mut().flatten().enumerate() {
            if let Slot::Vacant { next } = &mut place.0 {
                *next = first.replace(number as u32);
            }
        }
        first
    }
}
