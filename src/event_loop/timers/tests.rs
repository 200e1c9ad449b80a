//! Memory of timers.

use std::time::Duration;

use super::{FEW, KEPT, TimerId};
use crate::event_loop::EventLoop;

const MANY: usize = 1_000_000;

fn make(event_loop: &mut EventLoop, seconds: impl Fn(u64) -> u64) -> Vec<TimerId> {
    let delays = (0..MANY as u64).map(|number| Duration::from_secs(seconds(number)));
    let make = |delay| event_loop.call_later(delay, |_| Ok(()));
    delays.map(make).collect()
}

#[track_caller]
fn check_memory(event_loop: &EventLoop) {
    let timers = &event_loop.timers;
    assert!(timers.is_empty() && !timers.has_one_shots());
    check_capacity(event_loop);
}

#[track_caller]
fn check_capacity(event_loop: &EventLoop) {
    let timers = &event_loop.timers;
    assert!(timers.places.capacity() <= KEPT && timers.due.capacity() <= KEPT);
    assert!(timers.fresh.capacity() <= KEPT);
    assert!(
        timers.queue.capacity() <= 4 * KEPT,
        "{}",
        timers.queue.capacity()
    );
}

#[test]
fn a_million_timers_made_and_cancelled_leave_no_memory() {
    let mut event_loop = EventLoop::new().unwrap();
    for id in make(&mut event_loop, |number| number % 977) {
        assert!(event_loop.cancel(id));
    }
    check_memory(&event_loop);
    for id in make(&mut event_loop, |number| number).into_iter().rev() {
        assert!(event_loop.cancel(id));
    }
    check_memory(&event_loop);
}

#[test]
fn a_million_timers_made_in_a_pass_leave_no_memory() {
    let mut event_loop = EventLoop::new().unwrap();
    let within = |event_loop: &mut EventLoop| {
        let ids = make(event_loop, |number| number % 977);
        assert_eq!(event_loop.timers.queue.len(), 0);
        // In this order, the timer to cancel is not the last one before half are cancelled.
        let (early, late) = ids.split_at(MANY / 2);
        for id in early.iter().chain(late) {
            assert!(event_loop.cancel(*id));
        }
        make(event_loop, |_| 0);
        true
    };
    assert!(event_loop.run_until(within).unwrap());
    assert_eq!(event_loop.timers.queue.len(), MANY);
    assert!(!event_loop.timers.has_fresh());
    event_loop.run().unwrap();
    check_memory(&event_loop);
}

#[test]
fn a_run_waits_without_the_memory_of_a_million_timers_that_were_cancelled() {
    let mut event_loop = EventLoop::new().unwrap();
    let _hold = event_loop.hold();
    let request = event_loop.defer(|_| Ok(()));
    let mut passes = 0;
    let within = |event_loop: &mut EventLoop| {
        passes += 1;
        if passes == 1 {
            for id in make(event_loop, |number| number % 977) {
                assert!(event_loop.cancel(id));
            }
            // So that the wait ends at once.
            request.request();
            return false;
        }
        check_memory(event_loop);
        true
    };
    assert!(event_loop.run_until(within).unwrap());
}

#[test]
fn a_turn_ends_without_the_memory_of_a_million_timers_that_were_cancelled() {
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.call_later(Duration::ZERO, |event_loop| {
        for id in make(event_loop, |number| number % 977) {
            assert!(event_loop.cancel(id));
        }
        Ok(())
    });
    event_loop.turn(None).unwrap();
    check_memory(&event_loop);
    let cancels = event_loop.defer(|event_loop| {
        for id in make(event_loop, |number| number % 977) {
            assert!(event_loop.cancel(id));
        }
        Ok(())
    });
    cancels.request();
    event_loop.turn(None).unwrap();
    check_memory(&event_loop);
}

#[test]
fn a_million_timers_that_fired_leave_no_memory() {
    let mut event_loop = EventLoop::new().unwrap();
    make(&mut event_loop, |_| 0);
    event_loop.run().unwrap();
    check_memory(&event_loop);
}

#[test]
fn a_million_timers_that_fired_leave_no_memory_beside_one_that_goes_on() {
    let mut event_loop = EventLoop::new().unwrap();
    let tick = event_loop.call_every(Duration::from_secs(3600), |_| Ok(()));
    make(&mut event_loop, |_| 0);
    event_loop.run().unwrap();
    check_capacity(&event_loop);
    assert!(event_loop.cancel(tick));
    check_memory(&event_loop);
}

#[test]
fn no_place_is_listed_twice_after_places_were_freed_in_a_pass() {
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.call_every(Duration::from_secs(3600), |_| Ok(()));
    let make_and_cancel = |event_loop: &mut EventLoop| {
        for id in make(event_loop, |_| 1) {
            assert!(event_loop.cancel(id));
        }
        Ok(())
    };
    // The pass fires many timers, and so frees memory afterwards, before its remote calls.
    event_loop.call_later(Duration::ZERO, make_and_cancel);
    make(&mut event_loop, |_| 0);
    let remote = event_loop.remote().unwrap();
    let call = remote.call(move |event_loop| {
        let freed = event_loop.timers.places.capacity();
        make_and_cancel(event_loop)?;
        let timers = &event_loop.timers;
        assert!(freed <= KEPT && timers.fresh.len() <= timers.places.used());
        Ok(())
    });
    call.unwrap();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_timer_that_is_reset_a_million_times_takes_the_room_of_one() {
    let mut event_loop = EventLoop::new().unwrap();
    let id = event_loop.call_later(Duration::from_secs(1), |_| Ok(()));
    for number in 0..MANY as u64 {
        assert!(event_loop.reset(id, Duration::from_secs(60 + number % 7)));
    }
    assert!(event_loop.timers.queue.len() <= 2 * FEW);
    assert!(event_loop.cancel(id));
}
