//! Hang-ups lose no data, half-closes let the output through, and neither spins
//! the loop.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{
    Counting, PATIENCE, Probe, Seen, on_every_backend, settle, stuffed_pipe, stuffed_stream,
    turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{Dispatcher, DispatcherWithSend, EventLoop, FileDispatcher, Interest, Socket};
use std::rc::Rc;

/// All of `data` was read, then came one end.
#[track_caller]
fn assert_read_to_the_end(seen: &Seen, data: &[u8]) {
    assert_eq!(seen.received_len(), data.len());
    assert!(seen.received() == data, "the bytes are not the same");
    let events = seen.events();
    assert_eq!(events[events.len() - 3..], ["read", "eof", "close"]);
    assert_eq!((seen.count("eof"), seen.count("close")), (1, 1));
    assert_eq!(seen.count("error"), 0);
    assert_eq!(seen.reason(), None);
}

#[test]
fn a_pipe_whose_writer_is_gone_is_read_to_its_end() {
    with_every_loop(|event_loop| {
        let (reader, data) = stuffed_pipe();
        let (probe, seen) = Probe::new();
        event_loop
            .add(FileDispatcher::new(&reader, probe).unwrap())
            .unwrap();
        turn_until_empty(event_loop);
        assert_read_to_the_end(&seen, &data);
    });
}

#[test]
fn a_unix_socket_whose_peer_is_gone_is_read_to_its_end() {
    with_every_loop(|event_loop| {
        let (ours, data) = stuffed_stream();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        turn_until_empty(event_loop);
        assert_read_to_the_end(&seen, &data);
    });
}

#[test]
fn a_tcp_connection_whose_peer_is_gone_is_read_to_its_end() {
    with_every_loop(|event_loop| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let data = vec![b't'; 200_000];
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let sent = data.clone();
        let writer = std::thread::spawn(move || theirs.write_all(&sent));
        turn_until_empty(event_loop);
        writer.join().unwrap().unwrap();
        assert_read_to_the_end(&seen, &data);
    });
}

#[test]
fn a_socket_that_wants_to_write_as_well_is_read_to_its_end() {
    with_every_loop(|event_loop| {
        let (ours, data) = stuffed_stream();
        let (probe, seen) = Probe::new();
        // It wants to all the time, and never does.
        seen.wants_write.set(true);
        let probe = probe.on_write(|_| Ok(()));
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        turn_until(event_loop, "the end", || seen.heard("close"));
        assert!(seen.received() == data);
        assert_eq!((seen.count("eof"), seen.count("close")), (1, 1));
        assert_eq!(seen.reason(), None);
    });
}

#[test]
fn a_peer_that_is_gone_is_read_to_its_end_though_the_answers_fail() {
    with_every_loop(|event_loop| {
        let (ours, data) = stuffed_stream();
        let received = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&received);
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(move |io| {
            let mut buf = [0; 4096];
            let n = io.recv(&mut buf)?;
            kept.borrow_mut().extend_from_slice(&buf[..n]);
            io.send(&buf[..n]).map(drop)
        });
        event_loop
            .add(DispatcherWithSend::new(ours, probe).unwrap())
            .unwrap();
        turn_until_empty(event_loop);
        assert_eq!(received.borrow().len(), data.len());
        assert!(*received.borrow() == data);
        assert_eq!((seen.count("close"), seen.count("error")), (1, 0));
        assert_eq!(seen.events().last(), Some(&"close"));
    });
}

#[test]
fn a_send_to_a_peer_that_is_gone_calls_handle_close_and_not_handle_error() {
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
        assert_eq!(channel.send(b"to nobody").unwrap(), 9);
        event_loop.add(channel).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::EPIPE));
    });
}

#[test]
fn what_is_queued_is_delivered_after_the_peers_half_close() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
        let data = vec![b'q'; 1 << 20];
        channel.send(&data).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        let id = event_loop.add(channel).unwrap();
        turn_until(event_loop, "the half-close", || seen.heard("eof"));
        settle(event_loop);
        // The handler does not read yet, so the channel stays, and its data with it.
        assert!(event_loop.get(id).unwrap().pending() > 0);
        assert!(!seen.heard("close"));
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).map(|_| got)
        });
        turn_until_empty(event_loop);
        assert!(reader.join().unwrap().unwrap() == data);
        assert_eq!((seen.count("eof"), seen.count("close")), (1, 1));
        assert_eq!(seen.reason(), None);
    });
}

