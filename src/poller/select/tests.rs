use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use super::sets::split;
use super::{BITS, SelectPoller};
use crate::poller::pace::Asks;
use crate::poller::{Deadline, Interest, Poller};
use crate::sys::select::Word;

/// No set has anything beyond `words`, and the counts are right.
fn check_invariants(poller: &SelectPoller) {
    let sets = [&poller.wanted, &poller.found].map(|sets| split(sets, poller.room));
    let hot = poller.active.hot();
    for set in sets.iter().flatten().chain(&[hot]) {
        assert_eq!(set.len(), poller.room);
        assert!(set[poller.words..].iter().all(|word| *word == 0));
    }
    let count = |set: &[Word]| {
        set.iter()
            .map(|word| word.count_ones() as usize)
            .sum::<usize>()
    };
    assert_eq!(poller.active.count(), count(hot));
    assert_eq!(poller.members, sets[0].map(count));
    let watched = |number: &usize| poller.is_watched(*number);
    let numbers: Vec<usize> = (0..poller.words * BITS).filter(watched).collect();
    assert_eq!(poller.count, numbers.len());
    assert_eq!(poller.nfds, numbers.last().map_or(0, |last| last + 1));
}

#[test]
fn numbers_that_come_are_active_and_go_leave_nothing_behind() {
    let mut poller = SelectPoller::new();
    let mut seed = 1_u32;
    for _ in 0..5_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = (seed >> 8) as usize % 300;
        // Mostly empty, so that the highest words are empty at times.
        let wants = seed >> 24 & 15 == 0;
        let interest = Interest::from_bits_truncate(if wants { (seed >> 20) as u8 } else { 0 });
        poller.set(number as RawFd, interest).unwrap();
        check_invariants(&poller);
        match seed >> 29 {
            0..4 if number / BITS < poller.words => poller.active.note(number),
            4 => poller.cool_down(),
            _ => {}
        }
        check_invariants(&poller);
    }
}

#[test]
fn an_active_number_that_went_is_asked_no_more() {
    let mut poller = SelectPoller::new();
    let mut ready = Vec::new();
    let (reader, _writer) = os_pipe::pipe().unwrap();
    poller.set(reader.as_raw_fd(), Interest::READABLE).unwrap();
    // In a word of its own, and not open.
    let highest = 10 * BITS;
    poller.set(highest as RawFd, Interest::READABLE).unwrap();
    poller.active.note(highest);
    poller.found.fill(Word::MAX);
    poller.set(highest as RawFd, Interest::empty()).unwrap();
    assert!(!poller.ask_hot(Deadline::Now, &mut ready).unwrap());
    assert_eq!(poller.active.count(), 0);
}

#[test]
fn the_sets_shrink_when_the_highest_numbers_go() {
    let mut poller = SelectPoller::new();
    poller.set(3, Interest::READABLE).unwrap();
    poller.set(1_000, Interest::WRITABLE).unwrap();
    assert_eq!(poller.words, 1_000 / BITS + 1);
    poller.set(1_000, Interest::empty()).unwrap();
    assert_eq!(poller.words, 1);
    poller.set(3, Interest::empty()).unwrap();
    assert_eq!(poller.words, 0);
}

#[test]
fn forgetting_an_unknown_number_is_no_error_and_a_negative_one_is() {
    let mut poller = SelectPoller::new();
    poller.set(70_000, Interest::empty()).unwrap();
    let error = poller.set(-1, Interest::READABLE).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("-1"), "{error}");
}

#[test]
fn the_parts_ask_each_watched_number_once() {
    let pairs: Vec<_> = (0..200).map(|_| UnixStream::pair().unwrap()).collect();
    let mut poller = SelectPoller::new();
    // None is hot, and so asked with each part.
    poller.set_adaptive(false);
    let watch = |poller: &mut SelectPoller, interest| {
        for (ours, _) in &pairs {
            poller.set(ours.as_raw_fd(), interest).unwrap();
        }
    };
    for interest in [Interest::WRITABLE, Interest::READABLE | Interest::WRITABLE] {
        watch(&mut poller, interest);
        for size in [1, 64, 65, 199, 200, 1_000] {
            let mut ready = Vec::new();
            let (mut left, mut sizes) = (poller.places(), 0);
            while left > 0 {
                let part = poller.part_before(left, size);
                assert!(part.size >= size.min(pairs.len() - sizes), "{part:?}");
                assert!(poller.ask_part(&part, &mut ready).unwrap());
                sizes += part.size;
                left = part.places.start;
            }
            assert_eq!(sizes, pairs.len());
            let mut found: Vec<_> = ready.iter().map(|event| event.fd).collect();
            found.sort_unstable();
            let mut watched: Vec<_> = pairs.iter().map(|(ours, _)| ours.as_raw_fd()).collect();
            watched.sort_unstable();
            assert_eq!(found, watched);
        }
    }
}
