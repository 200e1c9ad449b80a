//! Timers: order, cancelling, and what else they may do.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::clock::{Clocked, with_clocks};
use crate::common::{Probe, on_every_backend, with_every_loop};
use fdloop::{Backend, ChannelId, Deadline, Dispatcher, Error, EventLoop, RunOptions, TimerId};

const MS: Duration = Duration::from_millis(1);

type Log = Rc<RefCell<Vec<u32>>>;

fn note(log: &Log, number: u32) -> impl FnMut(&mut EventLoop) -> fdloop::Result<()> + use<> {
    let log = Rc::clone(log);
    move |_| {
        log.borrow_mut().push(number);
        Ok(())
    }
}

#[test]
fn they_fire_in_the_order_of_their_times_and_ties_in_that_of_their_making() {
    with_clocks(|event_loop, clock| {
        let log = Log::default();
        let begin = clock.get();
        event_loop.call_later(3 * MS, note(&log, 4));
        event_loop.call_at(begin + MS, note(&log, 1));
        event_loop.call_at(begin + 2 * MS, note(&log, 3));
        event_loop.call_later(MS, note(&log, 2));
        event_loop.call_at(begin - MS, note(&log, 0));
        event_loop.run().unwrap();
        assert_eq!(*log.borrow(), [0, 1, 2, 3, 4]);
        assert_eq!(clock.get() - begin, 3 * MS);
    });
}

#[test]
fn times_that_have_passed_are_in_order_too() {
    with_clocks(|event_loop, clock| {
        let log = Log::default();
        let begin = clock.get();
        for ago in [1, 3, 2] {
            event_loop.call_at(begin - ago * MS, note(&log, ago));
        }
        event_loop.run().unwrap();
        assert_eq!(*log.borrow(), [3, 2, 1]);
        assert_eq!(clock.get(), begin);
    });
}

#[test]
fn thousands_fire_in_order_and_never_early() {
    with_clocks(|event_loop, clock| {
        let fired = Rc::new(RefCell::new(Vec::new()));
        let begin = clock.get();
        let mut seed = 1_u64;
        for number in 0..20_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = begin + Duration::from_nanos((seed >> 33) % 1_000_000 / 7);
            let (fired, clock) = (Rc::clone(&fired), Rc::clone(clock));
            let id = event_loop.call_at(at, move |_| {
                assert!(clock.get() >= at);
                fired.borrow_mut().push((at, number));
                Ok(())
            });
            if seed >> 40 & 3 == 0 {
                assert!(event_loop.cancel(id));
            }
        }
        event_loop.run().unwrap();
        let fired = fired.borrow();
        assert!(fired.len() > 10_000 && fired.is_sorted());
    });
}

#[test]
fn one_shots_keep_run_going_and_periodic_ones_do_not() {
    with_clocks(|event_loop, clock| {
        let log = Log::default();
        let begin = clock.get();
        event_loop.call_every(MS, note(&log, 1));
        event_loop.run().unwrap();
        assert!(log.borrow().is_empty());
        event_loop.call_later(5 * MS + MS / 2, note(&log, 2));
        event_loop.run().unwrap();
        assert_eq!(*log.borrow(), [1, 1, 1, 1, 1, 2]);
        assert_eq!(clock.get() - begin, 5 * MS + MS / 2);
    });
}

#[test]
fn a_periodic_timer_does_not_drift_and_makes_up_for_missed_calls_by_one() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let times = Rc::new(RefCell::new(Vec::new()));
        let (noted, now) = (Rc::clone(&times), Rc::clone(clock));
        event_loop.call_every(10 * MS, move |_| {
            let call = (now.get() - begin).as_micros();
            noted.borrow_mut().push(call);
            // Each call takes a while, and the third very long.
            let long = if noted.borrow().len() == 3 { 25 } else { 3 };
            now.set(now.get() + long * MS);
            Ok(())
        });
        event_loop.call_later(95 * MS, |_| Ok(()));
        event_loop.run().unwrap();
        let expected = [
            10_000, 20_000, 30_000, 55_000, 60_000, 70_000, 80_000, 90_000,
        ];
        assert_eq!(*times.borrow(), expected);
    });
}

#[test]
fn a_callback_cancels_others_of_its_batch_and_itself() {
    with_clocks(|event_loop, _| {
        let log = Log::default();
        let victims = Rc::new(RefCell::new(Vec::<TimerId>::new()));
        let (list, noted) = (Rc::clone(&victims), Rc::clone(&log));
        event_loop.call_later(MS, move |event_loop| {
            noted.borrow_mut().push(1);
            for id in list.borrow().iter() {
                assert!(event_loop.cancel(*id));
                assert!(!event_loop.cancel(*id) && !event_loop.reset(*id, MS));
            }
            Ok(())
        });
        let same = event_loop.call_later(MS, note(&log, 2));
        let later = event_loop.call_later(2 * MS, note(&log, 3));
        let every = event_loop.call_every(MS, note(&log, 4));
        victims.borrow_mut().extend([same, later, every]);
        let own = Rc::new(Cell::new(None));
        let (id, noted) = (Rc::clone(&own), Rc::clone(&log));
        own.set(Some(event_loop.call_every(MS, move |event_loop| {
            noted.borrow_mut().push(5);
            assert!(event_loop.cancel(id.get().unwrap()));
            assert!(!event_loop.cancel(id.get().unwrap()));
            Ok(())
        })));
        event_loop.call_later(10 * MS, note(&log, 6));
        event_loop.run().unwrap();
        assert_eq!(*log.borrow(), [1, 5, 6]);
        assert_eq!(event_loop.next_deadline(), Deadline::Never);
    });
}