#[test]
fn the_answer_to_the_last_read_is_delivered_after_the_peers_half_close() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| {
            let mut buf = [0; 64];
            let n = io.recv(&mut buf)?;
            io.send(&buf[..n].repeat(20_000)).map(drop)
        });
        theirs.write_all(b"question").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        event_loop
            .add(DispatcherWithSend::new(ours, probe).unwrap())
            .unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).map(|_| got)
        });
        turn_until_empty(event_loop);
        assert!(reader.join().unwrap().unwrap() == b"question".repeat(20_000));
        assert_eq!(seen.count("close"), 1);
    });
}

#[test]
fn an_overridden_handle_eof_goes_on_writing() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let counted = Rc::clone(&seen);
        let probe = probe
            .on_eof(|io| {
                assert!(io.input_ended());
                io.send(b"after the end").map(drop)
            })
            .on_write(move |io| {
                io.flush()?;
                if io.pending() == 0 {
                    assert!(counted.count("eof") == 1);
                    io.send(b", and more")?;
                    io.close_when_done();
                }
                Ok(())
            });
        theirs.shutdown(Shutdown::Write).unwrap();
        let id = event_loop
            .add(DispatcherWithSend::new(ours, probe).unwrap())
            .unwrap();
        turn_until(event_loop, "the half-close", || seen.heard("eof"));
        settle(event_loop);
        assert!(event_loop.get(id).unwrap().connected(), "it stays open");
        assert_eq!(seen.events(), ["read", "eof"], "and reads no more");
        // From now on it wants to write, until it is done.
        seen.wants_write.set(true);
        turn_until_empty(event_loop);
        let mut got = String::new();
        theirs.read_to_string(&mut got).unwrap();
        assert_eq!(got, "after the end, and more");
        assert_eq!(seen.count("close"), 1);
    });
}

#[test]
fn shutdown_when_done_half_closes_behind_the_output() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
        let data = vec![b's'; 1 << 20];
        channel.send(&data).unwrap();
        channel.shutdown_when_done().unwrap();
        assert!(channel.pending() > 0);
        event_loop.add(channel).unwrap();
        let peer = std::thread::spawn(move || -> io::Result<Vec<u8>> {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got)?;
            theirs.write_all(b"I have it all")?;
            Ok(got)
        });
        turn_until_empty(event_loop);
        assert!(peer.join().unwrap().unwrap() == data);
        assert_eq!(seen.received(), b"I have it all");
        assert_eq!(seen.count("close"), 1);
    });
}

/// A channel that wants nothing and whose peer hangs up does not make the loop
/// pass faster than its timeout; when it wants to read again it gets `data` and
/// the end.
#[track_caller]
fn assert_quiet_then_read(
    event_loop: &mut EventLoop,
    heard: &crate::common::Heard,
    seen: &Seen,
    data: &[u8],
) {
    settle(event_loop);
    heard.waits.set(0);
    let timeout = Duration::from_millis(40);
    for _ in 0..3 {
        let begin = Instant::now();
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout, "the loop spins");
    }
    assert_eq!(heard.waits.get(), 3);
    assert_eq!(event_loop.len(), 1);
    assert!(seen.events().is_empty(), "{:?}", seen.events());
    seen.wants_read.set(true);
    turn_until_empty(event_loop);
    assert_read_to_the_end(seen, data);
}

#[test]
fn a_hangup_of_a_pipe_that_wants_nothing_does_not_spin_and_is_not_forgotten() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (reader, data) = stuffed_pipe();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        event_loop
            .add(FileDispatcher::new(&reader, probe).unwrap())
            .unwrap();
        drop(reader);
        assert_quiet_then_read(&mut event_loop, &heard, &seen, &data);
    });
}

#[test]
fn a_hangup_of_a_socket_that_wants_nothing_does_not_spin_and_is_not_forgotten() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (ours, data) = stuffed_stream();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        assert_quiet_then_read(&mut event_loop, &heard, &seen, &data);
    });
}

