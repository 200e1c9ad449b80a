//! Sleeping, intervals, timeouts.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;

use crate::Alive;
use crate::common::{settle, with_every_loop};

#[test]
fn ten_thousand_tasks_sleep_and_wake_in_the_order_of_their_times() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let order = Rc::new(RefCell::new(Vec::new()));
        // Times before that of the loop's first timer count as equal.
        event_loop.call_later(Duration::ZERO, |_| Ok(()));
        let begin = event_loop.now();
        for number in 0..10_000_u64 {
            let (handle, order) = (handle.clone(), Rc::clone(&order));
            let delay = Duration::from_micros(number * 7_919 % 10_007 * 5);
            let at = begin + delay;
            let task = event_loop.spawn(async move {
                handle.sleep_until(at).await;
                assert!(Instant::now() >= at, "woken early");
                order.borrow_mut().push(delay);
            });
            task.detach();
        }
        event_loop.run().unwrap();
        let order = order.borrow();
        assert_eq!(order.len(), 10_000);
        assert!(order.is_sorted());
    });
}

#[test]
fn a_dropped_sleep_cancels_its_timer() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let hour = Duration::from_secs(3600);
        event_loop
            .block_on(async {
                let limit = Duration::from_millis(1);
                let error = handle.timeout(limit, handle.sleep(hour)).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                assert_eq!(error.to_string(), "the future was not done within 1ms");
            })
            .unwrap();
        settle(event_loop);
        assert_eq!(event_loop.next_deadline(), fdloop::Deadline::Never);
    });
}

#[test]
fn a_timeout_returns_the_output_and_drops_the_future_that_is_late() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let alive = Alive::default();
        let living = alive.one();
        event_loop
            .block_on(async {
                let limit = Duration::from_secs(3600);
                assert_eq!(handle.timeout(limit, async { 5 }).await.unwrap(), 5);
                let late = async move {
                    let _living = living;
                    pending::<()>().await;
                };
                let late = handle.timeout(Duration::from_millis(1), late).await;
                assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
                assert_eq!(alive.count(), 0);
            })
            .unwrap();
    });
}

#[test]
fn an_interval_does_not_drift_and_makes_up_for_missed_ticks_with_one() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        event_loop
            .block_on(async {
                let period = Duration::from_millis(3);
                let begin = Instant::now();
                let mut ticks = handle.interval(period);
                ticks.next().await.unwrap();
                // Misses some.
                std::thread::sleep(period * 4);
                ticks.tick().await;
                let late = begin.elapsed();
                ticks.tick().await;
                let periods = late.as_nanos() / period.as_nanos() + 1;
                assert!(begin.elapsed() >= period * u32::try_from(periods).unwrap());
            })
            .unwrap();
    });
}

#[test]
fn a_sleep_past_the_end_of_the_clock_never_ends() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        event_loop
            .block_on(async {
                let forever = handle.sleep(Duration::MAX);
                let late = handle.timeout(Duration::from_millis(1), forever).await;
                assert!(late.is_err());
            })
            .unwrap();
    });
}

#[test]
fn a_sleep_that_no_task_polled_first_is_a_timer_all_the_same() {
    with_every_loop(|event_loop| {
        // Polled by this program, before the loop can be reached.
        let handle = event_loop.handle();
        let mut sleep = Box::pin(handle.sleep(Duration::from_millis(1)));
        assert!(
            futures_lite::future::block_on(futures_lite::future::poll_once(&mut sleep)).is_none()
        );
        event_loop.block_on(sleep).unwrap();
    });
}
