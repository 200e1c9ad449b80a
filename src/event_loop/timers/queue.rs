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
//! At first all entries are in `far`, and the first of them is known. When that one is taken, and
//! again whenever `near` and `run` are empty, the earliest part of `far` is sorted and becomes `run`.
//! When `near` becomes long, its later half moves to `far`. All entries of `far` are looked at only
//! to sort a part of them, or to take as many. So adding an entry takes constant time on average, and
//! taking one about the time of sorting it once. No pause grows with the number of entries beyond a
//! few looks at each.

use std::cmp::Ordering;
use std::mem;

use super::generation::Generation;

/// The length of `near` at which its later half moves to `far`.
const LONG: usize = 4096;

/// The part of `far` that becomes `run`: one in so many.
const PART: usize = 16;

/// The number of due entries that are taken one after the other, if that is more than one [`PART`].
const FEW: usize = 16;

/// The number of children of a node in the heap.
const ARITY: usize = 4;

/// The time of a timer, in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Nanoseconds since the epoch of the timers.
    pub(super) at: u64,
    /// The order of entries of the same time. Unique.
    pub(super) generation: Generation,
    /// The place of the timer.
    pub(super) slot: u32,
}

impl Entry {
    #[inline]
    fn is_before(&self, other: &Self) -> bool {
        (self.at, self.generation) < (other.at, other.generation)
    }

    #[inline]
    fn compare(&self, other: &Self) -> Ordering {
        (self.at, self.generation).cmp(&(other.at, other.generation))
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    near: Vec<Entry>,
    /// In descending order.
    run: Vec<Entry>,
    far: Vec<Entry>,
    /// 0 exactly if `near` and `run` are empty.
    horizon: u64,
    /// The first entry of `far`, if `near` and `run` are empty.
    least: Option<Entry>,
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
            return self.push_far(entry);
        }
        self.near.push(entry);
        rise(&mut self.near);
        self.shorten_near();
    }

    #[inline]
    fn push_far(&mut self, entry: Entry) {
        self.far.push(entry);
        if self.horizon == 0 && self.least.is_none_or(|least| entry.is_before(&least)) {
            self.least = Some(entry);
        }
    }

    /// Adds entries, perhaps many.
    pub(super) fn push_all(&mut self, entries: impl Iterator<Item = Entry>) {
        let before = self.near.len();
        for entry in entries {
            if entry.at >= self.horizon {
                self.push_far(entry);
            } else {
                self.near.push(entry);
            }
        }
        if self.near.len() - before > few(&self.near[..before]) {
            self.order_near();
        } else {
            for last in before..self.near.len() {
                rise(&mut self.near[..=last]);
            }
        }
        self.shorten_near();
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        for part in [&mut self.near, &mut self.run, &mut self.far] {
            part.clear();
        }
        self.horizon = 0;
        self.least = None;
    }

    /// Returns the first entry.
    #[inline]
    pub(super) fn first(&self) -> Option<Entry> {
        match (self.near.first(), self.run.last()) {
            (Some(near), Some(run)) if run.is_before(near) => Some(*run),
            (Some(near), _) => Some(*near),
            (None, Some(run)) => Some(*run),
            (None, None) => self.least,
        }
    }

    /// Removes the first entry.
    #[inline]
    pub(super) fn remove_first(&mut self) {
        if self.horizon == 0 {
            self.sort_some();
        }
        match (self.near.first(), self.run.last()) {
            (Some(near), Some(run)) if run.is_before(near) => drop(self.run.pop()),
            (None, _) => drop(self.run.pop()),
            _ => {
                self.near.swap_remove(0);
                sink(&mut self.near, 0);
            }
        }
        self.find_least();
    }

    /// Appends the entries up to time `now` to `due`, in their order.
    pub(super) fn take_until(&mut self, now: u64, due: &mut Vec<Entry>) {
        let is_due = |entry: &Entry| entry.at <= now;
        let are_unsorted = self.least.as_ref().is_some_and(is_due);
        // A look at all entries of `far` must take many of them, or leave a run.
        let are_few = || self.far.iter().filter(|entry| is_due(entry)).count() <= few(&self.far);
        if !are_unsorted || are_few() {
            for _ in 0..few(&self.near) {
                match self.first() {
                    Some(first) if is_due(&first) => {
                        due.push(first);
                        self.remove_first();
                    }
                    _ => return,
                }
            }
        }
        // Many are due, perhaps: sorting them together is faster than taking one after the other.
        let begin = due.len();
        let left = self.run.partition_point(|entry| !is_due(entry));
        due.extend(self.run.drain(left..));
        move_if(&mut self.near, due, is_due);
        self.order_near();
        if self.horizon <= now {
            move_if(&mut self.far, due, is_due);
        }
        sort(&mut due[begin..]);
        self.find_least();
    }

    /// Finds the first entry of `far`, if `near` and `run` are empty.
    #[inline]
    fn find_least(&mut self) {
        if self.near.is_empty() && self.run.is_empty() {
            self.horizon = 0;
            self.least = self.far.iter().copied().min_by(Entry::compare);
        }
    }

    /// Makes the earliest part of `far` the new `run`. `near` and `run` are empty.
    #[cold]
    fn sort_some(&mut self) {
        let part = (self.far.len() / PART).max(LONG);
        if part >= self.far.len() {
            mem::swap(&mut self.run, &mut self.far);
        } else {
            let last = nth_time(&mut self.far, part);
            move_if(&mut self.far, &mut self.run, |entry| entry.at <= last);
        }
        sort(&mut self.run);
        self.run.reverse();
        // New entries between the last one of the run and the first one of `far` are in no order
        // either.
        if let Some(last) = self.run.first() {
            self.horizon = last.at.saturating_add(1);
            self.least = None;
        }
    }

    /// Moves the later half of `near` to `far` if it is long. If there is a run, everything moves
    /// there, and the earliest part becomes the new run.
    #[inline]
    fn shorten_near(&mut self) {
        if self.near.len() < LONG || self.near.len() <= self.run.len() {
            return;
        }
        self.divide_near();
    }

    #[cold]
    fn divide_near(&mut self) {
        let half = self.near.len() / 2;
        let horizon = nth_time(&mut self.near, half);
        let mut early = Vec::new();
        if self.run.is_empty() {
            move_if(&mut self.near, &mut early, |entry| entry.at < horizon);
        }
        self.far.append(&mut self.near);
        if early.is_empty() {
            // There is a run, or the half is of one time.
            self.far.append(&mut self.run);
            return self.sort_some();
        }
        self.near = early;
        self.horizon = horizon;
        self.order_near();
    }

    /// Makes `near` a heap.
    fn order_near(&mut self) {
        for node in (0..self.near.len().div_ceil(ARITY)).rev() {
            sink(&mut self.near, node);
        }
    }

    /// Frees the memory beyond that of twice the entries.
    pub(super) fn shrink(&mut self) {
        for part in [&mut self.near, &mut self.run, &mut self.far] {
            part.shrink_to(2 * part.len());
        }
    }

    /// Keeps the entries for which `keep` returns true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        for part in [&mut self.near, &mut self.run, &mut self.far] {
            part.retain(&mut keep);
        }
        self.order_near();
        self.find_least();
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
        let is_far = self.near.is_empty() && self.run.is_empty();
        assert_eq!(self.horizon == 0, is_far);
        let least = self.far.iter().copied().min_by(Entry::compare);
        assert_eq!(self.least, least.filter(|_| is_far));
    }
}

