//! Nothing leaks: as many descriptors are open after a test as before it.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::alone;
use crate::common::{Probe, TempDir, on_every_backend, turn_once, turn_until, turn_until_empty};
use fdloop::{
    Backend, Dispatcher, DispatcherWithSend, Error, EventLoop, FileDispatcher, FileWrapper,
    IterProducer, Socket,
};

/// Returns the number of the process's descriptors.
pub fn open_descriptors() -> usize {
    let dir = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    std::fs::read_dir(dir).unwrap().count()
}

/// Runs `test` on every backend, and says when it leaves other descriptors open
/// than there were.
#[track_caller]
pub fn nothing_leaks(test: impl Fn(Backend)) {
    let _alone = alone();
    on_every_backend(|backend| {
        let before = open_descriptors();
        test(backend);
        assert_eq!(open_descriptors(), before, "descriptors before and after");
    });
}

/// A number that it does not own.
struct Borrowing(RawFd);

impl AsRawFd for Borrowing {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl fdloop::Channel for Borrowing {}

#[test]
fn a_channel_that_cannot_be_added_comes_back_and_is_closed_when_dropped() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let before = open_descriptors();
        let mut closed = Dispatcher::new(Socket::pair().unwrap().0, Probe::silent()).unwrap();
        closed.close();
        let failed = event_loop.try_add(closed).unwrap_err();
        drop(failed);
        assert_eq!(open_descriptors(), before);

        // A number that another channel has.
        let (ours, _theirs) = UnixStream::pair().unwrap();
        event_loop.add(Borrowing(ours.as_raw_fd())).unwrap();
        let channel = Dispatcher::new(ours, Probe::silent()).unwrap();
        let fd = channel.as_raw_fd();
        let failed = event_loop.try_add(channel).unwrap_err();
        assert_eq!(failed.channel.as_raw_fd(), fd);
        assert!(failed.channel.connected(), "it comes back open");
        let error = Error::from(failed);
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    });
}

#[test]
fn dropping_the_loop_closes_all() {
    nothing_leaks(|backend| {
        let before = open_descriptors();
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let mut peers = Vec::new();
        for _ in 0..20 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            peers.push(theirs);
            event_loop
                .add(Dispatcher::new(ours, Probe::silent()).unwrap())
                .unwrap();
        }
        let (reader, writer) = os_pipe::pipe().unwrap();
        event_loop
            .add(FileDispatcher::new(&reader, Probe::silent()).unwrap())
            .unwrap();
        drop((reader, writer));
        let server = Dispatcher::listen("127.0.0.1:0", Probe::silent()).unwrap();
        event_loop.add(server).unwrap();
        // A listener may keep one in reserve.
        assert!(open_descriptors() >= before + 42);
        drop(event_loop);
        assert_eq!(open_descriptors(), before + 20, "only the peers are left");
    });
}

