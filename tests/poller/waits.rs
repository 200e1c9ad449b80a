//! The durations of waits.
#![allow(
    unsafe_code,
    reason = "the processor time of a thread has no safe wrapper"
)]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Counting, Probe, on_every_backend, poller_of, with_every_loop};
use fdloop::{Deadline, Dispatcher, EventLoop};

/// The processor time that this thread has used.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec, which is exclusively borrowed for it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_wait_is_never_shorter_than_its_timeout() {
    with_every_loop(|event_loop| {
        for timeout in [1, 17, 999, 1_000, 1_001, 1_500, 10_000] {
            let timeout = Duration::from_micros(timeout);
            for _ in 0..3 {
                let begin = Instant::now();
                assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
                assert!(begin.elapsed() >= timeout, "{timeout:?}");
            }
        }
        let begin = Instant::now();
        event_loop.turn(Some(Duration::from_nanos(1))).unwrap();
        assert!(begin.elapsed() >= Duration::from_nanos(1));
    });
}

#[test]
fn waits_of_900_microseconds_are_one_wait_each_and_do_not_spin() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        event_loop
            .add(Dispatcher::new(ours, Probe::silent()).unwrap())
            .unwrap();
        let timeout = Duration::from_micros(900);
        let (begin, used) = (Instant::now(), processor_time());
        for _ in 0..100 {
            assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        }
        let (took, used) = (begin.elapsed(), processor_time() - used);
        assert_eq!(heard.waits.get(), 100);
        assert!(took >= 100 * timeout, "{took:?}");
        assert!(used < took / 2, "worked for {used:?} of {took:?}");
    });
}

#[test]
fn a_timeout_of_nothing_does_not_wait() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        assert_eq!(event_loop.turn(Some(Duration::ZERO)).unwrap(), 0);
        // But it does look.
        theirs.write_all(b"x").unwrap();
        assert_eq!(event_loop.turn(Some(Duration::ZERO)).unwrap(), 1);
        assert_eq!(seen.events(), ["read"]);
    });
}

/// Timeouts that some system call counts in too small a number.
const HUGE: [Duration; 8] = [
    // poll's milliseconds in an int: 24.8 days, and 49.7.
    Duration::from_millis(1 << 31),
    Duration::from_millis(1 << 32),
    // Apple's limit for select.
    Duration::from_secs(100_000_001),
    Duration::from_secs(1 << 31),
    Duration::from_secs(1 << 32),
    Duration::from_secs(1 << 63),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];

#[test]
fn a_huge_timeout_waits_until_something_happens() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        for (i, timeout) in HUGE.into_iter().enumerate() {
            thread::scope(|scope| {
                scope.spawn(|| {
                    // Late enough that a wait that ends at once ends without it.
                    thread::sleep(Duration::from_millis(20));
                    theirs.write_all(b"x").unwrap();
                });
                assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 1, "{timeout:?}");
            });
            assert_eq!(seen.received_len(), i + 1);
        }
    });
}

#[test]
fn without_a_timeout_a_pass_waits_until_something_happens() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                theirs.write_all(b"x").unwrap();
            });
            assert_eq!(event_loop.turn(None).unwrap(), 1);
        });
        assert_eq!(seen.events(), ["read"]);
    });
}

#[test]
fn a_deadline_that_has_passed_does_not_wait_but_looks() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&ours);
        poller.set(fd, fdloop::Interest::READABLE).unwrap();
        theirs.write_all(b"x").unwrap();
        let mut ready = Vec::new();
        poller
            .wait(Deadline::At(Instant::now()), &mut ready)
            .unwrap();
        assert_eq!(ready.len(), 1);
        assert_eq!(
            (ready[0].fd, ready[0].readiness),
            (fd, fdloop::Readiness::READABLE)
        );
    });
}
