//! The order in which timers fire.
//!
//! Most timers are cancelled long before they are due, or are far in the future, so most
//! entries should never be sorted:
//!
//! ```text
//!   earlier than the horizon                 from the horizon on
//! ┌───────────────┬────────────────────┐   ┌──────────────────────┐
//! │ near (a heap) │ run (sorted)       │   │ far (in no order)    │
//! └───────────────┴────────────────────┘   └──────────────────────┘
//!   new entries     taken from its end       new entries
//! ```
//!
//! When `near` and `run` are empty, the earliest part of `far` is sorted and becomes `run`. When
//! `near` becomes long, its later half moves to `far`. So adding an entry takes constant time
//! on average, and taking one about the time of sorting it once. No pause grows with the number
//! of entries beyond one look at each.

use std::cmp::Ordering;

/// The length of `near` at which its later half moves to `far`.
const LONG: usize = 4096;

/// The part of `far` that becomes `run`: one in so many.
const PART: usize = 16;

/// As many due entries as this are taken one after the other.
const FEW: usize = 16;

/// The number of children of a node in the heap.
const ARITY: usize = 4;

/// The time of a timer, in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Nanoseconds since the epoch of the timers.
    pub(super) at: u64,
    /// The order of entries of the same time. Unique.
    pub(super) seq: u64,
    /// The place of the timer.
    pub(super) slot: u32,
}

impl Entry {
    #[inline]
    fn is_before(&self, other: &Self) -> bool {
        (self.at, self.seq) < (other.at, other.seq)
    }

    fn compare(&self, other: &Self) -> Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    near: Vec<Entry>,
    /// In descending order.
    run: Vec<Entry>,
    far: Vec<Entry>,
    horizon: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            near: Vec::new(),
            run: Vec::new(),
            far: Vec::new(),
            horizon: u64::MAX,
        }
    }
}

impl Queue {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.near.len() + self.run.len() + self.far.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.near.capacity() + self.run.capacity() + self.far.capacity()
    }

    /// Returns all entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.near.iter().chain(&self.run).chain(&self.far)
    }

    /// Adds an entry.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        if entry.at >= self.horizon {
            self.far.push(entry);
            return;
        }
        self.near.push(entry);
        rise(&mut self.near);
        if self.near.len() >= LONG && self.near.len() > self.run.len() {
            self.shorten();
        }
    }

    /// Adds many entries.
    pub(super) fn push_all(&mut self, entries: &[Entry]) {
        if entries.len() < FEW || entries.len() < self.near.len() / PART {
            for entry in entries {
                self.push(*entry);
            }
            return;
        }
        for entry in entries {
            let part = if entry.at >= self.horizon {
                &mut self.far
            } else {
                &mut self.near
            };
            part.push(*entry);
        }
        if self.near.len() >= LONG && self.near.len() > self.run.len() {
            self.sort_anew();
        } else {
            self.order_near();
        }
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        for part in [&mut self.near, &mut self.run, &mut self.far] {
            part.clear();
        }
        self.horizon = u64::MAX;
    }

    /// Returns the first entry.
    #[inline]
    pub(super) fn first(&self) -> Option<Entry> {
        match (self.near.first(), self.run.last()) {
            (Some(near), Some(run)) if run.is_before(near) => Some(*run),
            (None, run) => run.copied(),
            (near, _) => near.copied(),
        }
    }

    /// Removes the first entry. `first` returns the next one only after
    /// [`refill`](Self::refill).
    #[inline]
    pub(super) fn remove_first(&mut self) {
        match (self.near.first(), self.run.last()) {
            (Some(near), Some(run)) if run.is_before(near) => drop(self.run.pop()),
            (None, _) => drop(self.run.pop()),
            _ => {
                self.near.swap_remove(0);
                sink(&mut self.near, 0);
            }
        }
    }

    /// Moves the entries up to time `now` to `due`, in their order.
    pub(super) fn take_until(&mut self, now: u64, due: &mut Vec<Entry>) {
        for _ in 0..FEW {
            match self.first() {
                Some(first) if first.at <= now => {
                    due.push(first);
                    self.remove_first();
                    self.refill();
                }
                _ => return,
            }
        }
        // Many are due: sorting them together is faster than taking one after the other.
        while self.first().is_some_and(|first| first.at <= now) {
            let mut some = take_if(&mut self.near, |entry| entry.at <= now);
            self.order_near();
            let left = self.run.partition_point(|entry| entry.at > now);
            some.extend(self.run.drain(left..));
            some.sort_unstable_by(Entry::compare);
            due.append(&mut some);
            self.refill();
        }
    }

    /// Moves entries from `far` if there are no earlier ones. Returns whether it did.
    #[inline]
    pub(super) fn refill(&mut self) -> bool {
        if !self.near.is_empty() || !self.run.is_empty() {
            return false;
        }
        if self.far.is_empty() {
            self.horizon = u64::MAX;
            return false;
        }
        self.sort_some();
        true
    }

    /// Makes the earliest part of `far` the new `run`.
    #[cold]
    fn sort_some(&mut self) {
        let part = (self.far.len() / PART).max(LONG);
        if part >= self.far.len() {
            self.run = std::mem::take(&mut self.far);
            self.horizon = u64::MAX;
        } else {
            let (_, pivot, _) = self.far.select_nth_unstable_by_key(part, |entry| entry.at);
            self.horizon = pivot.at.saturating_add(1);
            self.run = take_if(&mut self.far, |entry| entry.at < self.horizon);
        }
        self.run.sort_unstable_by(|a, b| b.compare(a));
        // The next horizon is that of the run's last entry, so that new entries between it and
        // the first of `far` are in no order either.
        if let Some(last) = self.run.first() {
            self.horizon = last.at.saturating_add(1);
        }
    }

    /// Moves the later half of `near` to `far`. If there is a run, everything moves there, and
    /// the earliest part becomes the new run.
    #[cold]
    fn shorten(&mut self) {
        if !self.run.is_empty() {
            return self.sort_anew();
        }
        let half = self.near.len() / 2;
        let (_, pivot, _) = self.near.select_nth_unstable_by_key(half, |entry| entry.at);
        let horizon = pivot.at;
        let early = take_if(&mut self.near, |entry| entry.at < horizon);
        if early.is_empty() {
            // All are of one time.
            return self.sort_anew();
        }
        self.far.append(&mut self.near);
        self.near = early;
        self.horizon = horizon;
        self.order_near();
    }

    /// Makes the earliest part of all entries the new `run`.
    fn sort_anew(&mut self) {
        self.far.append(&mut self.near);
        self.far.append(&mut self.run);
        self.sort_some();
    }

    /// Makes `near` a heap.
    fn order_near(&mut self) {
        for node in (0..self.near.len()).rev() {
            sink(&mut self.near, node);
        }
    }

    /// Keeps the entries for which `keep` returns true, and frees memory.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        for part in [&mut self.near, &mut self.run, &mut self.far] {
            part.retain(&mut keep);
            part.shrink_to(2 * part.len());
        }
        self.order_near();
    }

    /// Checks that the parts are in order, and that the horizon separates them.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.run.is_sorted_by(|a, b| b.is_before(a)));
        for (node, entry) in self.near.iter().enumerate().skip(1) {
            assert!(self.near[(node - 1) / ARITY].is_before(entry));
        }
        let early = self.near.iter().chain(&self.run);
        assert!(early.map(|entry| entry.at).max() < Some(self.horizon));
        let far = self.far.iter().map(|entry| entry.at);
        assert!(far.min().is_none_or(|at| at >= self.horizon));
    }
}

