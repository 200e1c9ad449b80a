//! Timers that are made, moved and cancelled while a pass is made: their delays count from the
//! time at which its handlers have returned.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::clock::{Clock, with_clocks};
use fdloop::{Deadline, Ended, Error, EventLoop, Result, TimerId};

const MS: Duration = Duration::from_millis(1);

/// The numbers of the timers that have fired, with the milliseconds since the log was made.
#[derive(Clone)]
struct Log {
    clock: Clock,
    begin: Instant,
    fired: Rc<RefCell<Vec<(u32, u128)>>>,
}

impl Log {
    fn new(clock: &Clock) -> Self {
        Self {
            clock: Rc::clone(clock),
            begin: clock.get(),
            fired: Rc::default(),
        }
    }

    fn note(&self, number: u32) -> impl FnMut(&mut EventLoop) -> Result<()> + use<> {
        let log = self.clone();
        move |_| {
            let time = (log.clock.get() - log.begin).as_millis();
            log.fired.borrow_mut().push((number, time));
            Ok(())
        }
    }

    #[track_caller]
    fn check(&self, event_loop: &mut EventLoop, expected: &[(u32, u128)]) {
        event_loop.run().unwrap();
        assert_eq!(*self.fired.borrow(), expected);
    }
}

/// Calls `act` in a callback, within a pass.
fn in_a_pass(
    event_loop: &mut EventLoop,
    act: impl FnOnce(&mut EventLoop) -> Result<()> + 'static,
) -> Result<usize> {
    event_loop.call_later(Duration::ZERO, act);
    event_loop.turn(Some(Duration::ZERO))
}

fn pass_time(clock: &Clock, time: Duration) {
    clock.set(clock.get() + time);
}

#[test]
fn a_delay_counts_from_the_end_of_the_pass_in_which_it_was_requested() {
    with_clocks(|event_loop, clock| {
        let log = Log::new(clock);
        let (noted, time) = (log.clone(), Rc::clone(clock));
        let made = in_a_pass(event_loop, move |event_loop| {
            event_loop.call_later(10 * MS, noted.note(1));
            pass_time(&time, 5 * MS);
            event_loop.call_later(9 * MS, noted.note(0));
            Ok(())
        });
        made.unwrap();
        pass_time(clock, 2 * MS);
        log.check(event_loop, &[(0, 14), (1, 15)]);
    });
}

#[test]
fn a_delay_outside_of_a_pass_counts_from_the_call() {
    with_clocks(|event_loop, clock| {
        let log = Log::new(clock);
        event_loop.call_later(10 * MS, log.note(1));
        pass_time(clock, 5 * MS);
        assert_eq!(
            event_loop.next_deadline(),
            Deadline::At(log.begin + 10 * MS)
        );
        event_loop.call_later(4 * MS, log.note(0));
        log.check(event_loop, &[(0, 9), (1, 10)]);
    });
}

#[test]
fn one_that_is_made_and_cancelled_in_one_callback_leaves_nothing() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let held = Rc::new(());
        let holds = Rc::downgrade(&held);
        let made = in_a_pass(event_loop, move |event_loop| {
            let ids: Vec<_> = (0..3)
                .map(|_| {
                    let held = Rc::clone(&held);
                    event_loop.call_later(MS, move |_| {
                        drop(held);
                        Ok(())
                    })
                })
                .collect();
            for at in [1, 2, 0] {
                assert!(event_loop.cancel(ids[at]));
                assert!(!event_loop.cancel(ids[at]) && !event_loop.reset(ids[at], MS));
            }
            assert_eq!(Rc::strong_count(&held), 1);
            assert_eq!(event_loop.next_deadline(), Deadline::Never);
            Ok(())
        });
        made.unwrap();
        assert_eq!(holds.strong_count(), 0);
        assert_eq!(event_loop.next_deadline(), Deadline::Never);
        event_loop.run().unwrap();
        assert_eq!(event_loop.ended_by(), Some(Ended::NoWork));
        assert_eq!(clock.get(), begin);
    });
}

#[test]
fn a_timer_with_a_time_keeps_it_in_the_place_of_a_cancelled_one_with_a_delay() {
    with_clocks(|event_loop, clock| {
        let log = Log::new(clock);
        let noted = log.clone();
        in_a_pass(event_loop, move |event_loop| {
            let early = event_loop.call_later(5 * MS, noted.note(9));
            assert!(event_loop.cancel(early));
            event_loop.call_at(noted.begin + 40 * MS, noted.note(1));
            let late = event_loop.call_later(200 * MS, noted.note(9));
            assert!(event_loop.cancel(late));
            event_loop.call_every(30 * MS, noted.note(2));
            Ok(())
        })
        .unwrap();
        event_loop.call_later(70 * MS, |_| Ok(()));
        log.check(event_loop, &[(2, 30), (1, 40), (2, 60)]);
    });
}

#[test]
fn delays_and_times_are_one_order_and_ties_are_in_that_of_their_making() {
    with_clocks(|event_loop, clock| {
        let log = Log::new(clock);
        let noted = log.clone();
        // Made before those of the pass, and due together with some of them.
        event_loop.call_later(4 * MS, log.note(5));
        let made = in_a_pass(event_loop, move |event_loop| {
            let begin = noted.begin;
            event_loop.call_at(begin + 2 * MS, noted.note(2));
            event_loop.call_later(2 * MS, noted.note(3));
            event_loop.call_at(begin + 2 * MS, noted.note(4));
            event_loop.call_later(4 * MS, noted.note(6));
            event_loop.call_at(begin + 4 * MS, noted.note(7));
            event_loop.call_later(MS, noted.note(1));
            Ok(())
        });
        made.unwrap();
        event_loop.call_later(4 * MS, log.note(8));
        let times = [1, 2, 2, 2, 4, 4, 4, 4];
        let expected: Vec<_> = (1..).zip(times).collect();
        log.check(event_loop, &expected);
    });
}

