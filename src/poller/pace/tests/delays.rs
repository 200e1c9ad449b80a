//! The delay of events.

use std::os::fd::RawFd;
use std::time::Duration;

use super::super::LONGEST;
use super::super::round::PART;
use super::{LOOK, REGISTER, SERVE, Simulated, one_of_many};
use crate::poller::Deadline;

#[test]
fn an_idle_descriptor_is_put_off_by_the_longest_time_at_most() {
    for all in [64, 100, 400, 800, 1_000, 4_000, 10_000] {
        for gap in [0, 10, 100, 300, 500, 1_000, 3_000] {
            let mut poller = one_of_many(all, Duration::from_micros(gap));
            for round in 1..30 {
                let since = poller.now + Duration::from_micros(round * 37);
                // In another part each time.
                let idle = (7 + round as RawFd * 331) % all as RawFd;
                poller.hot.remove(&idle);
                poller.events.insert(idle, since);
                while poller.events.contains_key(&idle) {
                    poller
                        .events
                        .entry(7)
                        .or_insert(poller.now + Duration::from_micros(gap));
                    poller.wait(Deadline::Never);
                    poller.now += SERVE;
                }
                // All are asked in this time, and the part that missed it is one more. A call
                // that sleeps also registers with all.
                let sleeps = gap as u128 >= LONGEST.as_micros();
                let calls = match sleeps {
                    true => 2 * (LOOK + REGISTER) * all as u32,
                    false => LOOK * (all + all.min(PART)) as u32,
                };
                let late = poller.now - since;
                assert!(
                    late <= LONGEST + calls + 3 * SERVE,
                    "{late:?}, {all}, {gap} us"
                );
                poller.hot.remove(&idle);
            }
        }
    }
}

#[test]
fn an_idle_descriptor_is_not_put_off_for_longer_when_the_hot_ones_fall_silent() {
    for all in [400, 1_000, 4_000, 10_000] {
        let mut poller = one_of_many(all, Duration::from_micros(10));
        for round in 0..70 {
            let end = poller.now + Duration::from_micros(5_000 + round * 151);
            while poller.now < end {
                poller.event_in(Duration::from_micros(10), 7);
                poller.wait(Deadline::Never);
            }
            let idle = (7 + round as RawFd * 331) % all as RawFd;
            poller.hot.remove(&idle);
            let since = poller.now + Duration::from_micros(round * 20);
            poller.events.insert(idle, since);
            assert_eq!(poller.wait(Deadline::Never), [idle]);
            let calls = (2 * LOOK + REGISTER) * all as u32 + LOOK * PART as u32;
            let late = poller.now - since;
            assert!(late <= LONGEST + calls, "{late:?}, {all}, {round}");
        }
    }
}

#[test]
fn a_hot_descriptor_waits_for_one_part_of_the_idle_ones_at_most() {
    for all in [400, 1_000, 4_000, 10_000] {
        let mut poller = one_of_many(all, Duration::from_micros(100));
        for _ in 0..1_000 {
            let since = poller.now + Duration::from_micros(100);
            poller.events.insert(7, since);
            assert_eq!(poller.wait(Deadline::Never), [7]);
            let late = poller.now - since;
            // The part, and the hot ones before and after it.
            let most = LOOK * all.min(PART) as u32 + Duration::from_micros(2);
            assert!(late <= most, "{late:?} of {all}");
            poller.now += SERVE;
        }
        assert_eq!(poller.calls.parts > 0, all > PART, "{:?}", poller.calls);
    }
}

#[test]
fn a_loop_that_serves_for_long_asks_all_that_is_due_in_one_call() {
    let mut poller = Simulated::new(4_000);
    // There are some in each part.
    let hot = || (0..4_000).step_by(100);
    let serve = |poller: &mut Simulated, time| {
        poller.events.extend(hot().map(|fd| (fd, poller.begin)));
        poller.wait(Deadline::Never);
        poller.now += time;
    };
    for round in 0..100 {
        for _ in 0..200 + round {
            serve(&mut poller, SERVE * 10);
        }
        let idle = 8 + round * 31;
        poller.events.insert(idle, poller.now);
        // The first wait may ask the hot ones alone.
        serve(&mut poller, 2 * LONGEST);
        serve(&mut poller, 2 * LONGEST);
        assert!(!poller.events.contains_key(&idle), "in round {round}");
        poller.hot.remove(&idle);
    }
}

