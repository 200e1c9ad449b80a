//! Descriptor numbers beyond `FD_SETSIZE`. The limit of descriptors is raised and stays so,
//! which no other test of this binary minds.
#![cfg(not(any(target_os = "illumos", target_os = "solaris")))]
#![allow(clippy::print_stderr, reason = "a test says what it skips")]
#![allow(unsafe_code, reason = "limits of the process have no safe wrapper")]

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::{
    PATIENCE, Probe, on_every_backend, poller_of, settle, turn_once, turn_until, with_every_loop,
};
use fdloop::{Deadline, Dispatcher, Event, Interest, Readiness};
use nix::fcntl::{FcntlArg, fcntl};

/// Makes room for descriptors up to `number`; whether the system lets us.
fn allow_up_to(number: RawFd) -> bool {
    let wanted = number as libc::rlim_t + 100;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes one rlimit, which is exclusively borrowed for it.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0);
    if limit.rlim_cur >= wanted {
        return true;
    }
    limit.rlim_cur = wanted.min(limit.rlim_max);
    // SAFETY: the call reads one rlimit, which is borrowed for it.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    result == 0 && limit.rlim_cur >= wanted
}

/// A duplicate with a number of at least `number`.
fn lift(stream: UnixStream, number: RawFd) -> OwnedFd {
    let given = fcntl(stream.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(number)).unwrap();
    assert!(given >= number);
    // SAFETY: fcntl has just made this descriptor, and no other code knows it.
    unsafe { OwnedFd::from_raw_fd(given) }
}

#[test]
fn descriptors_beyond_fd_setsize_are_served_like_any_other() {
    // 1,023 and 1,024 are the last within and the first beyond an fd_set.
    let numbers = [1_023, 1_024, 1_500, 2_047, 4_096];
    assert!(
        allow_up_to(5_000),
        "the limit of descriptors is too low for this test"
    );
    with_every_loop(|event_loop| {
        let mut all = Vec::new();
        for number in numbers {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let ours = lift(ours, number);
            assert_eq!(ours.as_raw_fd(), number);
            let (probe, seen) = Probe::new();
            let id = event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            all.push((id, seen, theirs));
        }
        // A low one beside them.
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        all.push((id, seen, theirs));

        assert_eq!(event_loop.turn(Some(Duration::ZERO)).unwrap(), 0);
        for i in 0..all.len() {
            all[i].2.write_all(b"hello").unwrap();
            assert_eq!(turn_once(event_loop), 1);
            for (j, (id, seen, _)) in all.iter().enumerate() {
                let expected: &[&str] = if i == j { &["read"] } else { &[] };
                assert_eq!(seen.take(), expected, "fd {} of {}", id.fd(), all[i].0.fd());
            }
        }
        for (_, _, theirs) in &mut all {
            theirs.write_all(b"all at once").unwrap();
        }
        assert_eq!(turn_once(event_loop), all.len());
        for (id, seen, theirs) in all {
            assert_eq!(seen.received_len(), 16);
            seen.wants_write.set(true);
            turn_until(event_loop, "room", || seen.heard("write"));
            drop(theirs);
            turn_until(event_loop, "the end", || seen.heard("close"));
            assert!(event_loop.get(id).is_none());
        }
        settle(event_loop);
        assert!(event_loop.is_empty());
    });
}

/// How many kilobytes of address space this process has, where the system says.
fn address_space() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmSize:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_poller_refuses_a_high_number_that_is_not_open() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let before = address_space();
        for number in [65_536, 1 << 30, RawFd::MAX] {
            for interest in [Interest::READABLE, Interest::all()] {
                let error = poller.set(number, interest).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                let text = error.to_string();
                assert!(text.contains(&format!("fd {number} is not open")), "{text}");
            }
            // Forgetting it is not an error.
            poller.set(number, Interest::empty()).unwrap();
        }
        if let (Some(before), Some(after)) = (before, address_space()) {
            assert!(after < before + 1_000_000, "{before} kB grew to {after}");
        }
        let mut ready = Vec::new();
        poller.wait(Deadline::Now, &mut ready).unwrap();
        assert_eq!(ready, []);
    });
}

#[test]
fn a_poller_takes_a_high_number_that_is_open() {
    if !allow_up_to(70_000) {
        eprintln!("skipped: the limit of descriptors is too low");
        return;
    }
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = lift(ours, 70_000);
        let fd = ours.as_raw_fd();
        poller.set(fd, Interest::READABLE).unwrap();
        theirs.write_all(b"x").unwrap();
        let mut ready = Vec::new();
        let deadline = Deadline::after(Some(PATIENCE));
        poller.wait(deadline, &mut ready).unwrap();
        let readiness = Readiness::READABLE;
        assert_eq!(ready, [Event::new(fd, readiness)]);
    });
}