#[test]
fn reset_moves_a_timer_from_everywhere() {
    with_clocks(|event_loop, clock| {
        let log = Log::default();
        let begin = clock.get();
        let first = event_loop.call_later(MS, note(&log, 2));
        assert!(event_loop.reset(first, 30 * MS));
        let second = event_loop.call_later(50 * MS, note(&log, 1));
        event_loop.call_later(10 * MS, move |event_loop| {
            assert!(event_loop.reset(second, MS));
            Ok(())
        });
        // Of the same batch, and made later.
        let third = Rc::new(Cell::new(None));
        let id = Rc::clone(&third);
        event_loop.call_later(20 * MS, move |event_loop| {
            assert!(event_loop.reset(id.get().unwrap(), 20 * MS));
            Ok(())
        });
        third.set(Some(event_loop.call_later(20 * MS, note(&log, 3))));
        event_loop.run().unwrap();
        assert_eq!(*log.borrow(), [1, 2, 3]);
        assert_eq!(clock.get() - begin, 40 * MS);
        // A periodic one, from its own callback.
        let own = Rc::new(Cell::new(None));
        let (id, now) = (Rc::clone(&own), Rc::clone(clock));
        let begin = clock.get();
        let calls = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&calls);
        own.set(Some(event_loop.call_every(10 * MS, move |event_loop| {
            noted.borrow_mut().push((now.get() - begin).as_millis());
            if noted.borrow().len() == 2 {
                assert!(event_loop.reset(id.get().unwrap(), 3 * MS));
            }
            Ok(())
        })));
        event_loop.call_later(40 * MS, |_| Ok(()));
        event_loop.run().unwrap();
        assert_eq!(*calls.borrow(), [10, 20, 23, 33]);
    });
}

#[test]
fn a_timer_that_sets_itself_anew_keeps_no_descriptor_waiting() {
    fn again(event_loop: &mut EventLoop, left: u32) {
        if left > 0 {
            event_loop.call_later(Duration::ZERO, move |event_loop| {
                again(event_loop, left - 1);
                Ok(())
            });
        }
    }
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| {
            io.recv(&mut [0; 8])?;
            io.event_loop().stop();
            Ok(())
        });
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        again(event_loop, u32::MAX);
        theirs.write_all(b"x").unwrap();
        event_loop.run().unwrap();
        assert_eq!(seen.count("read"), 1);
    });
}

#[test]
fn an_error_concerns_the_timer_alone_and_the_exit_error_leaves_the_rest_for_later() {
    with_clocks(|event_loop, _| {
        let log = Log::default();
        event_loop.call_later(MS, |_| Err(Error::other("of one timer")));
        event_loop.call_later(MS, note(&log, 1));
        event_loop.call_later(MS, |_| Err(Error::ExitNow));
        event_loop.call_later(MS, note(&log, 2));
        event_loop.call_later(MS, |_| Err(Error::fatal("the disk is gone")));
        event_loop.call_later(MS, note(&log, 3));
        assert!(matches!(event_loop.run(), Err(Error::ExitNow)));
        assert_eq!(*log.borrow(), [1]);
        assert_eq!(event_loop.next_deadline(), Deadline::Now);
        assert_eq!(
            event_loop.run().unwrap_err().to_string(),
            "the disk is gone"
        );
        assert_eq!(*log.borrow(), [1, 2]);
        event_loop.run().unwrap();
        assert_eq!(*log.borrow(), [1, 2, 3]);
    });
}

#[test]
fn a_panic_ends_the_timer_alone() {
    for catch in [true, false] {
        let mut event_loop = EventLoop::builder().catch_panics(catch).build().unwrap();
        let log = Log::default();
        let panics = event_loop.call_every(MS, |_| panic!("of a timer"));
        event_loop.call_later(2 * MS, |_| panic!("of another"));
        event_loop.call_later(4 * MS, note(&log, 1));
        let mut panicked = 0;
        loop {
            let run = std::panic::AssertUnwindSafe(|| event_loop.run());
            match std::panic::catch_unwind(run) {
                Ok(result) => break result.unwrap(),
                Err(_) => panicked += 1,
            }
        }
        assert_eq!(panicked, if catch { 0 } else { 2 });
        assert_eq!(*log.borrow(), [1]);
        assert!(!event_loop.cancel(panics));
    }
}

