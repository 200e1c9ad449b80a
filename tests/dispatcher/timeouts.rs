//! Timeouts of connections.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::clock::with_clocks;
use crate::common::{Probe, settle};
use fdloop::{
    Address, AsyncChat, ChatHandler, ChatIo, Deadline, Dispatcher, DispatcherWithSend, EventLoop,
    Family, Handler, Io, Result, SocketType,
};

const SECOND: Duration = Duration::from_secs(1);

/// Advances the time by making passes until something is due.
fn advance(event_loop: &mut EventLoop, by: Duration) {
    let end = event_loop.now() + by;
    while event_loop.now() < end {
        event_loop.turn_until(Deadline::At(end)).unwrap();
    }
}

#[test]
fn a_silent_connection_ends_with_etimedout_as_its_reason() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let kind = Rc::new(Cell::new(None));
        let reason = Rc::clone(&kind);
        let probe = probe.on_close(move |io| {
            let error = io.reason().unwrap();
            assert!(error.to_string().contains("60s"), "{error}");
            reason.set(Some(error.kind()));
            Ok(())
        });
        let mut channel = Dispatcher::new(ours, probe).unwrap();
        assert_eq!(channel.timeout(), None);
        channel.set_timeout(Some(60 * SECOND));
        assert_eq!(channel.timeout(), Some(60 * SECOND));
        event_loop.add(channel).unwrap();
        event_loop.run().unwrap();
        assert_eq!(clock.get() - begin, 60 * SECOND);
        assert_eq!(kind.get(), Some(ErrorKind::TimedOut));
        assert_eq!(seen.count("close"), 1);
        assert_eq!(event_loop.next_deadline(), Deadline::Never);
    });
}

#[test]
fn received_and_sent_bytes_begin_the_time_anew() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| io.recv(&mut [0; 64]).map(drop));
        let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
        channel.set_timeout(Some(10 * SECOND));
        let id = event_loop.add(channel).unwrap();
        for _ in 0..5 {
            settle(event_loop);
            advance(event_loop, 9 * SECOND);
            theirs.write_all(b"x").unwrap();
            settle(event_loop);
            advance(event_loop, 9 * SECOND);
            // From outside.
            event_loop.get_mut(id).unwrap().send(b"y").unwrap();
        }
        assert_eq!(seen.count("close"), 0);
        event_loop.run().unwrap();
        assert_eq!(seen.count("close"), 1);
        assert_eq!(clock.get() - begin, 100 * SECOND);
    });
}

/// Counts its timeouts, and ends at the third.
struct Patient(Rc<Cell<u32>>);

impl Handler for Patient {
    fn handle_timeout(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.0.set(self.0.get() + 1);
        match self.0.get() {
            1 => Ok(()),
            2 => {
                io.set_timeout(Some(3 * SECOND));
                Ok(())
            }
            _ => {
                io.close();
                Ok(())
            }
        }
    }
}

#[test]
fn a_handler_may_go_on_and_change_the_time() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let count = Rc::default();
        let mut channel = Dispatcher::new(ours, Patient(Rc::clone(&count))).unwrap();
        channel.set_timeout(Some(10 * SECOND));
        event_loop.add(channel).unwrap();
        event_loop.run().unwrap();
        assert_eq!((count.get(), clock.get() - begin), (3, 23 * SECOND));
    });
}

#[test]
fn without_a_timeout_no_timer_is_left() {
    with_clocks(|event_loop, _| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = Dispatcher::new(ours, probe).unwrap();
        channel.set_timeout(Some(SECOND));
        let id = event_loop.add(channel).unwrap();
        settle(event_loop);
        assert_ne!(event_loop.next_deadline(), Deadline::Never);
        event_loop.get_mut(id).unwrap().set_timeout(None);
        settle(event_loop);
        assert_eq!(event_loop.next_deadline(), Deadline::Never);
        // Nor after the channel is gone.
        event_loop.get_mut(id).unwrap().set_timeout(Some(SECOND));
        settle(event_loop);
        assert_ne!(event_loop.next_deadline(), Deadline::Never);
        let channel = event_loop.remove(id).unwrap();
        assert_eq!(event_loop.next_deadline(), Deadline::Never);
        // It goes with the channel into the loop.
        let id = event_loop.add(channel).unwrap();
        event_loop.run().unwrap();
        assert!(!event_loop.contains(id));
        assert_eq!(seen.count("close"), 1);
    });
}

/// Sends each line back.
struct Lines;

impl ChatHandler for Lines {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let line = io.take_data();
        io.push(line)
    }
}

#[test]
fn a_chat_that_says_a_byte_now_and_then_goes_on_and_a_silent_one_ends() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut chat = AsyncChat::new(ours, Lines).unwrap();
        chat.set_terminator("\n");
        chat.set_timeout(Some(5 * SECOND));
        event_loop.add(chat).unwrap();
        for _ in 0..4 {
            settle(event_loop);
            advance(event_loop, 4 * SECOND);
            theirs.write_all(b"x").unwrap();
        }
        event_loop.run().unwrap();
        assert_eq!(clock.get() - begin, 21 * SECOND);
    });
}

/// A listener whose queue is full: further connects to it hang. With what has to live on for that.
fn black_hole() -> (Address, impl Sized) {
    let (probe, _) = Probe::new();
    let mut listener = Dispatcher::unconnected(probe);
    listener
        .create_socket(Family::Inet, SocketType::Stream)
        .unwrap();
    listener.bind("127.0.0.1:0").unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |_| Dispatcher::connect(&address, Probe::new().0).unwrap();
    let queued: Vec<_> = (0..3).map(connect).collect();
    (address, (listener, queued))
}

#[test]
fn a_connect_that_hangs_ends_by_the_timeout() {
    with_clocks(|event_loop, clock| {
        let begin = clock.get();
        let (address, _full) = black_hole();
        let (probe, seen) = Probe::new();
        let mut channel = Dispatcher::connect(&address, probe).unwrap();
        channel.set_timeout(Some(2 * SECOND));
        let id = event_loop.add(channel).unwrap();
        event_loop.run().unwrap();
        assert_eq!(clock.get() - begin, 2 * SECOND);
        assert_eq!((seen.count("connect"), seen.count("close")), (0, 1));
        assert!(!event_loop.contains(id));
    });
}
