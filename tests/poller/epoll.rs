//! The poller over epoll(7): files that the kernel refuses, and the number of system calls.
#![cfg(with_epoll)]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{TempDir, this_test, traced};
use fdloop::{
    Backend, Deadline, EpollPoller, Event, EventLoop, FileDispatcher, Handler, Interest, Io,
    Poller, Readiness, Result,
};

const BOTH: Interest = Interest::READABLE.union(Interest::WRITABLE);

#[track_caller]
fn wait(poller: &mut EpollPoller, deadline: Deadline) -> Vec<Event> {
    let mut ready = Vec::new();
    poller.wait(deadline, &mut ready).unwrap();
    ready
}

/// Files that epoll_ctl(2) refuses with EPERM.
fn refused(directory: &TempDir) -> [File; 3] {
    let path = directory.file("regular");
    fs::write(&path, "text").unwrap();
    ["/dev/null", "/", path.as_str()].map(|path| File::open(path).unwrap())
}

#[test]
fn files_that_epoll_refuses_are_ready_for_what_is_wanted_of_them() {
    let directory = TempDir::new();
    for file in refused(&directory) {
        let fd = file.as_raw_fd();
        let mut poller = EpollPoller::new();
        for (interest, readiness) in [
            (Interest::READABLE, Readiness::READABLE),
            (Interest::WRITABLE, Readiness::WRITABLE),
            (BOTH, Readiness::READABLE | Readiness::WRITABLE),
        ] {
            poller.set(fd, interest).unwrap();
            for deadline in [Deadline::Now, Deadline::Never] {
                assert_eq!(wait(&mut poller, deadline), [Event::new(fd, readiness)]);
            }
        }
        // As with poll(2), they have no exceptional condition and never hang up.
        for interest in [Interest::PRIORITY, Interest::HANGUP, Interest::empty()] {
            poller.set(fd, interest).unwrap();
            let (begin, timeout) = (Instant::now(), Duration::from_millis(2));
            assert_eq!(wait(&mut poller, Deadline::after(Some(timeout))), []);
            assert!(begin.elapsed() >= timeout);
        }
    }
}

#[test]
fn files_and_sockets_that_are_ready_are_reported_in_the_same_wait() {
    let mut poller = EpollPoller::new();
    let directory = TempDir::new();
    let files = refused(&directory);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let mut expected: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    expected.push(ours.as_raw_fd());
    for fd in &expected {
        poller.set(*fd, Interest::READABLE).unwrap();
    }
    let ready = wait(&mut poller, Deadline::Never);
    let mut found: Vec<RawFd> = ready.iter().map(|event| event.fd).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_regular_file_is_read_to_its_end_beside_a_socket() {
    /// Counts what it reads.
    struct Reader(Vec<u8>);
    impl Handler for Reader {
        fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
            let mut buf = [0; 7];
            let n = io.recv(&mut buf)?;
            self.0.extend_from_slice(&buf[..n]);
            Ok(())
        }
        fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
            assert_eq!(self.0.len(), 1_000);
            Ok(())
        }
    }
    let directory = TempDir::new();
    let path = directory.file("long");
    fs::write(&path, [b'x'; 1_000]).unwrap();
    let mut event_loop = EventLoop::with_backend(Backend::Epoll).unwrap();
    let reader = || Reader(Vec::new());
    let file = File::open(path).unwrap();
    event_loop
        .add(FileDispatcher::reader(file, reader()).unwrap())
        .unwrap();
    let (input, mut writer) = os_pipe::pipe().unwrap();
    event_loop
        .add(FileDispatcher::reader(OwnedFd::from(input), reader()).unwrap())
        .unwrap();
    writer.write_all(&[b'y'; 1_000]).unwrap();
    drop(writer);
    event_loop.run().unwrap();
    assert!(event_loop.is_empty());
}

/// Changes an interest many times between two waits. Mostly it has changed back by the second one.
fn toggle() {
    let mut poller = EpollPoller::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let fd = ours.as_raw_fd();
    poller.set(fd, Interest::READABLE).unwrap();
    for round in 0..100 {
        poller.set(fd, BOTH).unwrap();
        poller.set(fd, Interest::READABLE).unwrap();
        // Every tenth time, it stays different.
        if round % 10 == 0 {
            poller.set(fd, BOTH).unwrap();
        }
        let ready = wait(&mut poller, Deadline::Never);
        let writable = ready[0].readiness.contains(Readiness::WRITABLE);
        assert_eq!((ready.len(), writable), (1, round % 10 == 0));
    }
}

#[test]
fn an_interest_that_changes_back_before_the_wait_takes_no_system_call() {
    traced(this_test!(), "epoll_ctl", toggle, |trace| {
        let count = |what| trace.matches(what).count();
        assert_eq!(count("EPOLL_CTL_ADD"), 1, "{trace}");
        // Ten changes and their reversals. Checks pass the kernel only data that it has.
        let writable = trace
            .lines()
            .filter(|line| line.contains("EPOLL_CTL_MOD") && line.contains("EPOLLOUT"))
            .count();
        assert!((10..=12).contains(&writable), "{trace}");
        assert!(count("EPOLL_CTL_MOD") < 40, "{trace}");
    });
}

/// Sleeps after a wait that found something.
fn sleep_long() {
    let mut poller = EpollPoller::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    poller.set(ours.as_raw_fd(), Interest::READABLE).unwrap();
    assert_eq!(wait(&mut poller, Deadline::Never).len(), 1);
    std::io::Read::read_exact(&mut &ours, &mut [0]).unwrap();
    let deadline = Deadline::after(Some(Duration::from_millis(1_500)));
    assert_eq!(wait(&mut poller, deadline), []);
}

#[test]
fn a_loop_with_nothing_to_do_wakes_once_to_check_and_then_sleeps() {
    let calls = "epoll_wait,epoll_pwait,epoll_pwait2,epoll_ctl";
    traced(this_test!(), calls, sleep_long, |trace| {
        // One finds something, one is cut short for the checks, and one sleeps.
        let waits = trace.matches("wait").count();
        assert!((3..=4).contains(&waits), "{trace}");
        assert_eq!(trace.matches("EPOLL_CTL_MOD").count(), 1, "{trace}");
    });
}

#[test]
fn all_that_are_ready_are_reported_in_one_wait() {
    let mut poller = EpollPoller::new();
    let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
    for (ours, theirs) in &pairs {
        (&mut &*theirs).write_all(b"x").unwrap();
        poller.set(ours.as_raw_fd(), Interest::READABLE).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(wait(&mut poller, Deadline::Now).len(), pairs.len());
    }
}

#[test]
fn one_file_may_be_watched_under_two_numbers() {
    let mut poller = EpollPoller::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let twin = ours.try_clone().unwrap();
    poller.set(ours.as_raw_fd(), Interest::READABLE).unwrap();
    poller.set(twin.as_raw_fd(), Interest::WRITABLE).unwrap();
    theirs.write_all(b"x").unwrap();
    let of_ours = Event::new(ours.as_raw_fd(), Readiness::READABLE);
    let of_twin = Event::new(twin.as_raw_fd(), Readiness::WRITABLE);
    let ready = wait(&mut poller, Deadline::Never);
    assert_eq!(ready.len(), 2, "{ready:?}");
    assert!(
        ready.contains(&of_ours) && ready.contains(&of_twin),
        "{ready:?}"
    );
    poller.set(twin.as_raw_fd(), Interest::empty()).unwrap();
    assert_eq!(wait(&mut poller, Deadline::Never), [of_ours]);
}
