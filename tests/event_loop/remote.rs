//! Calls and wakes from other threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::common::{PATIENCE, with_every_loop};
use fdloop::{Dispatcher, Error, EventLoop, Handler, Remote, Socket};

#[test]
fn a_remote_is_send_sync_and_clone() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Remote>();
}

#[test]
fn the_calls_of_a_thread_are_made_in_order_and_none_is_lost() {
    const EACH: usize = 10_000;
    with_every_loop(|event_loop| {
        let remote = event_loop.remote().unwrap();
        let seen = event_loop.keep(vec![Vec::new(); 8]);
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let remote = remote.clone();
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        let call = remote.call(move |event_loop| {
                            event_loop.state_mut(seen).unwrap()[thread].push(number);
                            Ok(())
                        });
                        call.unwrap();
                    }
                })
            })
            .collect();
        let done = |event_loop: &EventLoop| {
            let seen = event_loop.state(seen).unwrap();
            seen.iter().map(Vec::len).sum::<usize>() == 8 * EACH
        };
        while !done(event_loop) {
            event_loop.turn(Some(PATIENCE)).unwrap();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        for numbers in event_loop.take(seen).unwrap() {
            assert!(numbers.into_iter().eq(0..EACH));
        }
    });
}

#[test]
fn a_million_wakes_block_no_thread() {
    with_every_loop(|event_loop| {
        let remote = event_loop.remote().unwrap();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let remote = remote.clone();
                std::thread::spawn(move || {
                    for _ in 0..125_000 {
                        remote.wake().unwrap();
                    }
                })
            })
            .collect();
        // The loop does not run meanwhile.
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(event_loop.turn(None).unwrap(), 1);
        assert_eq!(
            event_loop.turn(Some(Duration::ZERO)).unwrap(),
            0,
            "they coalesce"
        );
        remote.wake().unwrap();
        assert_eq!(
            event_loop.turn(None).unwrap(),
            1,
            "and a later one wakes again"
        );
    });
}

struct Quiet;
impl Handler for Quiet {}

#[test]
fn a_loop_that_waits_for_nothing_else_is_woken_and_stopped() {
    with_every_loop(|event_loop| {
        let remote = event_loop.remote().unwrap();
        assert!(event_loop.is_empty() && event_loop.remote().is_ok());
        event_loop.run().unwrap(); // a remote does not keep it
        let (ours, _theirs) = Socket::pair().unwrap();
        event_loop
            .add(Dispatcher::new(ours, Quiet).unwrap())
            .unwrap();
        let (sender, called) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            remote.call(move |_| {
                sender.send(()).unwrap();
                Ok(())
            })?;
            called.recv_timeout(PATIENCE).unwrap();
            remote.stop()
        });
        event_loop.run().unwrap();
        thread.join().unwrap().unwrap();
        assert_eq!(event_loop.len(), 1);
        // Its own channel is not the program's to close.
        event_loop.close_all(false).unwrap();
        assert!(event_loop.is_empty());
        let remote = event_loop.remote().unwrap();
        remote.wake().unwrap();
        assert_eq!(event_loop.turn(None).unwrap(), 1);
    });
}

#[test]
fn an_error_concerns_the_call_alone_and_the_exit_error_leaves_the_rest_for_later() {
    with_every_loop(|event_loop| {
        let remote = event_loop.remote().unwrap();
        let calls = event_loop.keep(0);
        let count = move |event_loop: &mut EventLoop| {
            *event_loop.state_mut(calls).unwrap() += 1;
            Ok(())
        };
        remote.call(|_| Err(Error::other("of one call"))).unwrap();
        remote.call(count).unwrap();
        remote.call(|_| Err(Error::ExitNow)).unwrap();
        remote.call(count).unwrap();
        assert!(matches!(event_loop.turn(None), Err(Error::ExitNow)));
        assert_eq!(event_loop.state(calls), Some(&1));
        event_loop.turn(None).unwrap();
        assert_eq!(event_loop.state(calls), Some(&2));
    });
}

#[test]
fn a_call_that_calls_again_keeps_nothing_waiting() {
    fn again(event_loop: &mut EventLoop, remote: Remote) -> fdloop::Result<()> {
        let next = remote.clone();
        let _ = event_loop;
        remote.call(move |event_loop| again(event_loop, next))
    }
    with_every_loop(|event_loop| {
        let remote = event_loop.remote().unwrap();
        again(event_loop, remote).unwrap();
        event_loop.call_later(Duration::from_millis(2), |_| Ok(()));
        event_loop.run().unwrap();
    });
}

#[test]
fn once_the_loop_is_gone_calls_fail_and_are_dropped() {
    with_every_loop(|event_loop| {
        let remote = event_loop.remote().unwrap();
        let held = Arc::new(());
        let kept = Arc::clone(&held);
        remote
            .call(move |_| {
                drop(kept);
                panic!("not made")
            })
            .unwrap();
        assert_eq!(Arc::strong_count(&held), 2);
        *event_loop = EventLoop::new().unwrap();
        assert_eq!(Arc::strong_count(&held), 1);
        let kept = Arc::clone(&held);
        let error = remote
            .call(move |_| {
                drop(kept);
                Ok(())
            })
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(remote.wake().is_err() && remote.stop().is_err() && remote.wake().is_err());
        assert!(format!("{remote:?}").contains("gone: true"));
    });
}

#[test]
fn calls_that_come_while_the_loop_is_dropped_fail_or_are_dropped() {
    for _ in 0..50 {
        let mut event_loop = EventLoop::new().unwrap();
        let remote = event_loop.remote().unwrap();
        let (dropped, made, end) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (gone, counted, over) = (Arc::clone(&dropped), Arc::clone(&made), Arc::clone(&end));
        let (begun, beginning) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            begun.send(()).unwrap();
            loop {
                let call = Counted(Arc::clone(&gone));
                counted.fetch_add(1, Ordering::SeqCst);
                let failed = remote.call(move |_| {
                    drop(call);
                    Ok(())
                });
                if failed.is_err() || over.load(Ordering::SeqCst) {
                    return failed.is_err();
                }
            }
        });
        beginning.recv().unwrap();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        drop(event_loop);
        assert!(thread.join().unwrap());
        assert_eq!(dropped.load(Ordering::SeqCst), made.load(Ordering::SeqCst));
        drop(end);
    }
}