#[test]
fn an_error_of_a_connection_that_wants_nothing_does_not_spin_and_is_not_forgotten() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut ours, _) = listener.accept().unwrap();
        // The peer closes with something unread: that resets the connection.
        ours.write_all(b"unread").unwrap();
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(theirs.peek(&mut [0; 16]).unwrap(), 6);
        drop(theirs);
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        settle(&mut event_loop);
        heard.waits.set(0);
        let timeout = Duration::from_millis(40);
        let begin = Instant::now();
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout);
        assert_eq!(heard.waits.get(), 1);
        assert!(seen.events().is_empty());
        seen.wants_read.set(true);
        turn_until_empty(&mut event_loop);
        assert_eq!(seen.events(), ["read", "close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::ECONNRESET));
    });
}

#[test]
fn a_writer_whose_reader_is_gone_hears_of_it_when_it_writes() {
    with_every_loop(|event_loop| {
        let (reader, writer) = os_pipe::pipe().unwrap();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        seen.wants_write.set(true);
        let probe = probe.on_write(|io| io.send(b"anybody?").map(drop));
        event_loop
            .add(FileDispatcher::new(&writer, probe).unwrap())
            .unwrap();
        drop(reader);
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["write", "close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::EPIPE));
    });
}

#[test]
fn a_channel_that_wants_nothing_is_not_watched_at_all() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&ours.as_fd());
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        settle(&mut event_loop);
        assert_ne!(heard.interest(number), Interest::empty());
        seen.wants_read.set(false);
        settle(&mut event_loop);
        assert_eq!(heard.interest(number), Interest::empty());
    });
}

#[test]
fn a_hangup_takes_nothing_from_a_channel_that_reads_on_later() {
    with_every_loop(|event_loop| {
        // It wants to write as channels without a buffer do, and reads nothing now,
        // such as one half of a copy whose other half is congested.
        let (reader, data) = stuffed_pipe();
        let (probe, seen) = Probe::new();
        let probe = probe.on_write(|_| Ok(()));
        seen.wants_read.set(false);
        seen.wants_write.set(true);
        let channel = FileDispatcher::new(&reader, probe).unwrap();
        drop(reader);
        event_loop.add(channel).unwrap();
        settle(event_loop);
        assert!(!seen.heard("close"), "{:?}", seen.events());
        seen.wants_read.set(true);
        turn_until_empty(event_loop);
        assert!(seen.received() == data, "{} bytes", seen.received_len());
        assert_eq!((seen.count("eof"), seen.count("close")), (1, 1));
    });
}

/// A connection over TCP whose peer has closed its side, and whose `handle_eof` keeps it
/// open for writing; the peer.
fn half_closed(event_loop: &mut EventLoop) -> (Rc<Seen>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    let (probe, seen) = Probe::new();
    let probe = probe.on_eof(|_| Ok(()));
    event_loop
        .add(DispatcherWithSend::new(ours, probe).unwrap())
        .unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    turn_until(event_loop, "the end of the input", || seen.heard("eof"));
    (seen, theirs)
}

#[test]
fn a_reset_after_a_half_close_ends_a_channel_that_has_nothing_to_write() {
    with_every_loop(|event_loop| {
        let (seen, theirs) = half_closed(event_loop);
        settle(event_loop);
        assert_eq!(seen.take(), ["read", "eof"], "a half-close is not the end");
        let socket = Socket::adopt(theirs).unwrap();
        socket.set_reset_on_close().unwrap();
        drop(socket);
        turn_until_empty(event_loop);
        assert_eq!(seen.take(), ["close"]);
        let (errno, text) = seen.reason().unwrap();
        let gone = [Some(libc::ECONNRESET), Some(libc::EPIPE)];
        assert!(gone.contains(&errno), "{text}");
    });
}

#[test]
fn a_half_closed_channel_that_waits_for_nothing_else_does_not_keep_the_loop_awake() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (seen, mut theirs) = half_closed(&mut event_loop);
        heard.waits.set(0);
        let timeout = Duration::from_millis(20);
        for _ in 0..5 {
            let begin = Instant::now();
            event_loop.turn(Some(timeout)).unwrap();
            assert!(begin.elapsed() >= timeout, "the loop did not sleep");
        }
        assert_eq!(heard.waits.get(), 5);
        // It can still write.
        let keys: Vec<_> = heard.interests.borrow().values().copied().collect();
        assert_eq!(keys, [Interest::HANGUP]);
        theirs.set_nonblocking(true).unwrap();
        assert!(theirs.read(&mut [0; 1]).is_err(), "it is still open");
        assert!(!seen.heard("close"));
    });
}
