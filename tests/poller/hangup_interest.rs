//! Waiting for a hang-up and nothing else: `Interest::HANGUP`.
// poll(2) there reports no hang-up that it was not asked for.
#![cfg(not(target_vendor = "apple"))]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use crate::common::{PATIENCE, on_every_backend, poller_of};
use fdloop::{Deadline, Event, Interest, Poller, Readiness};
use nix::sys::socket::{setsockopt, sockopt::Linger};

/// A connection over the loopback interface: the side to watch, and the peer's.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

/// Closes a connection so that the other side gets a reset.
fn reset(peer: TcpStream) {
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&peer, Linger, &at_once).unwrap();
}

/// One wait that may last until then.
#[track_caller]
fn wait(poller: &mut dyn Poller, deadline: Deadline) -> Vec<Event> {
    let mut ready = Vec::new();
    poller.wait(deadline, &mut ready).unwrap();
    ready
}

/// Waits until `count` descriptors were reported, and gives what each was ready for.
#[track_caller]
fn wait_for(poller: &mut dyn Poller, count: usize) -> BTreeMap<RawFd, Readiness> {
    let deadline = Deadline::after(Some(PATIENCE));
    let begin = Instant::now();
    let mut found = BTreeMap::new();
    while found.len() < count {
        assert!(begin.elapsed() < PATIENCE, "only these: {found:?}");
        let ready = wait(poller, deadline);
        found.extend(ready.iter().map(|event| (event.fd, event.readiness)));
    }
    found
}

#[test]
fn a_half_close_and_data_are_not_reported_and_a_reset_is() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let (ours, mut peer) = connection();
        let fd = ours.as_raw_fd();
        poller.set(fd, Interest::HANGUP).unwrap();
        peer.write_all(b"last words").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        // Both have come when this returns.
        ours.peek(&mut [0; 16]).unwrap();
        assert_eq!(wait(&mut *poller, Deadline::Now), []);
        // A poller that never asked before asks at once.
        let mut another = poller_of(backend);
        another.set(fd, Interest::HANGUP).unwrap();
        assert_eq!(wait(&mut *another, Deadline::Now), []);

        reset(peer);
        let found = wait_for(&mut *poller, 1);
        assert!(found[&fd].contains(Readiness::ERROR), "{found:?}");
        assert!((found[&fd] - Readiness::ERROR - Readiness::HANGUP).is_empty());
    });
}

#[test]
fn hangups_of_every_kind_end_a_long_wait() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let (tcp, tcp_peer) = connection();
        let (unix, unix_peer) = UnixStream::pair().unwrap();
        let (reader, reader_peer) = os_pipe::pipe().unwrap();
        let (writer_peer, writer) = os_pipe::pipe().unwrap();
        let (quiet, _quiet_peer) = UnixStream::pair().unwrap();
        let all = [
            tcp.as_raw_fd(),
            unix.as_raw_fd(),
            reader.as_raw_fd(),
            writer.as_raw_fd(),
        ];
        for fd in all {
            poller.set(fd, Interest::HANGUP).unwrap();
        }
        poller.set(quiet.as_raw_fd(), Interest::HANGUP).unwrap();
        // What is asked for once a second has been asked for now.
        assert_eq!(wait(&mut *poller, Deadline::Now), []);
        reset(tcp_peer);
        drop((unix_peer, reader_peer, writer_peer));
        let found = wait_for(&mut *poller, all.len());
        assert_eq!(found.len(), all.len(), "{found:?}");
        let hung_up = Readiness::HANGUP | Readiness::ERROR;
        for fd in all {
            assert!(found[&fd].intersects(hung_up), "{found:?}");
            assert!((found[&fd] - hung_up).is_empty(), "{found:?}");
        }
    });
}

#[test]
fn a_busy_wait_reports_a_hangup_as_well() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let (busy, mut busy_peer) = UnixStream::pair().unwrap();
        let (idle, idle_peer) = UnixStream::pair().unwrap();
        busy_peer.write_all(b"x").unwrap();
        poller.set(busy.as_raw_fd(), Interest::READABLE).unwrap();
        poller.set(idle.as_raw_fd(), Interest::HANGUP).unwrap();
        let busy_alone = [Event::new(busy.as_raw_fd(), Readiness::READABLE)];
        for _ in 0..10 {
            assert_eq!(wait(&mut *poller, Deadline::Never), busy_alone);
        }
        drop(idle_peer);
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "the hang-up is not reported");
            let ready = wait(&mut *poller, Deadline::Never);
            assert!(ready.contains(&busy_alone[0]), "{ready:?}");
            if let Some(event) = ready.iter().find(|event| event.fd == idle.as_raw_fd()) {
                assert_eq!(event.readiness, Readiness::HANGUP);
                break;
            }
        }
    });
}

#[test]
fn a_wait_for_hangups_alone_ends_at_its_deadline() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let (ours, _peer) = UnixStream::pair().unwrap();
        poller.set(ours.as_raw_fd(), Interest::HANGUP).unwrap();
        // Beyond the second after which select(2) wakes to ask.
        for millis in [1, 1_100] {
            let timeout = std::time::Duration::from_millis(millis);
            let begin = Instant::now();
            assert_eq!(
                wait(&mut *poller, Deadline::after(Some(timeout))),
                [],
                "{backend}"
            );
            assert!(begin.elapsed() >= timeout);
        }
    });
}

#[test]
fn with_another_interest_it_adds_nothing() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let (reader, writer) = os_pipe::pipe().unwrap();
        let fd = reader.as_raw_fd();
        let readable = Interest::READABLE | Interest::HANGUP;
        poller.set(fd, readable).unwrap();
        drop(writer);
        assert_eq!(wait_for(&mut *poller, 1)[&fd], Readiness::READABLE);
        poller.set(fd, Interest::empty()).unwrap();
        assert_eq!(wait(&mut *poller, Deadline::Now), []);

        let (ours, _peer) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        let writable = Interest::WRITABLE | Interest::HANGUP;
        poller.set(fd, writable).unwrap();
        assert_eq!(wait_for(&mut *poller, 1)[&fd], Readiness::WRITABLE);
    });
}

#[test]
fn an_interest_can_turn_into_it_and_back() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        peer.write_all(b"x").unwrap();
        for _ in 0..3 {
            poller.set(fd, Interest::READABLE).unwrap();
            assert_eq!(wait_for(&mut *poller, 1)[&fd], Readiness::READABLE);
            poller.set(fd, Interest::HANGUP).unwrap();
            assert_eq!(wait(&mut *poller, Deadline::Now), []);
        }
        drop(peer);
        assert_eq!(wait_for(&mut *poller, 1)[&fd], Readiness::HANGUP);
        poller.set(fd, Interest::empty()).unwrap();
        assert_eq!(wait(&mut *poller, Deadline::Now), []);
    });
}

#[test]
fn a_number_that_is_not_open_is_reported_as_for_any_interest() {
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let fd = 971;
        poller.set(fd, Interest::HANGUP).unwrap();
        assert_eq!(wait_for(&mut *poller, 1)[&fd], Readiness::INVALID);
    });
}