/// Removes the entries for which `wanted` returns true, and returns them.
fn take_if(entries: &mut Vec<Entry>, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let mut taken = Vec::new();
    entries.retain(|entry| {
        let take = wanted(entry);
        if take {
            taken.push(*entry);
        }
        !take
    });
    taken
}

/// Moves the last node of a heap up to its place.
#[inline]
fn rise(heap: &mut [Entry]) {
    let Some(mut node) = heap.len().checked_sub(1) else {
        return;
    };
    while node > 0 {
        let parent = (node - 1) / ARITY;
        if heap[parent].is_before(&heap[node]) {
            break;
        }
        heap.swap(node, parent);
        node = parent;
    }
}

/// Moves a node of a heap down to its place.
#[inline]
fn sink(heap: &mut [Entry], mut node: usize) {
    loop {
        let first = node * ARITY + 1;
        let children = first..(first + ARITY).min(heap.len());
        let least = children.min_by(|a, b| heap[*a].compare(&heap[*b]));
        match least {
            Some(child) if heap[child].is_before(&heap[node]) => {
                heap.swap(node, child);
                node = child;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds and removes entries in a random order, beside a sorted list.
    fn compare_with_a_list(rounds: u32, times: u64, removals: u32) {
        let mut queue = Queue::default();
        let mut list: Vec<Entry> = Vec::new();
        let mut seed = 7_u64;
        for seq in 0..u64::from(rounds) {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) % times;
            let entry = Entry { at, seq, slot: 0 };
            queue.push(entry);
            let place = list.partition_point(|other| entry.is_before(other));
            list.insert(place, entry);
            if seq % 4096 == 4095 {
                let now = list.last().map_or(0, |first| first.at + times / 10);
                let left = list.partition_point(|entry| entry.at > now);
                let mut due = Vec::new();
                queue.refill();
                queue.take_until(now, &mut due);
                assert!(list.drain(left..).rev().eq(due));
            }
            if (seed >> 20) % 100 < u64::from(removals) {
                queue.refill();
                assert_eq!(queue.first(), list.pop());
                queue.remove_first();
            }
            if seq % 1_000 == 0 {
                queue.check();
                queue.retain(|_| true);
                queue.check();
            }
        }
        while let Some(expected) = list.pop() {
            queue.refill();
            assert_eq!(queue.first(), Some(expected));
            queue.remove_first();
        }
        assert!(!queue.refill() && queue.len() == 0);
    }

    #[test]
    fn entries_leave_in_order_however_they_came() {
        compare_with_a_list(20_000, 1 << 30, 0);
        compare_with_a_list(20_000, 1 << 30, 40);
        compare_with_a_list(20_000, 1 << 30, 99);
    }

    #[test]
    fn entries_of_one_time_leave_in_the_order_they_came() {
        compare_with_a_list(20_000, 1, 10);
        compare_with_a_list(20_000, 3, 30);
    }

    #[test]
    fn rising_times_leave_in_order() {
        let mut queue = Queue::default();
        for seq in 0..30_000 {
            queue.push(Entry {
                at: seq / 2,
                seq,
                slot: 0,
            });
        }
        queue.check();
        for seq in 0..30_000 {
            queue.refill();
            assert_eq!(queue.first().map(|entry| entry.seq), Some(seq));
            queue.remove_first();
        }
    }
}
