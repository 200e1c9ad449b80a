//! The number of calls, and the time that they take.

use std::os::fd::RawFd;
use std::time::Duration;

use super::super::LONGEST;
use super::{Calls, Cooling, LOOK, SERVE, Simulated, one_of_many, share_of_all};
use crate::poller::Deadline;

#[test]
fn asking_all_takes_about_a_tenth_of_the_time_at_most_at_any_rate() {
    // Nine times as long as a call for 800 that sleeps is less than the upper bound.
    for all in [64, 100, 400, 800] {
        for gap in [0, 10, 100, 300, 500, 1_000, 3_000, 10_000, 100_000] {
            let poller = one_of_many(all, Duration::from_micros(gap));
            let share = share_of_all(&poller);
            // The call after a failed round may follow sooner.
            assert!(share < 0.12, "{share} of the time, {all} every {gap} us");
        }
    }
}

#[test]
fn asking_all_of_very_many_takes_as_much_as_once_in_the_longest_time() {
    for gap in [0, 10, 100, 300, 500, 1_000] {
        let poller = one_of_many(4_000, Duration::from_micros(gap));
        let cost = LOOK * 4_000;
        let most = cost.as_secs_f64() / (cost + LONGEST).as_secs_f64();
        let share = share_of_all(&poller);
        // Reading the clock and asking the hot ones is not in there.
        assert!(share < most * 1.05, "{share} of the time, every {gap} us");
    }
}

#[test]
fn an_idle_loop_sleeps() {
    let mut poller = one_of_many(400, Duration::from_micros(100));
    poller.calls = Calls::default();
    poller.event_in(Duration::from_secs(3_600), 7);
    assert_eq!(poller.wait(Deadline::Never), [7]);
    // The rest of the round, another one, and all without sleeping in between.
    assert!(
        poller.calls.hot <= 3 && poller.calls.all <= 2,
        "{:?}",
        poller.calls
    );
}

#[test]
fn a_loop_with_timers_alone_makes_one_call_in_each_wait() {
    let mut poller = Simulated::new(400);
    for round in 1..=100 {
        let deadline = poller.now + Duration::from_millis(1);
        assert_eq!(poller.wait(Deadline::At(deadline)), []);
        assert_eq!(poller.now, deadline);
        assert_eq!((poller.calls.hot, poller.calls.all), (0, round));
    }
}

#[test]
fn the_deadline_of_a_wait_ends_it_within_a_round() {
    let mut poller = one_of_many(400, Duration::from_micros(10));
    poller.calls = Calls::default();
    let deadline = poller.now + Duration::from_micros(50);
    assert_eq!(poller.wait(Deadline::At(deadline)), []);
    assert!(
        poller.now - deadline < SERVE * 20,
        "{:?}",
        poller.now - deadline
    );
    // One that has passed does not sleep.
    let before = poller.now;
    assert_eq!(poller.wait(Deadline::At(before)), []);
    assert!(poller.now - before < SERVE * 20);
}

#[test]
fn where_activity_moves_the_hot_ones_are_seldom_asked() {
    let mut poller = Simulated::new(1_000);
    for event in 0..5_000 {
        poller.event_in(Duration::from_micros(20), event % 1_000);
        poller.wait(Deadline::Never);
    }
    assert!(poller.calls.hot < 5_000 / 20, "{:?}", poller.calls);
}

#[test]
fn a_busy_loop_does_not_sleep_where_activity_moves() {
    for all in [100, 400, 1_000, 4_000] {
        for apart in [10, 20, 50] {
            let mut poller = Simulated::new(all);
            for fd in (0..all).step_by(apart) {
                poller.event_in(Duration::ZERO, fd as RawFd);
            }
            for round in 0..1_000 {
                if round == 10 {
                    // It has adapted.
                    poller.calls = Calls::default();
                }
                for fd in poller.wait(Deadline::Never) {
                    // The next one is ready.
                    poller.now += SERVE;
                    poller.event_in(Duration::ZERO, (fd + 1) % all as RawFd);
                }
            }
            assert_eq!(
                poller.calls.asleep,
                Duration::ZERO,
                "{all}, one of {apart}: {:?}",
                poller.calls
            );
        }
    }
}

#[test]
fn those_round_which_a_token_goes_become_hot_and_stay_so() {
    for cooling in [Cooling::Poll, Cooling::Select] {
        for (all, some) in [(64, 8), (100, 16), (400, 32), (1_000, 16), (4_000, 100)] {
            let mut poller = Simulated::new(all);
            poller.cooling = cooling;
            let mut token = 0;
            for history in ["new", "after a pause", "after timers"] {
                for wait in 0..4_000 {
                    if wait == 2_000 {
                        // It has adapted.
                        poller.calls = Calls::default();
                    }
                    poller.event_in(Duration::ZERO, token);
                    assert_eq!(poller.wait(Deadline::Never), [token]);
                    poller.now += SERVE;
                    token = (token + 1) % some;
                }
                assert!(
                    poller.calls.hot > 5 * (poller.calls.all + poller.calls.parts),
                    "{some} of {all}, {cooling:?}, {history}: {:?}",
                    poller.calls
                );
                if history == "new" {
                    poller.event_in(Duration::from_millis(3), token);
                    assert_eq!(poller.wait(Deadline::Never), [token]);
                    continue;
                }
                for _ in 0..3 {
                    let deadline = poller.now + Duration::from_millis(3);
                    assert_eq!(poller.wait(Deadline::At(deadline)), []);
                }
            }
        }
    }
}

#[test]
fn a_poller_that_does_not_adapt_makes_one_call_in_each_wait() {
    let mut poller = Simulated::new(400);
    poller.pace.set_adaptive(false);
    for round in 1..=100 {
        poller.event_in(Duration::from_micros(round.into()), 7);
        assert_eq!(poller.wait(Deadline::Never), [7]);
        assert_eq!((poller.calls.hot, poller.calls.all), (0, round));
    }
}
