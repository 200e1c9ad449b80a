//! How often channels are asked whose predicates may look at anything: in every pass where
//! there are few, seldom under load where there are many, and always before a sleep.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{PATIENCE, turn_once, with_every_loop};
use fdloop::{Dispatcher, EventLoop, Handler, Io, Result, View};

/// The predicates of a channel, and its record.
#[derive(Default)]
struct State {
    wants: Cell<bool>,
    asked: Cell<usize>,
    reads: Cell<usize>,
}

struct Asked {
    state: Rc<State>,
    leaves_data: bool,
}

impl Handler for Asked {
    fn readable(&self, _: &View<'_>) -> bool {
        self.state.asked.set(self.state.asked.get() + 1);
        self.state.wants.get()
    }
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.state.reads.set(self.state.reads.get() + 1);
        if !self.leaves_data {
            io.recv(&mut [0; 16])?;
        }
        Ok(())
    }
}

/// A channel that has something to read.
fn add(event_loop: &mut EventLoop, wants: bool, leaves_data: bool) -> (Rc<State>, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let state = Rc::new(State::default());
    state.wants.set(wants);
    let handler = Asked {
        state: Rc::clone(&state),
        leaves_data,
    };
    event_loop
        .add(Dispatcher::new(ours, handler).unwrap())
        .unwrap();
    (state, theirs)
}

/// Channels that want nothing, and one that keeps the loop busy.
struct Crowd {
    idle: Vec<(Rc<State>, UnixStream)>,
    busy: (Rc<State>, UnixStream),
}

fn crowd(event_loop: &mut EventLoop, idle: usize) -> Crowd {
    let idle = (0..idle).map(|_| add(event_loop, false, false)).collect();
    let busy = add(event_loop, true, true);
    // The loop finds out that it is busy.
    for _ in 0..200 {
        turn_once(event_loop);
    }
    Crowd { idle, busy }
}

const BUSY_PASSES: usize = 1_000;

#[test]
fn few_channels_are_asked_in_every_pass() {
    with_every_loop(|event_loop| {
        let crowd = crowd(event_loop, 20);
        let (one, _) = &crowd.idle[7];
        let before = one.asked.get();
        for _ in 0..BUSY_PASSES {
            turn_once(event_loop);
        }
        let asked = one.asked.get() - before;
        assert!(asked >= BUSY_PASSES, "asked {asked} times");
    });
}

#[test]
fn of_many_those_that_are_not_ready_are_asked_seldom_under_load() {
    with_every_loop(|event_loop| {
        let crowd = crowd(event_loop, 200);
        let (one, _) = &crowd.idle[7];
        let (before, busy_before) = (one.asked.get(), crowd.busy.0.asked.get());
        for _ in 0..BUSY_PASSES {
            turn_once(event_loop);
        }
        let asked = one.asked.get() - before;
        let busy_asked = crowd.busy.0.asked.get() - busy_before;
        // At least every 16th time. (A slow machine asks every millisecond.)
        let seldom = BUSY_PASSES / 16..BUSY_PASSES;
        assert!(seldom.contains(&asked), "asked {asked} times");
        assert!(busy_asked >= BUSY_PASSES, "one that is ready: {busy_asked}");
        assert_eq!(crowd.busy.0.reads.get(), 200 + BUSY_PASSES);
    });
}

#[test]
fn a_predicate_that_turns_true_under_load_is_found_within_sixteen_passes() {
    with_every_loop(|event_loop| {
        let crowd = crowd(event_loop, 200);
        for (one, _) in crowd.idle.iter().take(50) {
            one.wants.set(true);
            // One to be asked, and as many again until the poller asks all it knows.
            for _ in 0..2 * 16 {
                turn_once(event_loop);
            }
            assert_eq!(one.reads.get(), 1);
        }
    });
}

#[test]
fn all_are_asked_before_a_wait_that_may_block() {
    with_every_loop(|event_loop| {
        let crowd = crowd(event_loop, 200);
        // Nothing is ready any more, and a pass would sleep for ever.
        crowd.busy.0.wants.set(false);
        for (one, _) in crowd.idle.iter().take(50) {
            one.wants.set(true);
            assert_eq!(event_loop.turn(Some(PATIENCE)).unwrap(), 1);
            assert_eq!(one.reads.get(), 1);
            one.wants.set(false);
        }
    });
}

#[test]
fn all_are_asked_in_a_pass_that_does_not_wait_at_all() {
    with_every_loop(|event_loop| {
        let crowd = crowd(event_loop, 200);
        for (one, _) in crowd.idle.iter().take(50) {
            one.wants.set(true);
            assert_eq!(event_loop.turn(Some(Duration::ZERO)).unwrap(), 2);
            assert_eq!(one.reads.get(), 1);
            turn_once(event_loop);
        }
    });
}

#[test]
fn a_channel_whose_predicate_turned_false_gets_no_event_under_load() {
    with_every_loop(|event_loop| {
        let mut crowd = crowd(event_loop, 200);
        for (one, theirs) in &mut crowd.idle[..50] {
            one.wants.set(true);
            for _ in 0..2 * 16 {
                turn_once(event_loop);
            }
            assert_eq!(one.reads.get(), 1);
            // By now it is watched, and long enough idle to count as such.
            one.wants.set(false);
            theirs.write_all(b"y").unwrap();
            for _ in 0..2 * 16 {
                turn_once(event_loop);
            }
            assert_eq!(one.reads.get(), 1, "it did not want to read");
            one.wants.set(true);
            for _ in 0..2 * 16 {
                turn_once(event_loop);
            }
            assert_eq!(one.reads.get(), 2);
        }
    });
}

#[test]
fn a_predicate_that_panics_under_load_takes_its_channel_alone() {
    struct Brittle(Rc<Cell<bool>>);
    impl Handler for Brittle {
        fn readable(&self, _: &View<'_>) -> bool {
            assert!(!self.0.get(), "this is expected");
            false
        }
        fn writable(&self, _: &View<'_>) -> bool {
            false
        }
    }
    crate::common::on_every_backend(|backend| {
        let builder = EventLoop::builder().backend(backend).catch_panics(true);
        let mut event_loop = builder.build().unwrap();
        let crowd = crowd(&mut event_loop, 200);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let panics = Rc::new(Cell::new(false));
        let handler = Brittle(Rc::clone(&panics));
        event_loop
            .add(Dispatcher::new(ours, handler).unwrap())
            .unwrap();
        turn_once(&mut event_loop);
        let channels = event_loop.len();
        panics.set(true);
        for _ in 0..2 * 16 {
            turn_once(&mut event_loop);
        }
        assert_eq!(event_loop.len(), channels - 1);
        let reads = crowd.busy.0.reads.get();
        turn_once(&mut event_loop);
        assert_eq!(crowd.busy.0.reads.get(), reads + 1);
    });
}