/// Returns the number of entries that are few beside `all`.
fn few(all: &[Entry]) -> usize {
    FEW.max(all.len() / PART)
}

/// Sorts entries into their order.
// One copy for all callers: sorting is much machine code to compile.
#[inline(never)]
fn sort(entries: &mut [Entry]) {
    entries.sort_unstable_by(Entry::compare);
}

/// Returns the time that the entry at `place` would have if `entries`, which it reorders, were
/// sorted.
#[inline(never)]
fn nth_time(entries: &mut [Entry], place: usize) -> u64 {
    entries
        .select_nth_unstable_by_key(place, |entry| entry.at)
        .1
        .at
}

/// Moves the entries for which `wanted` returns true to the end of `to`.
fn move_if(from: &mut Vec<Entry>, to: &mut Vec<Entry>, wanted: impl Fn(&Entry) -> bool) {
    from.retain(|entry| {
        let take = wanted(entry);
        if take {
            to.push(*entry);
        }
        !take
    });
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
    use crate::event_loop::id::Serial;
    use crate::event_loop::timers::generation::Kind;

    /// Makes the entry of that number.
    fn entry(at: u64, number: u64) -> Entry {
        let generation = Generation::new(Serial::MIN.saturating_add(number), Kind::OneShot);
        let slot = 0;
        Entry {
            at,
            generation,
            slot,
        }
    }

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
            let entry = entry(at, seq);
            queue.push(entry);
            let place = list.partition_point(|other| entry.is_before(other));
            list.insert(place, entry);
            if seq % 4096 == 4095 {
                let now = list.last().map_or(0, |first| first.at + times / 10);
                let left = list.partition_point(|entry| entry.at > now);
                let mut due = Vec::new();
                queue.take_until(now, &mut due);
                assert!(list.drain(left..).rev().eq(due));
            }
            if (seed >> 20) % 100 < u64::from(removals) {
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
            assert_eq!(queue.first(), Some(expected));
            queue.remove_first();
        }
        assert!(queue.first().is_none() && queue.len() == 0);
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

    /// Checks that a pass leaves the queue such that the next one need not look at all entries.
    #[test]
    fn a_few_due_entries_of_many_leave_a_run() {
        let mut queue = Queue::default();
        let count = 100_000;
        for seq in 0..count {
            queue.push(entry(1_000_000 + seq, seq));
        }
        for now in 0..100 {
            for seq in 0..40 {
                queue.push(entry(now, count + 40 * now + seq));
            }
            let mut due = Vec::new();
            queue.take_until(now, &mut due);
            assert_eq!(due.len(), 40);
            assert!(due.is_sorted_by(Entry::is_before));
            assert!(!queue.run.is_empty() && queue.least.is_none());
        }
        queue.check();
        let mut due = Vec::new();
        queue.take_until(u64::MAX, &mut due);
        assert_eq!((due.len() as u64, queue.len()), (count, 0));
        assert!(due.is_sorted_by(Entry::is_before));
    }

    #[test]
    fn rising_times_leave_in_order() {
        let mut queue = Queue::default();
        for seq in 0..30_000 {
            queue.push(entry(seq / 2, seq));
        }
        queue.check();
        for seq in 0..30_000 {
            assert_eq!(queue.first(), Some(entry(seq / 2, seq)));
            queue.remove_first();
        }
    }
}
