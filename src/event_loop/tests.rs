//! Tests of the loop's internal state.

use super::*;
use std::cell::Cell;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// A channel that reads nothing and shares what it wants.
struct Probe {
    stream: UnixStream,
    wants_read: Rc<Cell<bool>>,
}

impl AsRawFd for Probe {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Channel for Probe {
    fn interest(&self, _: &EventLoop) -> Option<Interest> {
        let mut interest = Interest::empty();
        interest.set(Interest::READABLE, self.wants_read.get());
        Some(interest)
    }
}

/// Checks that every channel has a watch and vice versa, that the counts are right, and that
/// each touched channel is in the list once.
fn check_invariants(event_loop: &EventLoop) {
    let keys = event_loop.watches.keys();
    assert_eq!(keys.len(), event_loop.channels.len());
    let mut asked = Vec::new();
    for key in keys {
        assert!(event_loop.channels.contains_key(&key.fd));
        let watch = event_loop.watches.current(key).unwrap();
        if watch.asked {
            asked.push(key);
        }
        let listed = event_loop.touched.iter().filter(|k| **k == key).count();
        assert_eq!(listed, usize::from(watch.touched));
    }
    let current = |key: &&Key| event_loop.watches.current(**key).is_some();
    let mut listed: Vec<_> = event_loop.asking.keys().iter().filter(current).collect();
    listed.sort_by_key(|key| key.fd);
    assert!(asked.iter().eq(listed));
}

#[test]
fn adding_and_closing_in_any_order_keeps_the_invariants() {
    let mut event_loop = EventLoop::new().unwrap();
    let wants_read = Rc::new(Cell::new(true));
    let mut ids = Vec::new();
    let mut seed = 7_u32;
    for _ in 0..500 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match seed >> 29 {
            0..=3 => {
                let (stream, _) = UnixStream::pair().unwrap();
                let wants_read = wants_read.clone();
                ids.push(event_loop.add(Probe { stream, wants_read }).unwrap());
            }
            4 if !ids.is_empty() => {
                let id = ids.swap_remove(seed as usize % ids.len());
                assert!(event_loop.close(id).unwrap());
                assert!(event_loop.get(id).is_none());
            }
            5 if !ids.is_empty() => {
                let id = ids.swap_remove(seed as usize % ids.len());
                assert!(event_loop.remove(id).is_some());
                assert!(!event_loop.close(id).unwrap());
            }
            6 => wants_read.set(!wants_read.get()),
            _ => {
                event_loop.turn(Some(Duration::ZERO)).unwrap();
            }
        }
        check_invariants(&event_loop);
    }
    event_loop.close_all(false).unwrap();
    check_invariants(&event_loop);
    assert!(event_loop.is_empty());
}

#[test]
fn loops_count_their_channels_far_apart() {
    assert_ne!(first_serial().get() >> 32, first_serial().get() >> 32);
}
