//! Functions that are called before the next wait, when they are requested.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::common::{Counting, PATIENCE, on_every_backend, with_every_loop};
use fdloop::{Deadline, Deferred, Ended, Error, EventLoop};

#[test]
fn requests_from_the_loops_thread_are_one_call_before_the_next_wait() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let calls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&calls);
        let deferred = event_loop.defer(move |_| {
            counted.set(counted.get() + 1);
            Ok(())
        });
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(calls.get(), 0);
        let later = deferred.clone();
        event_loop.call_later(Duration::ZERO, move |_| {
            later.request();
            later.request();
            Ok(())
        });
        event_loop.turn(None).unwrap();
        assert_eq!(calls.get(), 0, "a timer fires after the wait");
        assert_eq!(event_loop.next_deadline(), Deadline::Now);
        let waits = heard.waits.get();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!((calls.get(), heard.waits.get() - waits), (1, 1));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn a_turn_that_has_made_a_call_does_not_wait() {
    with_every_loop(|event_loop| {
        let calls = event_loop.keep(0);
        let count = event_loop.defer(move |event_loop| {
            *event_loop.state_mut(calls).unwrap() += 1;
            Ok(())
        });
        event_loop.call_later(Duration::ZERO, move |_| {
            count.request();
            Ok(())
        });
        event_loop.turn(None).unwrap();
        assert_eq!(
            event_loop.state(calls),
            Some(&0),
            "a timer fires after the wait"
        );
        let guard = event_loop.call_later(PATIENCE, |_| panic!("it has waited"));
        while event_loop.state(calls) == Some(&0) {
            event_loop.turn(None).unwrap();
        }
        assert!(event_loop.cancel(guard));
    });
}

#[test]
fn a_request_from_another_thread_ends_the_wait() {
    with_every_loop(|event_loop| {
        let stop = event_loop.defer(|event_loop| {
            event_loop.stop();
            Ok(())
        });
        let hold = event_loop.hold();
        let thread = thread::spawn(move || stop.request());
        event_loop.run().unwrap();
        thread.join().unwrap();
        assert_eq!(event_loop.ended_by(), Some(Ended::Stopped));
        drop(hold);
    });
}

#[test]
fn one_that_requests_itself_is_called_about_once_a_pass() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let own = Rc::new(RefCell::new(None::<Deferred>));
        let (again, calls) = (Rc::clone(&own), Rc::new(Cell::new(0)));
        let counted = Rc::clone(&calls);
        let deferred = event_loop.defer(move |_| {
            counted.set(counted.get() + 1);
            if let Some(deferred) = &*again.borrow() {
                deferred.request();
            }
            Ok(())
        });
        deferred.request();
        *own.borrow_mut() = Some(deferred);
        for passes in 1..=10 {
            event_loop.turn(None).unwrap(); // does not wait
            assert_eq!((calls.get(), heard.waits.get()), (passes, passes));
        }
        own.take();
    });
}

#[test]
fn errors_and_panics_are_those_of_a_timer() {
    with_every_loop(|event_loop| {
        let fails = event_loop.defer(|_| Err(Error::other("logged")));
        fails.request();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let exits = event_loop.defer(|_| Err(Error::ExitNow));
        exits.request();
        let exit = event_loop.turn(Some(Duration::ZERO));
        assert!(matches!(exit, Err(Error::ExitNow)), "{exit:?}");
        let mut calls = 0;
        let panics = event_loop.defer(move |event_loop| {
            calls += 1;
            assert!(calls > 1, "on purpose");
            event_loop.stop();
            Ok(())
        });
        panics.request();
        let turn = || event_loop.turn(Some(Duration::ZERO)).map(drop);
        assert!(catch_unwind(AssertUnwindSafe(turn)).is_err());
        // The function is called again when it is requested again.
        panics.request();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(event_loop.is_stopping());
    });
}

#[test]
fn one_that_nothing_can_request_any_more_is_dropped() {
    with_every_loop(|event_loop| {
        let alive = Rc::new(());
        for _ in 0..100 {
            let kept = Rc::clone(&alive);
            let deferred = event_loop.defer(move |_| {
                let _ = &kept;
                Ok(())
            });
            drop(deferred);
        }
        assert_eq!(
            Rc::strong_count(&alive),
            2,
            "those before the last are gone"
        );
    });
}

#[test]
fn run_until_ends_when_its_condition_is_met_or_nothing_is_left() {
    with_every_loop(|event_loop| {
        for ticks in 1..=3 {
            event_loop.call_later(Duration::from_millis(ticks), |_| Ok(()));
        }
        let mut passes = 0;
        let done = event_loop.run_until(|_| {
            passes += 1;
            passes == 2
        });
        assert!(done.unwrap());
        assert_eq!((passes, event_loop.ended_by()), (2, Some(Ended::Done)));
        assert!(!event_loop.run_until(|_| false).unwrap());
        assert_eq!(event_loop.ended_by(), Some(Ended::NoWork));
        // Within it, the loop cannot be run a second time.
        let refused = event_loop.run_until(|event_loop| event_loop.run().is_err());
        assert!(refused.unwrap());
    });
}
