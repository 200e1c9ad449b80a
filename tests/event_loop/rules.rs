//! The steps of a pass: asking, waiting, delivering.

use std::cell::Cell;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{
    Counting, PATIENCE, Probe, on_every_backend, settle, turn_once, with_every_loop,
};
use fdloop::{Dispatcher, EventLoop, Handler, Interest, Io, Predicates, Result, View};

#[test]
fn a_pass_delivers_read_then_write_then_priority() {
    with_every_loop(|event_loop| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let ready = ours.try_clone().unwrap();
        // Out-of-band data lets a priority event and a read event come together.
        let mut sender = Dispatcher::new(theirs, Probe::silent()).unwrap();
        assert_eq!(sender.send(b"data").unwrap(), 4);
        assert_eq!(sender.send_oob(b"!").unwrap(), 1);
        let deadline = Instant::now() + PATIENCE;
        while peek_oob(&ready).is_err() {
            assert!(Instant::now() < deadline, "no urgent byte came");
        }
        let (probe, seen) = Probe::new();
        seen.wants_write.set(true);
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        assert_eq!(turn_once(event_loop), 1);
        assert_eq!(seen.events(), ["read", "write", "expt"]);
    });
}

/// Looks whether the urgent byte has come.
fn peek_oob(stream: &TcpStream) -> nix::Result<usize> {
    use nix::sys::socket::{MsgFlags, recv};
    let flags = MsgFlags::MSG_OOB | MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(stream.as_raw_fd(), &mut [0], flags)
}

#[test]
fn every_pass_asks_every_channel_what_it_wants() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        for (read, write) in [(true, false), (false, false), (true, true), (false, true)] {
            seen.wants_read.set(read);
            seen.wants_write.set(write);
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            let mut wanted = Interest::empty();
            wanted.set(Interest::READABLE | Interest::PRIORITY, read);
            if write {
                // The probe stops wanting at its first write.
                assert_eq!(seen.take(), ["write"]);
            }
            assert_eq!(heard.interest(fd), wanted, "read {read}, write {write}");
        }
    });
}

/// Wants one read at a time, and says that only its own state decides.
struct Own {
    wants: bool,
    reads: Rc<Cell<usize>>,
}

impl Handler for Own {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }
    fn readable(&self, _: &View<'_>) -> bool {
        self.wants
    }
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.reads.set(self.reads.get() + 1);
        io.recv(&mut [0; 16])?;
        self.wants = false;
        Ok(())
    }
}

#[test]
fn a_channel_whose_predicates_depend_on_its_own_state_is_asked_after_it_was_reached() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reads = Rc::new(Cell::new(0));
        let own = Own {
            wants: false,
            reads: Rc::clone(&reads),
        };
        let id = event_loop.add(Dispatcher::new(ours, own).unwrap()).unwrap();
        for round in 1..=3 {
            theirs.write_all(b"x").unwrap();
            settle(event_loop);
            assert_eq!(reads.get(), round - 1, "it wanted nothing");
            event_loop.get_mut(id).unwrap().handler_mut().wants = true;
            settle(event_loop);
            assert_eq!(reads.get(), round, "it wanted one read");
        }
    });
}

#[test]
fn a_listener_is_never_watched_for_writing() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (probe, seen) = Probe::new();
        seen.wants_write.set(true);
        let server = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
        let fd = server.as_raw_fd();
        event_loop.add(server).unwrap();
        settle(&mut event_loop);
        let wanted = Interest::READABLE | Interest::PRIORITY;
        assert_eq!(heard.interest(fd), wanted);
        assert!(seen.events().is_empty());
    });
}

#[test]
fn a_pass_is_one_wait() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        event_loop
            .add(Dispatcher::new(ours, Probe::silent()).unwrap())
            .unwrap();
        for passes in 1..=5 {
            theirs.write_all(b"x").unwrap();
            turn_once(&mut event_loop);
            assert_eq!(heard.waits.get(), passes);
        }
    });
}

#[test]
fn with_nothing_to_watch_a_pass_still_sleeps_for_its_timeout() {
    with_every_loop(|event_loop| {
        let timeout = Duration::from_millis(30);
        let begin = Instant::now();
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout);
        // Nor does a channel that wants nothing shorten it.
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let begin = Instant::now();
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout);
    });
}

#[test]
fn an_endless_pass_of_an_empty_loop_returns_at_once() {
    with_every_loop(|event_loop| assert_eq!(event_loop.turn(None).unwrap(), 0));
}
