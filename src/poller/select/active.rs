//! The numbers that were active lately.

use super::BITS;
use crate::poller::pace::COLD;
use crate::sys::select::Word;

/// The periods for which a number stays active: the present one, and those in which it may be
/// idle. A period ends when all descriptors are asked.
const PERIODS: usize = COLD as usize + 1;

/// Sets of the numbers that were active, each `room` words long. A number that is not watched any
/// more may remain in them.
#[derive(Debug)]
pub(super) struct Active {
    /// The numbers in any of the periods.
    hot: Vec<Word>,
    periods: [Vec<Word>; PERIODS],
    /// The index of the present period.
    present: usize,
    /// The number of bits in `hot`.
    count: usize,
}

impl Active {
    /// Makes empty sets.
    pub(super) fn new(room: usize) -> Self {
        Self {
            hot: vec![0; room],
            periods: std::array::from_fn(|_| vec![0; room]),
            present: 0,
            count: 0,
        }
    }

    /// Makes the sets longer.
    pub(super) fn grow(&mut self, room: usize) {
        for set in self.periods.iter_mut().chain([&mut self.hot]) {
            set.resize(room, 0);
        }
    }

    /// Returns the number of active numbers, or more.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the set of the active numbers.
    #[inline]
    pub(super) fn hot(&self) -> &[Word] {
        &self.hot
    }

    /// Counts a number as active in the present period.
    #[inline]
    pub(super) fn note(&mut self, number: usize) {
        let (word, bit) = (number / BITS, 1 << (number % BITS));
        self.count += usize::from(self.hot[word] & bit == 0);
        self.hot[word] |= bit;
        self.periods[self.present][word] |= bit;
    }

    /// Removes the numbers of a word.
    pub(super) fn clear(&mut self, word: usize) {
        self.count -= self.hot[word].count_ones() as usize;
        for set in self.periods.iter_mut().chain([&mut self.hot]) {
            set[word] = 0;
        }
    }

    /// Begins a period, and removes the numbers that were active in none of the others.
    pub(super) fn begin_period(&mut self) {
        self.present = (self.present + 1) % PERIODS;
        self.periods[self.present].fill(0);
        self.count = 0;
        for (word, hot) in self.hot.iter_mut().enumerate() {
            *hot = self.periods.iter().fold(0, |bits, set| bits | set[word]);
            self.count += hot.count_ones() as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_hot_until_it_was_idle_for_too_many_periods() {
        let mut active = Active::new(2);
        for number in [3, BITS + 1] {
            active.note(number);
            active.note(number);
        }
        for _ in 0..COLD {
            active.begin_period();
            assert_eq!((active.count(), active.hot()), (2, &[1 << 3, 1 << 1][..]));
        }
        active.note(3);
        active.begin_period();
        assert_eq!((active.count(), active.hot()), (1, &[1 << 3, 0][..]));
        active.clear(0);
        assert_eq!((active.count(), active.hot()), (0, &[0, 0][..]));
        active.begin_period();
        assert_eq!(active.count(), 0);
    }
}
