//! Signals in futures. Their handlers stay for as long as the process runs, so each test runs in a
//! process of its own.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use fdloop::EventLoop;
use futures_lite::StreamExt;
use nix::sys::signal::{Signal, raise};

use crate::common::{in_own_process, on_every_backend, this_test, with_every_loop};
use crate::yield_now;

#[test]
fn each_signal_is_received_by_every_stream_of_its_number_and_by_no_other() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let handle = event_loop.handle();
            let received = event_loop.block_on(async move {
                let mut first = handle.on_signal(libc::SIGUSR1)?;
                let mut second = handle.on_signal(libc::SIGUSR1)?;
                let mut other = pin!(handle.on_signal(libc::SIGUSR2)?);
                for _ in 0..3 {
                    raise(Signal::SIGUSR1).unwrap();
                    let (one, two) = (first.next().await.unwrap(), second.next().await.unwrap());
                    assert_eq!((one.signal(), two.signal()), (libc::SIGUSR1, libc::SIGUSR1));
                }
                raise(Signal::SIGUSR2).unwrap();
                // As a stream.
                let last = StreamExt::next(&mut other).await.unwrap();
                Ok::<_, fdloop::Error>(last.signal())
            });
            assert_eq!(received.unwrap().unwrap(), libc::SIGUSR2);
        });
    });
}

#[test]
fn signals_that_come_before_a_stream_is_polled_count_as_one() {
    in_own_process(this_test!(), || {
        with_every_loop(|event_loop| {
            let handle = event_loop.handle();
            let received = Rc::new(Cell::new(0));
            let count = Rc::clone(&received);
            let made = handle.clone();
            let reader = event_loop.spawn_background(async move {
                let mut signals = made.on_signal(libc::SIGUSR1).unwrap();
                loop {
                    signals.next().await;
                    count.set(count.get() + 1);
                }
            });
            let raised = event_loop.block_on(async {
                // The reader waits.
                yield_now().await;
                for _ in 0..5 {
                    raise(Signal::SIGUSR1).unwrap();
                }
                let mut marks = handle.on_signal(libc::SIGUSR2)?;
                raise(Signal::SIGUSR2).unwrap();
                marks.next().await;
                yield_now().await;
                Ok::<_, fdloop::Error>(())
            });
            raised.unwrap().unwrap();
            assert_eq!(received.get(), 1);
            drop(reader);
        });
    });
}

#[test]
fn a_stream_does_not_keep_run_going_and_ends_with_its_loop() {
    in_own_process(this_test!(), || {
        on_every_backend(|backend| {
            let mut event_loop = EventLoop::with_backend(backend).unwrap();
            let handle = event_loop.handle();
            let mut signals = event_loop
                .block_on(async move { handle.on_signal(libc::SIGUSR1) })
                .unwrap()
                .unwrap();
            event_loop.run().unwrap();
            drop(event_loop);
            // A loop that knows nothing of the signal polls the stream.
            let mut other = EventLoop::with_backend(backend).unwrap();
            let received = other.block_on(async move { signals.next().await.is_none() });
            assert!(received.unwrap());
        });
    });
}
