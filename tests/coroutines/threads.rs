//! Wakes from other threads.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use fdloop::EventLoop;

use crate::Alive;
use crate::common::{on_every_backend, with_every_loop};

const THREADS: usize = 8;
const WAKES: usize = 20_000;

#[test]
fn wakes_from_eight_threads_are_neither_lost_nor_too_many() {
    with_every_loop(|event_loop| {
        let tasks = 16;
        let sent: Arc<Vec<AtomicUsize>> =
            Arc::new((0..tasks).map(|_| AtomicUsize::new(0)).collect());
        let wakers: Arc<Mutex<Vec<Option<Waker>>>> = Arc::new(Mutex::new(vec![None; tasks]));
        let mut handles = Vec::new();
        for number in 0..tasks {
            let (sent, wakers) = (Arc::clone(&sent), Arc::clone(&wakers));
            handles.push(event_loop.spawn(async move {
                let mut polls = 0_usize;
                poll_fn(|cx| {
                    polls += 1;
                    wakers.lock().unwrap()[number] = Some(cx.waker().clone());
                    // Looked at after the waker is there: a later wake is not lost.
                    match sent[number].load(Ordering::SeqCst) {
                        count if count == THREADS * WAKES / tasks => Poll::Ready(()),
                        _ => Poll::Pending,
                    }
                })
                .await;
                polls
            }));
        }
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (sent, wakers) = (Arc::clone(&sent), Arc::clone(&wakers));
                thread::spawn(move || {
                    for wake in 0..WAKES {
                        let number = wake % sent.len();
                        sent[number].fetch_add(1, Ordering::SeqCst);
                        let waker = wakers.lock().unwrap()[number].clone();
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                    }
                })
            })
            .collect();
        let polls: usize = event_loop
            .block_on(async {
                let mut polls = 0;
                for task in handles {
                    polls += task.await;
                }
                polls
            })
            .unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(polls <= THREADS * WAKES + tasks, "{polls} polls");
    });
}

#[test]
fn a_wake_from_another_thread_ends_a_wait_without_any_channel_or_timer() {
    with_every_loop(|event_loop| {
        let flag = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&flag);
        let mut thread = None;
        event_loop
            .block_on(poll_fn(|cx| {
                if flag.load(Ordering::SeqCst) {
                    return Poll::Ready(());
                }
                let (waker, set) = (cx.waker().clone(), Arc::clone(&set));
                thread.get_or_insert_with(|| {
                    thread::spawn(move || {
                        set.store(true, Ordering::SeqCst);
                        waker.wake();
                    })
                });
                Poll::Pending
            }))
            .unwrap();
        thread.unwrap().join().unwrap();
    });
}

#[test]
fn dropping_the_loop_while_threads_wake_its_tasks_drops_every_future() {
    on_every_backend(|backend| {
        for _ in 0..50 {
            let mut event_loop = EventLoop::with_backend(backend).unwrap();
            let alive = Alive::default();
            let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
            for _ in 0..4 {
                let (living, wakers) = (alive.one(), Arc::clone(&wakers));
                let task = event_loop.spawn(async move {
                    let _living = living;
                    poll_fn(|cx| {
                        wakers.lock().unwrap().push(cx.waker().clone());
                        Poll::<()>::Pending
                    })
                    .await;
                });
                task.detach();
            }
            event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let wakers = wakers.lock().unwrap().clone();
                    let stop = Arc::clone(&stop);
                    thread::spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            wakers.iter().for_each(Waker::wake_by_ref);
                        }
                    })
                })
                .collect();
            drop(event_loop);
            assert_eq!(alive.count(), 0);
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                thread.join().unwrap();
            }
        }
    });
}
