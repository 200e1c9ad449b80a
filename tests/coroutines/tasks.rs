//! Spawning, awaiting, cancelling and detaching tasks; `block_on`; what keeps `run` going.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use fdloop::{Dispatcher, Ended, Error, EventLoop, Handler, Io, Result};

use crate::common::{Probe, on_every_backend, with_every_loop};
use crate::{Alive, yield_now};

#[test]
fn tasks_run_in_the_order_in_which_they_were_woken_and_keep_run_going() {
    with_every_loop(|event_loop| {
        let order = Rc::new(RefCell::new(Vec::new()));
        for number in 0..3 {
            let order = Rc::clone(&order);
            let task = event_loop.spawn(async move {
                for step in 0..2 {
                    order.borrow_mut().push((step, number));
                    yield_now().await;
                }
            });
            task.detach();
        }
        assert!(order.borrow().is_empty(), "polled before the loop runs");
        event_loop.run().unwrap();
        let steps = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
        assert_eq!(*order.borrow(), steps);
        assert_eq!(event_loop.ended_by(), Some(Ended::NoWork));
    });
}

#[test]
fn a_task_is_awaited_for_its_output_which_need_not_be_send() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let sum = event_loop.block_on(async {
            let tasks: Vec<_> = (0..10)
                .map(|number| handle.spawn(async move { Rc::new(number) }))
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += *task.await;
            }
            sum
        });
        assert_eq!(sum.unwrap(), 45);
    });
}

#[test]
fn block_on_lends_what_its_caller_owns_and_serves_channels_meanwhile() {
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        drop(theirs);
        let mut text = String::from("borrowed");
        let future = async {
            while !seen.events().contains(&"close") {
                yield_now().await;
            }
            text.push_str(" and changed");
            text.len()
        };
        assert_eq!(event_loop.block_on(future).unwrap(), 20);
        assert_eq!(text, "borrowed and changed");
        assert!(event_loop.is_empty());
    });
}

#[test]
fn block_on_returns_the_exit_error_of_a_handler() {
    struct Exit;
    impl Handler for Exit {
        fn handle_read(&mut self, _: &mut Io<'_>) -> Result<()> {
            Err(Error::ExitNow)
        }
    }
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        event_loop
            .add(Dispatcher::new(ours, Exit).unwrap())
            .unwrap();
        drop(theirs);
        let result = event_loop.block_on(pending::<()>());
        assert!(matches!(result, Err(Error::ExitNow)), "{result:?}");
    });
}

#[test]
fn block_on_ends_when_the_loop_is_stopped() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let alive = Alive::default();
        let living = alive.one();
        let error = event_loop.block_on(async move {
            let _living = living;
            handle.with(EventLoop::stop).unwrap();
            pending::<()>().await;
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(alive.count(), 0);
        assert!(!event_loop.is_stopping());
    });
}

#[test]
fn block_on_is_refused_within_a_pass() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let inner = handle.clone();
        let task = handle.spawn(async move {
            inner
                .with(|event_loop| event_loop.block_on(async { 1 }))
                .unwrap()
        });
        let nested = event_loop.block_on(async {
            let here = handle.with(|event_loop| event_loop.block_on(async { 1 }));
            (
                here.unwrap().unwrap_err().kind(),
                task.await.unwrap_err().kind(),
            )
        });
        let refused = io::ErrorKind::Unsupported;
        assert_eq!(nested.unwrap(), (refused, refused));
    });
}

#[test]
fn a_dropped_handle_cancels_its_task_before_the_next_wait() {
    with_every_loop(|event_loop| {
        let alive = Alive::default();
        let living = alive.one();
        let task = event_loop.spawn(async move {
            let _living = living;
            pending::<()>().await;
        });
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(alive.count(), 1);
        drop(task);
        event_loop.run().unwrap();
        assert_eq!(alive.count(), 0);
    });
}

#[test]
fn cancelling_in_every_state_drops_the_future() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let alive = Alive::default();
        let counted = alive.clone();
        event_loop
            .block_on(async move {
                let spawn = |wait: bool| {
                    let living = counted.one();
                    handle.spawn(async move {
                        let _living = living;
                        if wait {
                            pending::<()>().await;
                        }
                        7
                    })
                };
                // Not polled yet; waiting; done.
                assert_eq!(spawn(true).cancel().await, None);
                let waiting = spawn(true);
                yield_now().await;
                yield_now().await;
                assert_eq!(counted.count(), 1);
                assert_eq!(waiting.cancel().await, None);
                let done = spawn(false);
                while !done.is_finished() {
                    yield_now().await;
                }
                assert_eq!(done.cancel().await, Some(7));
                assert_eq!(counted.count(), 0);
            })
            .unwrap();
        assert_eq!(alive.count(), 0);
    });
}