#[test]
fn reset_moves_a_new_one_and_an_old_one() {
    with_clocks(|event_loop, clock| {
        let log = Log::new(clock);
        let old = event_loop.call_later(2 * MS, log.note(4));
        let noted = log.clone();
        let made = in_a_pass(event_loop, move |event_loop| {
            let first = event_loop.call_later(30 * MS, noted.note(1));
            let second = event_loop.call_later(5 * MS, noted.note(3));
            event_loop.call_later(5 * MS, noted.note(2));
            // Made before, and now after it.
            assert!(event_loop.reset(second, 5 * MS));
            assert!(event_loop.reset(first, MS));
            assert!(event_loop.reset(old, 20 * MS));
            assert!(event_loop.reset(old, 7 * MS));
            Ok(())
        });
        made.unwrap();
        log.check(event_loop, &[(1, 1), (2, 5), (3, 5), (4, 7)]);
    });
}

#[test]
fn the_next_deadline_is_exact_within_a_pass_and_after_it() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let kept = Rc::new(Cell::new(None));
        let id = Rc::clone(&kept);
        event_loop.call_later(50 * MS, |_| Ok(()));
        let made = in_a_pass(event_loop, move |event_loop| {
            assert_eq!(event_loop.next_deadline(), Deadline::At(begin + 50 * MS));
            let short = event_loop.call_later(3 * MS, |_| Ok(()));
            id.set(Some(event_loop.call_later(10 * MS, |_| Ok(()))));
            assert_eq!(event_loop.next_deadline(), Deadline::At(begin + 3 * MS));
            event_loop.cancel(short);
            assert_eq!(event_loop.next_deadline(), Deadline::At(begin + 10 * MS));
            Ok(())
        });
        made.unwrap();
        for _ in 0..3 {
            assert_eq!(event_loop.next_deadline(), Deadline::At(begin + 10 * MS));
            pass_time(clock, MS);
        }
        // The first one is cancelled after the timers of the pass were called.
        let remote = event_loop.remote().unwrap();
        let id: TimerId = kept.take().unwrap();
        let cancel = remote.call(move |event_loop| {
            assert!(event_loop.cancel(id));
            Ok(())
        });
        cancel.unwrap();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(event_loop.next_deadline(), Deadline::At(begin + 50 * MS));
    });
}

#[test]
fn the_next_deadline_is_that_of_the_timers_that_are_left() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        event_loop.call_later(50 * MS, |_| Ok(()));
        event_loop.call_later(Duration::ZERO, |_| Err(Error::ExitNow));
        let left = event_loop.call_later(Duration::ZERO, |_| panic!("cancelled"));
        assert!(matches!(event_loop.run(), Err(Error::ExitNow)));
        assert_eq!(event_loop.next_deadline(), Deadline::Now);
        assert!(event_loop.cancel(left));
        assert_eq!(event_loop.next_deadline(), Deadline::At(begin + 50 * MS));
        event_loop.turn(None).unwrap();
        assert_eq!(clock.get(), begin + 50 * MS);
        // In a pass, too, and if none is left that ever fires.
        let made = in_a_pass(event_loop, |event_loop| {
            event_loop.call_later(Duration::MAX, |_| Ok(()));
            assert_eq!(event_loop.next_deadline(), Deadline::Never);
            Ok(())
        });
        made.unwrap();
        assert_eq!(event_loop.next_deadline(), Deadline::Never);
    });
}

#[test]
fn a_pass_that_an_error_or_a_panic_ends_gives_its_timers_their_times() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let left = in_a_pass(event_loop, |event_loop| {
            event_loop.call_later(10 * MS, |_| Ok(()));
            Err(Error::ExitNow)
        });
        assert!(matches!(left, Err(Error::ExitNow)));
        pass_time(clock, MS);
        assert_eq!(event_loop.next_deadline(), Deadline::At(begin + 10 * MS));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            in_a_pass(event_loop, |event_loop| {
                event_loop.call_later(5 * MS, |_| Ok(()));
                panic!("on purpose");
            })
        }));
        assert!(caught.is_err());
        pass_time(clock, MS);
        assert_eq!(event_loop.next_deadline(), Deadline::At(begin + 6 * MS));
    });
}

#[test]
fn of_many_that_a_callback_makes_those_that_it_does_not_cancel_fire_in_order() {
    with_clocks(|event_loop, clock| {
        let fired = Rc::new(RefCell::new(Vec::new()));
        let (begin, noted, time) = (clock.get(), Rc::clone(&fired), Rc::clone(clock));
        let made = in_a_pass(event_loop, move |event_loop| {
            let mut seed = 7_u64;
            let mut ids = Vec::new();
            for number in 0..60_000_u32 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let delay = MS * ((seed >> 33) % 500) as u32;
                let (noted, time) = (Rc::clone(&noted), Rc::clone(&time));
                ids.push(event_loop.call_later(delay, move |_| {
                    assert!(time.get() >= begin + delay);
                    noted.borrow_mut().push((delay, number));
                    Ok(())
                }));
            }
            // 37 and 60,000 have no common divisor, so this is every number once.
            let order = (0..60_000).map(|number| number * 37 % 60_000);
            for number in order.filter(|number| number % 8 != 0) {
                assert!(event_loop.cancel(ids[number]));
            }
            Ok(())
        });
        made.unwrap();
        event_loop.run().unwrap();
        let fired = fired.borrow();
        assert_eq!(fired.len(), 7_500);
        assert!(fired.is_sorted());
        assert!(fired.iter().all(|(_, number)| number % 8 == 0));
    });
}
