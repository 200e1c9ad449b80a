//! A table by serial numbers.

use super::id::Serial;

/// Values by serial numbers. The numbers grow, so a new value is mostly the last, and a list in
/// their order finds it in few steps.
///
/// A tree would be as fast, and is several times the machine code to compile.
pub(super) struct BySerial<V> {
    /// In the order of the numbers. `None` for a value that was removed.
    entries: Vec<(Serial, Option<V>)>,
    /// The number of entries without a value: at most half of them.
    removed: usize,
}

impl<V> Default for BySerial<V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            removed: 0,
        }
    }
}

impl<V> BySerial<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == self.removed
    }

    fn place(&self, serial: Serial) -> Option<usize> {
        self.entries.binary_search_by_key(&serial, |it| it.0).ok()
    }

    /// Adds a value under a number that has none and never had one.
    pub(super) fn insert(&mut self, serial: Serial, value: V) {
        let place = self.entries.partition_point(|it| it.0 < serial);
        self.entries.insert(place, (serial, Some(value)));
    }

    pub(super) fn get(&self, serial: Serial) -> Option<&V> {
        self.entries.get(self.place(serial)?)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, serial: Serial) -> Option<&mut V> {
        let place = self.place(serial)?;
        self.entries.get_mut(place)?.1.as_mut()
    }

    pub(super) fn remove(&mut self, serial: Serial) -> Option<V> {
        let place = self.place(serial)?;
        let value = self.entries.get_mut(place)?.1.take()?;
        self.removed += 1;
        // Each removal pays for the move of one entry at most.
        if self.removed * 2 > self.entries.len() {
            self.entries.retain(|it| it.1.is_some());
            self.entries.shrink_to(self.entries.len() * 2 + 16);
            self.removed = 0;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(number: u64) -> Serial {
        Serial::new(number).unwrap()
    }

    #[test]
    fn values_are_found_until_they_are_removed_in_whatever_order() {
        // Each step is prime to the size, so that it visits all.
        for step in [1, 7, 99] {
            let mut table = BySerial::default();
            for number in 0..100 {
                table.insert(serial(1 + number * step % 100), number * step % 100);
            }
            for number in 0..100 {
                let number = number * 37 % 100;
                *table.get_mut(serial(1 + number)).unwrap() += 1000;
                assert_eq!(table.get(serial(1 + number)), Some(&(1000 + number)));
                assert!(!table.is_empty());
                assert_eq!(table.remove(serial(1 + number)), Some(1000 + number));
                assert_eq!(table.get(serial(1 + number)), None);
                assert_eq!(table.remove(serial(1 + number)), None);
            }
            assert!(table.is_empty());
        }
    }

    #[test]
    fn a_table_is_at_most_half_empty_and_gives_memory_back() {
        let mut table = BySerial::default();
        for number in 1..=10_000 {
            table.insert(serial(number), number);
        }
        for number in 1..=9_999 {
            table.remove(serial(number));
            assert!(table.removed * 2 <= table.entries.len());
        }
        assert_eq!(table.get(serial(10_000)), Some(&10_000));
        assert!(table.entries.capacity() < 100);
    }
}
