//! A poller without a loop, a loop with a poller of the program's, and deadlines.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Counting, Probe, on_every_backend, turn_once, with_every_loop};
use fdloop::{Backend, Deadline, Dispatcher, EventLoop, Interest, Poller, Readiness};
use os_pipe::pipe;

#[test]
fn a_poller_is_made_at_run_time_and_waits_in_another_thread() {
    on_every_backend(|backend: Backend| {
        let (reader, mut writer) = pipe().unwrap();
        let mut poller = backend.poller();
        poller.set(reader.as_raw_fd(), Interest::READABLE).unwrap();
        let waiting = thread::spawn(move || {
            let mut ready = Vec::new();
            while ready.is_empty() {
                poller.wait(Deadline::Never, &mut ready).unwrap();
            }
            ready
        });
        writer.write_all(b"x").unwrap();
        let ready = waiting.join().unwrap();
        assert_eq!(ready.len(), 1);
        assert_eq!(ready[0].fd, reader.as_raw_fd());
        assert_eq!(ready[0].readiness, Readiness::READABLE);
    });
}

#[test]
fn a_loop_takes_a_poller_together_with_its_other_options() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        // Boxed twice, since a box is a poller as well.
        let poller: Box<dyn Poller> = Box::new(poller);
        let mut event_loop = EventLoop::builder()
            .catch_panics(true)
            .poller(poller)
            .build()
            .unwrap();
        assert!(event_loop.catches_panics());
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        turn_once(&mut event_loop);
        assert_eq!(seen.received(), b"x");
        assert!(heard.waits.get() > 0);
        assert!(heard.interest(fd).contains(Interest::READABLE));
    });
}

#[test]
fn passes_until_a_deadline_never_end_before_it() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let channel = Dispatcher::new(ours, Probe::silent()).unwrap();
        event_loop.add(channel).unwrap();
        theirs.write_all(b"x").unwrap();
        let end = Instant::now() + Duration::from_millis(5);
        let deadline = Deadline::At(end);
        assert_eq!(event_loop.turn_until(deadline).unwrap(), 1);
        while !deadline.has_passed() {
            assert_eq!(event_loop.turn_until(deadline).unwrap(), 0);
        }
        assert!(Instant::now() >= end);
        assert_eq!(deadline.remaining(), Some(Duration::ZERO));
        // One that has passed does not wait.
        assert_eq!(event_loop.turn_until(deadline).unwrap(), 0);
        assert_eq!(event_loop.turn_until(Deadline::Now).unwrap(), 0);
    });
}

#[test]
fn what_remains_of_a_deadline_never_exceeds_its_timeout() {
    let hour = Duration::from_secs(3600);
    let remaining = Deadline::after(Some(hour)).remaining().unwrap();
    assert!(remaining <= hour && remaining > Duration::ZERO);
    // Not cut to the longest single wait, which is a day.
    let year = 365 * 24 * hour;
    assert!(Deadline::after(Some(year)).remaining().unwrap() > 364 * 24 * hour);
    assert!(!Deadline::Never.has_passed() && Deadline::Never.remaining().is_none());
}
