//! Panics of tasks.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use fdloop::{Error, EventLoop};

use crate::common::{on_every_backend, with_every_loop};
use crate::{Alive, yield_now};

#[test]
fn a_panic_passes_through_run_and_the_other_tasks_go_on_afterwards() {
    with_every_loop(|event_loop| {
        let done = Rc::new(Cell::new(0));
        let count = |task: u32| {
            let done = Rc::clone(&done);
            async move {
                yield_now().await;
                done.set(done.get() + task);
            }
        };
        event_loop.spawn(count(1)).detach();
        let alive = Alive::default();
        let living = alive.one();
        let panics = event_loop.spawn(async move {
            let _living = living;
            panic!("on purpose");
        });
        event_loop.spawn(count(2)).detach();
        let caught = catch_unwind(AssertUnwindSafe(|| event_loop.run()));
        let payload = caught.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(alive.count(), 0);
        event_loop.run().unwrap();
        assert_eq!(done.get(), 3);

        let error = event_loop.block_on(panics.joined()).unwrap().unwrap_err();
        assert!(matches!(error, Error::Panicked(_)), "{error}");
        assert!(error.to_string().contains("on purpose"), "{error}");
    });
}

#[test]
fn a_loop_that_catches_panics_goes_on_and_who_awaits_the_task_panics() {
    on_every_backend(|backend| {
        let builder = EventLoop::builder().backend(backend).catch_panics(true);
        let mut event_loop = builder.build().unwrap();
        let handle = event_loop.handle();
        let error = event_loop.block_on(async {
            let inner = handle.spawn(async { panic!("on purpose") });
            let outer: fdloop::JoinHandle<()> = handle.spawn(inner);
            outer.joined().await
        });
        let error = error.unwrap().unwrap_err();
        assert!(error.to_string().contains("on purpose"), "{error}");
    });
}

#[test]
fn a_future_that_panics_when_it_is_dropped_is_a_panic_of_its_task() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    on_every_backend(|backend| {
        let builder = EventLoop::builder().backend(backend).catch_panics(true);
        let mut event_loop = builder.build().unwrap();
        let bomb = Bomb;
        let task = event_loop.spawn(async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        });
        event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
        drop(task);
        event_loop.run().unwrap();

        let bomb = Bomb;
        let task = event_loop.spawn(async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        });
        task.detach();
        drop(event_loop);
    });
}

#[test]
fn a_panic_of_the_future_of_block_on_is_its_callers() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            event_loop.block_on(async {
                yield_now().await;
                panic!("on purpose");
            })
        }));
        assert!(caught.is_err());
        // The loop is whole.
        let output = event_loop.block_on(async { handle.spawn(async { 1 }).await });
        assert_eq!(output.unwrap(), 1);
    });
}

#[test]
fn a_task_that_drops_its_loop_and_panics_takes_the_woken_tasks_with_it() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        let alive = Alive::default();
        let replaces = event_loop.spawn(async move {
            let other = EventLoop::with_backend(backend).unwrap();
            let own = handle.with(|event_loop| std::mem::replace(event_loop, other));
            drop(own.unwrap());
            panic!("on purpose");
        });
        let living = alive.one();
        let woken = event_loop.spawn(async move {
            let _living = living;
            yield_now().await;
        });
        let caught = catch_unwind(AssertUnwindSafe(|| event_loop.run()));
        let payload = caught.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(alive.count(), 0);
        assert!(replaces.is_finished() && woken.is_finished());
    });
}