#[test]
fn callbacks_add_remove_and_close_channels_and_stop_the_loop() {
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let id: ChannelId<Dispatcher<Probe>> = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let log = Log::default();
        let added = Rc::clone(&log);
        event_loop.call_later(Duration::ZERO, move |event_loop| {
            let channel = event_loop.remove(id).unwrap();
            assert!(event_loop.turn(None).is_err(), "a pass is being made");
            let id = event_loop.add(channel)?;
            event_loop.with(id, |channel, event_loop| {
                let stopper = note(&added, 1);
                event_loop.call_later(MS, stopper);
                channel.close();
                Ok(())
            })?;
            assert!(event_loop.is_empty());
            Ok(())
        });
        event_loop.call_later(2 * MS, |event_loop| {
            event_loop.stop();
            Ok(())
        });
        let never = event_loop.call_later(Duration::MAX, |_| panic!("never"));
        event_loop.run().unwrap();
        assert_eq!(*log.borrow(), [1]);
        assert_eq!(seen.count("close"), 0);
        assert!(event_loop.cancel(never));
    });
}

#[test]
fn far_times_neither_wrap_nor_overflow() {
    with_clocks(|event_loop, clock| {
        let log = Log::default();
        let far = Duration::from_millis(1 << 32) + 50 * MS;
        let begin = clock.get();
        let never = event_loop.call_later(Duration::MAX, note(&log, 9));
        let periodic = event_loop.call_every(Duration::MAX, note(&log, 9));
        assert_eq!(event_loop.next_deadline(), Deadline::Never);
        event_loop.call_later(far, note(&log, 1));
        assert_eq!(event_loop.next_deadline(), Deadline::At(begin + far));
        event_loop.call_later(far, move |event_loop| {
            assert!(event_loop.cancel(never) && event_loop.cancel(periodic));
            Ok(())
        });
        event_loop.run().unwrap();
        assert_eq!(*log.borrow(), [1]);
        assert_eq!(clock.get() - begin, far);
    });
}

#[test]
fn a_turn_ends_at_the_first_timer_and_an_idle_loop_sleeps_until_then() {
    on_every_backend(|backend: Backend| {
        let waits = Rc::new(Cell::new(0));
        let now = Rc::new(Cell::new(Instant::now()));
        let poller = Clocked::new(backend, &now, &waits);
        let mut event_loop = EventLoop::with_poller(poller);
        let log = Log::default();
        event_loop.call_later(900 * MS, note(&log, 1));
        let begin = now.get();
        assert_eq!(event_loop.turn(Some(Duration::from_secs(5))).unwrap(), 0);
        assert_eq!((now.get() - begin, waits.get()), (900 * MS, 1));
        assert_eq!(*log.borrow(), [1]);
        // Without a timeout, too.
        event_loop.call_later(MS, note(&log, 2));
        event_loop.turn(None).unwrap();
        assert_eq!((log.borrow().len(), waits.get()), (2, 2));
        event_loop.run_with(RunOptions::new().count(3)).unwrap();
        assert_eq!(waits.get(), 2, "nothing is left to run for");
    });
}

#[test]
fn what_a_cancelled_or_dropped_timer_holds_is_dropped() {
    with_every_loop(|event_loop| {
        let held = Rc::new(());
        let hold = |held: &Rc<()>| {
            let held = Rc::clone(held);
            move |_: &mut EventLoop| {
                let _ = &held;
                Ok(())
            }
        };
        let id = event_loop.call_later(MS, hold(&held));
        event_loop.call_every(Duration::from_secs(9), hold(&held));
        event_loop.call_later(Duration::from_secs(9), hold(&held));
        assert_eq!(Rc::strong_count(&held), 4);
        assert!(event_loop.cancel(id));
        assert_eq!(Rc::strong_count(&held), 3);
        *event_loop = EventLoop::new().unwrap();
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

#[test]
fn an_id_finds_nothing_in_another_loop_or_after_its_timer() {
    let (mut one, mut other) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
    let id = one.call_later(MS, |_| Ok(()));
    other.call_later(MS, |_| Ok(()));
    assert!(!other.cancel(id) && !other.reset(id, MS));
    assert!(one.cancel(id));
    let next = one.call_later(MS, |_| Ok(()));
    assert!(id != next && !one.cancel(id) && one.cancel(next));
}

#[test]
fn the_timeouts_of_turns_and_runs_are_on_the_clock_of_the_poller() {
    with_clocks(|event_loop, clock| {
        // Far from the system's clock, where the two cannot be confused.
        let begin = clock.get() + 1_000_000 * MS;
        clock.set(begin);
        event_loop.call_every(60_000 * MS, |_| Ok(()));
        assert_eq!(event_loop.turn(Some(5 * MS)).unwrap(), 0);
        assert_eq!(clock.get() - begin, 5 * MS);
        event_loop.call_later(60_000 * MS, |_| Ok(()));
        let options = RunOptions::new().timeout(7 * MS).count(3);
        event_loop.run_with(options).unwrap();
        assert_eq!(clock.get() - begin, 26 * MS);
    });
}