#[test]
fn a_loop_that_is_dropped_with_everything_pending_drops_it_all() {
    use std::sync::Arc;
    use std::time::Duration;
    nothing_leaks(|backend| {
        // Everything that the loop holds has a clone.
        let token = Arc::new(());
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let mut peers = Vec::new();
        for number in 0..10 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"unread").unwrap();
            let held = Arc::clone(&token);
            let probe = Probe::silent().on_read(move |_| {
                let _ = &held;
                Ok(())
            });
            let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
            channel.set_timeout(Some(Duration::from_secs(3600)));
            let id = event_loop.add(channel).unwrap();
            let channel = event_loop.get_mut(id).unwrap();
            channel.send(&vec![b'x'; 1 << 20]).unwrap();
            let held = Arc::clone(&token);
            let pieces = std::iter::repeat_with(move || {
                let _ = &held;
                vec![b'y'; 1000]
            });
            channel
                .send_with_producer(IterProducer::new(pieces))
                .unwrap();
            if number % 2 == 0 {
                // Begun, settled, and not: in every state.
                event_loop.turn(Some(Duration::ZERO)).unwrap();
            }
            peers.push(theirs);
        }
        let listener = Dispatcher::listen("127.0.0.1:0", Probe::silent()).unwrap();
        let address = listener.local_addr().unwrap();
        event_loop.add(listener).unwrap();
        let connecting = Dispatcher::connect(vec![address.clone(); 3], Probe::silent());
        event_loop.add(connecting.unwrap()).unwrap();
        for seconds in [0, 3600] {
            let held = Arc::clone(&token);
            event_loop.call_later(Duration::from_secs(seconds), move |_| {
                drop(held);
                Ok(())
            });
            let held = Arc::clone(&token);
            event_loop.call_every(Duration::from_secs(seconds), move |_| {
                let _ = &held;
                Ok(())
            });
        }
        let remote = event_loop.remote().unwrap();
        for _ in 0..10 {
            let held = Arc::clone(&token);
            let call = remote.call(move |_| {
                drop(held);
                Ok(())
            });
            call.unwrap();
        }
        event_loop.keep(Arc::clone(&token));
        assert_eq!(Arc::strong_count(&token), 1 + 20 + 4 + 10 + 1);
        drop(event_loop);
        assert_eq!(Arc::strong_count(&token), 1);
        assert_eq!(remote.wake().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn many_connections_leave_nothing_behind() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let probe = Probe::silent().on_accepted(|io, socket, _| {
            let echo = Probe::silent().on_read(|io| {
                let mut buf = [0; 64];
                let n = io.recv(&mut buf)?;
                io.send(&buf[..n]).map(drop)
            });
            io.event_loop().add(Dispatcher::new(socket, echo)?)?;
            Ok(())
        });
        let dir = TempDir::new();
        let server = Dispatcher::listen(dir.join("socket"), probe).unwrap();
        let server = event_loop.add(server).unwrap();
        let before = open_descriptors();
        for _ in 0..20 {
            let mut ends = Vec::new();
            for _ in 0..25 {
                let (client, seen) = Probe::new();
                let client = client
                    .on_connect(|io| io.send(b"hello").map(drop))
                    .on_read(|io| {
                        io.recv(&mut [0; 64])?;
                        io.close_when_done();
                        Ok(())
                    });
                let channel = Dispatcher::connect(dir.join("socket"), client).unwrap();
                event_loop.add(channel).unwrap();
                ends.push(seen);
            }
            turn_until(&mut event_loop, "all have ended", || {
                ends.iter().all(|seen| seen.heard("close"))
            });
        }
        // The server's side of the last ones hears of it a little later.
        let patience = std::time::Instant::now() + crate::common::PATIENCE;
        while event_loop.len() > 1 {
            assert!(std::time::Instant::now() < patience);
            turn_once(&mut event_loop);
        }
        assert_eq!(open_descriptors(), before);
        assert!(event_loop.get(server).is_some());
    });
}