#[test]
fn a_task_may_cancel_itself() {
    with_every_loop(|event_loop| {
        let alive = Alive::default();
        let living = alive.one();
        let place = Rc::new(RefCell::new(None));
        let own = Rc::clone(&place);
        let task = event_loop.spawn(async move {
            let _living = living;
            drop(own.borrow_mut().take());
            pending::<()>().await;
        });
        *place.borrow_mut() = Some(task);
        event_loop.run().unwrap();
        assert_eq!(alive.count(), 0);
    });
}

#[test]
fn a_background_task_does_not_keep_run_going() {
    with_every_loop(|event_loop| {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let background = event_loop.spawn_background(async move {
            loop {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        });
        event_loop.run().unwrap();
        assert!(polls.get() >= 1);
        drop(background);
        assert_eq!(event_loop.ended_by(), Some(Ended::NoWork));
    });
}

#[test]
fn dropping_the_loop_drops_every_future_and_ends_its_handles() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        let alive = Alive::default();
        let mut tasks = Vec::new();
        for number in 0..100 {
            let (living, handle) = (alive.one(), handle.clone());
            tasks.push(event_loop.spawn(async move {
                let _living = living;
                match number % 3 {
                    0 => pending().await,
                    1 => handle.sleep(Duration::from_secs(3600)).await,
                    _ => loop {
                        yield_now().await;
                    },
                }
            }));
        }
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(alive.count(), 100);
        drop(event_loop);
        assert_eq!(alive.count(), 0);

        let late = handle.spawn(async { 1 });
        let mut other = EventLoop::with_backend(backend).unwrap();
        for task in tasks {
            let error = other.block_on(task.joined()).unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
        let error = other.block_on(late.joined()).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let error = handle.with(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_handler_may_spawn_but_reaches_the_loop_through_its_io() {
    struct Spawner(fdloop::Handle, Rc<Cell<u32>>);
    impl Handler for Spawner {
        fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
            io.recv(&mut [0]).map(drop)
        }
        fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
            let error = self.0.with(|_| ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            let done = Rc::clone(&self.1);
            self.0
                .spawn(async move { done.set(done.get() + 1) })
                .detach();
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let done = Rc::new(Cell::new(0));
        let spawner = Spawner(event_loop.handle(), Rc::clone(&done));
        event_loop
            .add(Dispatcher::new(ours, spawner).unwrap())
            .unwrap();
        drop(theirs);
        event_loop.run().unwrap();
        assert_eq!(done.get(), 1);
    });
}

#[test]
fn a_task_may_drop_the_last_channel_of_the_loop() {
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, _) = Probe::new();
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let handle = event_loop.handle();
        let task = event_loop.spawn(async move {
            yield_now().await;
            handle
                .with(|event_loop| drop(event_loop.remove(id)))
                .unwrap();
        });
        event_loop.run().unwrap();
        assert!(task.is_finished() && event_loop.is_empty());
    });
}

#[test]
fn a_task_may_put_another_loop_in_the_place_of_its_own() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        let alive = Alive::default();
        let living = alive.one();
        let task = event_loop.spawn(async move {
            let _living = living;
            let other = EventLoop::with_backend(backend).unwrap();
            drop(
                handle
                    .with(|event_loop| std::mem::replace(event_loop, other))
                    .unwrap(),
            );
            pending::<()>().await;
        });
        event_loop.run().unwrap();
        assert_eq!(alive.count(), 0);
        assert!(!task.is_finished() || event_loop.is_empty());
    });
}

#[test]
fn a_future_of_block_on_that_drops_its_loop_takes_the_tasks_with_it() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        let alive = Alive::default();
        let living = alive.one();
        let task = event_loop.spawn(async move {
            let _living = living;
            pending::<()>().await;
        });
        let output = event_loop.block_on(async move {
            let other = EventLoop::with_backend(backend).unwrap();
            let own = handle.with(|event_loop| std::mem::replace(event_loop, other));
            drop(own.unwrap());
            handle.with(|_| ()).unwrap_err().kind()
        });
        assert_eq!(output.unwrap(), io::ErrorKind::BrokenPipe);
        assert_eq!(alive.count(), 0);
        assert!(task.is_finished());
    });
}

#[test]
fn within_with_handles_do_not_reach_the_loop_a_second_time() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let kind = event_loop.block_on(async move {
            let nested = handle.with(|_| handle.with(|_| ()));
            nested.unwrap().unwrap_err().kind()
        });
        assert_eq!(kind.unwrap(), io::ErrorKind::Unsupported);
    });
}