#[test]
fn an_idle_descriptor_is_put_off_no_longer_while_handlers_run() {
    for all in [400, 1_024, 4_000] {
        for (serve, spread) in [5, 100, 300, 900]
            .into_iter()
            .flat_map(|serve| [(serve, 1), (serve, all / 40)])
        {
            let mut poller = Simulated::new(all);
            let serve = Duration::from_micros(serve);
            let hot: Vec<_> = (0..40).map(|index| (index * spread) as RawFd).collect();
            let end = poller.now + Duration::from_millis(80);
            let mut idle = None;
            for round in 0.. {
                if poller.now > end {
                    break;
                }
                let ready = hot.iter().map(|fd| (*fd, poller.begin));
                poller.events.extend(ready);
                let fd = (round * 331 % all) as RawFd;
                if idle.is_none() && round > 100 && !hot.contains(&fd) {
                    poller.hot.remove(&fd);
                    poller.events.insert(fd, poller.now);
                    idle = Some((fd, poller.now));
                }
                let ready = poller.wait(Deadline::Never);
                if let Some((_, since)) = idle.take_if(|(fd, _)| ready.contains(fd)) {
                    let late = poller.now - since;
                    // The hot ones are asked with each part.
                    let asked = all + PART + hot.len() * all.div_ceil(PART);
                    let most = LONGEST + LOOK * asked as u32 + 3 * serve;
                    assert!(late <= most, "{late:?} of {all}, {serve:?}, {spread} apart");
                }
                poller.now += serve;
            }
            let cost = LOOK * all as u32;
            let pause = (cost * 9).min(LONGEST);
            let share = super::share_of_all(&poller);
            let most = cost.as_secs_f64() / (cost + pause).as_secs_f64();
            // The hot ones are asked with each part.
            assert!(
                share < most * 1.25,
                "{share} of {all}, {serve:?}, {spread} apart"
            );
        }
    }
}

#[test]
fn an_idle_descriptor_is_put_off_no_longer_when_many_others_go() {
    for (all, left) in [(4_000, 1_100), (10_000, 2_500), (50_000, 1_500)] {
        let mut poller = one_of_many(all, Duration::from_micros(10));
        let serve_one = |poller: &mut Simulated| {
            poller.event_in(Duration::from_micros(10), 7);
            poller.wait(Deadline::Never);
            poller.now += SERVE;
        };
        for waits in (0..300).step_by(11) {
            // They go in the middle of a round, after some of its parts.
            poller.all = all;
            for _ in 0..500 + waits {
                serve_one(&mut poller);
            }
            poller.all = left;
            let since = poller.now;
            poller.events.insert(10, since);
            while poller.events.contains_key(&10) {
                serve_one(&mut poller);
            }
            let late = poller.now - since;
            let most = LONGEST + LOOK * (left + PART) as u32 + 3 * SERVE;
            assert!(late <= most, "{late:?} of {all}, {waits}");
            poller.hot.remove(&10);
        }
    }
}

#[test]
fn an_idle_descriptor_is_put_off_no_longer_beside_a_closed_one() {
    for all in [1_000, 4_000] {
        let mut poller = one_of_many(all, Duration::from_micros(10));
        for round in 0..100 {
            for _ in 0..300 + round {
                poller.event_in(Duration::from_micros(10), 7);
                poller.wait(Deadline::Never);
                poller.now += SERVE;
            }
            let idle = (8 + round * 7) as RawFd;
            poller.hot.remove(&idle);
            let since = poller.now;
            poller.events.insert(idle, since);
            poller.closed = Some(idle + 1);
            while poller.events.contains_key(&idle) {
                poller.event_in(Duration::from_micros(10), 7);
                if poller.wait(Deadline::Never).contains(&(idle + 1)) {
                    poller.closed = None;
                }
                poller.now += SERVE;
            }
            let late = poller.now - since;
            // The call for all that follows.
            let most = LONGEST + LOOK * (2 * all + PART) as u32 + 4 * SERVE;
            assert!(late <= most, "{late:?} of {all}, {round}");
            poller.hot.remove(&idle);
            poller.hot.remove(&(idle + 1));
        }
    }
}