#[test]
fn refused_connections_leave_nothing_behind() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let bound = Socket::new(fdloop::Family::Inet, fdloop::SocketType::Stream).unwrap();
        let mut bound = Dispatcher::new(bound, Probe::silent()).unwrap();
        bound.bind("127.0.0.1:0").unwrap();
        let address = bound.local_addr().unwrap();
        let before = open_descriptors();
        let (probe, seen) = Probe::new();
        // Each address but the first takes a new socket.
        let client = Dispatcher::connect(vec![address; 4], probe).unwrap();
        assert_eq!(open_descriptors(), before + 1);
        event_loop.add(client).unwrap();
        turn_until_empty(&mut event_loop);
        assert_eq!(seen.count("error"), 1);
        assert_eq!(open_descriptors(), before);
        Dispatcher::connect("/nowhere/at/all", Probe::silent()).unwrap_err();
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn what_cannot_be_made_into_a_channel_is_closed() {
    nothing_leaks(|_| {
        let before = open_descriptors();
        let (reader, writer) = os_pipe::pipe().unwrap();
        let error = Dispatcher::new(OwnedFd::from(reader), Probe::silent()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
        drop(writer);
        assert_eq!(open_descriptors(), before);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        Dispatcher::listen(address, Probe::silent()).unwrap_err();
        drop(taken);
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn accepted_connections_that_no_handler_takes_are_closed() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let probe = Probe::silent().on_accepted(|_, _, _| Err(Error::other("no, thank you")));
        let server = Dispatcher::listen("127.0.0.1:0", probe.on_error(|_, _| Ok(()))).unwrap();
        let port = server.local_addr().unwrap().port().unwrap();
        event_loop.add(server).unwrap();
        let before = open_descriptors();
        for _ in 0..10 {
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            turn_once(&mut event_loop);
            drop(client);
        }
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_panic_of_a_handler_leaves_nothing_behind() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let before = open_descriptors();
        for _ in 0..10 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            let probe = Probe::silent().on_read(|_| panic!("dropped"));
            event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            catch_unwind(AssertUnwindSafe(|| event_loop.run())).unwrap_err();
        }
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_handler_lives_as_long_as_its_channel_and_no_longer() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let token = Rc::new(());
        let kept = Rc::clone(&token);
        let probe = Probe::silent().on_read(move |io| {
            let _kept = &kept;
            io.recv(&mut [0; 16]).map(drop)
        });
        let (ours, theirs) = UnixStream::pair().unwrap();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        assert_eq!(Rc::strong_count(&token), 2);
        drop(theirs);
        event_loop.run().unwrap();
        assert_eq!(Rc::strong_count(&token), 1);
    });
}

#[test]
fn file_wrappers_leave_nothing_behind() {
    nothing_leaks(|_| {
        let before = open_descriptors();
        let (reader, _writer) = os_pipe::pipe().unwrap();
        for _ in 0..10 {
            let mut wrapper = FileWrapper::new(&reader).unwrap();
            wrapper.close().unwrap();
            drop(FileWrapper::new(&reader).unwrap());
        }
        assert_eq!(open_descriptors(), before + 2);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn addresses_that_are_tried_beside_each_other_leave_one_descriptor_or_none() {
    use crate::common::Silent;
    use crate::common::clock::Clocked;
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    const DELAY: Duration = Duration::from_millis(250);
    nothing_leaks(|backend| {
        let now = Rc::new(Cell::new(Instant::now()));
        let mut event_loop = EventLoop::with_poller(Clocked::new(backend, &now, &Rc::default()));
        let silent = Silent::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap().into();
        let mut addresses = vec![silent.address.clone(); 3];
        addresses.push(good);
        let before = open_descriptors();
        // Won by the last; given up; dropped with the loop.
        for number in 0..3 {
            let (probe, seen) = Probe::new();
            let client = Dispatcher::connect(addresses.clone(), probe).unwrap();
            let id = event_loop.add(client).unwrap();
            let begin = now.get();
            while now.get() < begin + 2 * DELAY {
                let end = fdloop::Deadline::At(begin + 2 * DELAY);
                event_loop.turn_until(end).unwrap();
            }
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(open_descriptors(), before + 3);
            match number {
                0 => {
                    let deadline = Instant::now() + crate::common::PATIENCE;
                    while !seen.heard("connect") && Instant::now() < deadline {
                        event_loop.turn(None).unwrap();
                    }
                    assert_eq!(seen.events(), ["connect"]);
                    event_loop.turn(Some(Duration::ZERO)).unwrap();
                    assert_eq!((open_descriptors(), event_loop.len()), (before + 1, 1));
                    event_loop.close(id).unwrap();
                }
                1 => {
                    event_loop.close(id).unwrap();
                    event_loop.turn(Some(Duration::ZERO)).unwrap();
                }
                _ => break,
            }
            assert_eq!(open_descriptors(), before);
        }
        drop(event_loop);
        // The poller may have had one as well.
        assert!(open_descriptors() <= before);
    });
}
