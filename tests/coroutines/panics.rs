//! Panics of tasks.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use fdloop::{Async, Error, EventLoop};
use futures_lite::AsyncReadExt;

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

/// A descriptor whose destructor panics.
struct Mine(UnixStream);

impl AsRawFd for Mine {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_descriptor_that_panics_when_it_is_dropped_costs_no_other_task_its_wake() {
    on_every_backend(|backend| {
        for catches in [true, false] {
            let builder = EventLoop::builder().backend(backend);
            let mut event_loop = builder.catch_panics(catches).build().unwrap();
            let handle = event_loop.handle();
            let (mine, _peer) = UnixStream::pair().unwrap();
            let (read, mut write) = UnixStream::pair().unwrap();
            let made = event_loop.block_on(async {
                let mine = Async::over(&handle, Mine(mine)).unwrap();
                (mine, Async::new(&handle, read).unwrap())
            });
            let (mine, mut read) = made.unwrap();
            // Outside the loop, these are done before its next wait.
            drop(mine);
            let mut buf = [0];
            let mut first = pin!(read.read(&mut buf));
            let mut noop = Context::from_waker(Waker::noop());
            assert!(first.as_mut().poll(&mut noop).is_pending());
            let task = handle.spawn(async move { read.read(&mut [0]).await.unwrap() });
            write.write_all(b"x").unwrap();
            let ran = catch_unwind(AssertUnwindSafe(|| event_loop.run()));
            assert_eq!(ran.is_ok(), catches);
            event_loop.run().unwrap();
            assert!(task.is_finished());
        }
    });
}

#[test]
fn a_descriptor_that_panics_when_its_loop_is_dropped_keeps_no_task() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let (mine, _peer) = UnixStream::pair().unwrap();
        let made = event_loop.block_on(async { Async::over(&handle, Mine(mine)).unwrap() });
        let alive = Alive::default();
        let living = alive.one();
        let task = event_loop.spawn(async move {
            let _living = living;
            std::future::pending::<()>().await;
        });
        task.detach();
        drop(made);
        *event_loop = EventLoop::new().unwrap();
        assert_eq!(alive.count(), 0);
    });
}

/// A waker whose destructor runs a function.
struct Runs(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Runs {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Runs {
    fn drop(&mut self) {
        if let Some(act) = self.0.get_mut().unwrap().take() {
            act();
        }
    }
}

#[test]
#[allow(
    clippy::missing_const_for_thread_local,
    reason = "it is const, which the lint does not see where the system has no thread locals"
)]
fn a_waker_that_is_dropped_may_use_the_descriptor_that_it_waited_for() {
    thread_local! {
        static SHARED: RefCell<Option<Rc<Async<UnixStream>>>> = const { RefCell::new(None) };
    }
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let made = event_loop.block_on(async { Async::new(&handle, ours).unwrap() });
        let shared = Rc::new(made.unwrap());
        SHARED.set(Some(Rc::clone(&shared)));
        let polls = Arc::new(Runs(Mutex::new(Some(Box::new(|| {
            let shared = SHARED.take().unwrap();
            let mut noop = Context::from_waker(Waker::noop());
            assert!(pin!(shared.readable()).poll(&mut noop).is_pending());
        })))));
        let waker = Waker::from(polls);
        let mut waits = pin!(shared.readable());
        let first = waits.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(first.is_pending());
        drop(waker);
        let mut noop = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut noop).is_pending());
        assert!(SHARED.take().is_none());
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
