//! Signals neither end a wait nor lengthen it. No other test
//! of this binary uses SIGALRM, whose disposition is the process's.
#![allow(unsafe_code, reason = "a signal for one thread has no safe wrapper")]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Probe, with_every_loop};
use fdloop::Dispatcher;

static CAUGHT: AtomicU32 = AtomicU32::new(0);
static ALONE: Mutex<()> = Mutex::new(());

extern "C" fn count(_: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}

fn catch_alarms() -> MutexGuard<'static, ()> {
    let alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let handler: extern "C" fn(libc::c_int) = count;
    // SAFETY: the handler only adds to an atomic, which is safe in a signal.
    let before = unsafe { libc::signal(libc::SIGALRM, handler as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR);
    CAUGHT.store(0, Ordering::Relaxed);
    alone
}

/// The number of this thread, for [`interrupt`].
fn this_thread() -> libc::pthread_t {
    // SAFETY: always succeeds, and takes nothing.
    unsafe { libc::pthread_self() }
}

/// A thread, for others to name.
struct Thread(libc::pthread_t);

// SAFETY: it is a name; on some platforms that is a pointer, which nobody follows.
unsafe impl Sync for Thread {}

/// Sends SIGALRM to `thread`, which must be running: a timer's signal would go to
/// whichever thread takes it, and the test harness has others.
fn interrupt(thread: &Thread) {
    // SAFETY: the caller has a scope that `thread` itself waits for.
    let result = unsafe { libc::pthread_kill(thread.0, libc::SIGALRM) };
    assert_eq!(result, 0);
}

/// Ends the interruptions, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `test` while this thread gets a signal every 10 ms, for as long as a test
/// has patience, and looks that they were still coming in the end: a wait that
/// begins anew after each signal ends only when they stop.
fn interrupted<R>(test: impl FnOnce() -> R) -> R {
    const EVERY: Duration = Duration::from_millis(10);
    let over = AtomicBool::new(false);
    let stopped = AtomicBool::new(false);
    let me = &Thread(this_thread());
    thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            let rounds = crate::common::PATIENCE.as_millis() / EVERY.as_millis();
            for _ in 0..rounds {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                interrupt(me);
                thread::sleep(EVERY);
            }
            stopped.store(true, Ordering::Relaxed);
        });
        let result = test();
        let stopped = stopped.load(Ordering::Relaxed);
        assert!(!stopped, "it lasted until the signals stopped");
        result
    })
}

#[test]
fn signals_neither_delay_a_timeout_nor_end_it_early() {
    let _alone = catch_alarms();
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let timeout = Duration::from_millis(150);
        interrupted(|| {
            let first = Instant::now();
            // Three waits that a signal came in, or more if the sender is kept from it.
            let mut disturbed = 0;
            while disturbed < 3 {
                let before = CAUGHT.load(Ordering::Relaxed);
                let begin = Instant::now();
                assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
                let took = begin.elapsed();
                assert!(took >= timeout, "{took:?}");
                disturbed += u32::from(CAUGHT.load(Ordering::Relaxed) > before);
                assert!(first.elapsed() < crate::common::PATIENCE, "no signals come");
            }
        });
        assert!(seen.events().is_empty());
    });
}

#[test]
fn signals_do_not_end_a_wait_without_a_timeout() {
    let _alone = catch_alarms();
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        interrupted(|| {
            thread::scope(|scope| {
                let first = CAUGHT.load(Ordering::Relaxed);
                scope.spawn(move || {
                    let patience = Instant::now() + crate::common::PATIENCE;
                    while CAUGHT.load(Ordering::Relaxed) < first + 5 && Instant::now() < patience {
                        thread::sleep(Duration::from_millis(1));
                    }
                    theirs.write_all(b"x").unwrap();
                    theirs
                });
                assert_eq!(event_loop.turn(None).unwrap(), 1);
            });
        });
        assert_eq!(seen.received_len(), 1);
    });
}

#[test]
fn signals_do_not_end_run() {
    let _alone = catch_alarms();
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        interrupted(|| {
            thread::scope(|scope| {
                let first = CAUGHT.load(Ordering::Relaxed);
                scope.spawn(move || {
                    let patience = Instant::now() + crate::common::PATIENCE;
                    while CAUGHT.load(Ordering::Relaxed) < first + 5 && Instant::now() < patience {
                        thread::sleep(Duration::from_millis(1));
                    }
                    drop(theirs);
                });
                event_loop.run().unwrap();
            });
        });
        assert_eq!(seen.events(), ["read", "eof", "close"]);
    });
}
