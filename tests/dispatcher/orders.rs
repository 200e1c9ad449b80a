//! Calls in unusual orders.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::{Probe, settle, turn_once, turn_until, turn_until_empty, with_every_loop};
use fdloop::{Connection, Dispatcher, DispatcherWithSend, Error, Family, SocketType, Transport};

#[test]
fn a_channel_that_its_handle_error_closes_by_its_id_gets_no_further_call() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_read(|io| {
                // The end of the input is due.
                while io.recv(&mut [0; 8])? > 0 {}
                Err(Error::other("not what was agreed"))
            })
            .on_error(|io, _| {
                let id = io.id();
                io.event_loop().close(id)?;
                Ok(())
            });
        event_loop
            .add(DispatcherWithSend::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["read", "error"]);
    });
}

#[test]
fn the_error_of_handle_error_is_the_reason_of_the_close_that_it_causes() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_read(|_| Err(Error::other("the first")))
            .on_error(|_, _| Err(Error::other("the second")));
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["read", "error", "close"]);
        assert_eq!(seen.reason(), Some((None, "the second".to_owned())));
    });
}

#[test]
fn the_output_of_a_direct_channel_cannot_end_before_it_is_connected() {
    let mut listener = Dispatcher::listen("127.0.0.1:0", Probe::silent()).unwrap();
    let refused = listener.shutdown_when_done().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotConnected);
    assert!(refused.to_string().contains("listener"), "{refused}");
    let mut channel = Dispatcher::unconnected(Probe::silent());
    let pair = (Family::Inet, SocketType::Stream);
    channel.create_socket(pair.0, pair.1).unwrap();
    let refused = channel.shutdown_when_done().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotConnected);
    assert!(refused.to_string().contains("handle_connect"), "{refused}");
}

/// A transport that takes one byte a call after two refusals, and whose output ends after as many.
struct Reluctant {
    socket: UnixStream,
    refusals: Rc<Cell<u32>>,
}

impl Reluctant {
    fn pair() -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let refusals = Rc::new(Cell::new(2));
        let reluctant = Self {
            socket: ours,
            refusals,
        };
        (reluctant, theirs)
    }

    fn refuse(&self) -> io::Result<()> {
        if self.refusals.get() > 0 {
            self.refusals.set(self.refusals.get() - 1);
            return Err(ErrorKind::WouldBlock.into());
        }
        self.refusals.set(2);
        Ok(())
    }
}

impl Transport for Reluctant {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.refuse()?;
        self.socket.write(&data[..1])
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.refuse()?;
        self.socket.shutdown(Shutdown::Write)
    }
}

#[test]
fn an_end_of_the_output_for_which_there_is_no_room_is_tried_again() {
    with_every_loop(|event_loop| {
        for output in [&b""[..], b"abc"] {
            let (reluctant, mut theirs) = Reluctant::pair();
            let (probe, seen) = Probe::new();
            let mut channel = DispatcherWithSend::over(reluctant, probe);
            channel.send(output).unwrap();
            channel.shutdown_when_done().unwrap();
            let id = event_loop.add(channel).unwrap();
            let reader = std::thread::spawn(move || {
                let mut heard = Vec::new();
                theirs.read_to_end(&mut heard).unwrap();
                theirs.write_all(b"still here").unwrap();
                heard
            });
            turn_until(event_loop, "the peer has read the end", || {
                seen.received() == b"still here"
            });
            assert_eq!(reader.join().unwrap(), output);
            event_loop.close(id).unwrap();
        }
    });
}

/// A transport over a connection, such as TLS would be.
struct Around(Connection);

impl Transport for Around {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }
    fn holds_input(&self) -> bool {
        self.0.holds_input()
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf)
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.send(data)
    }
}

#[test]
fn the_reply_that_announces_another_transport_leaves_although_the_peer_waits_for_it() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let (next, next_seen) = Probe::new();
        let mut next = Some(next);
        let probe = probe.on_read(move |io| {
            io.recv(&mut [0; 64])?;
            io.send(b"go ")?;
            io.send(b"ahead\n")?;
            let next = next.take().unwrap();
            io.replace(move |connection, event_loop| {
                event_loop.add(DispatcherWithSend::over(Around(connection), next))?;
                Ok(())
            })
        });
        event_loop
            .add(DispatcherWithSend::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"STARTTLS\n").unwrap();
        settle(event_loop);
        theirs.set_nonblocking(true).unwrap();
        let mut heard = [0; 64];
        let n = theirs.read(&mut heard).unwrap();
        assert_eq!(heard[..n], *b"go ahead\n");
        theirs.write_all(b"hello").unwrap();
        drop(theirs);
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["read"]);
        assert_eq!(next_seen.received(), b"hello");
    });
}

/// A transport that never takes a byte, and never returns `WouldBlock`.
struct Idle(UnixStream);

impl Transport for Idle {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
    fn send(&mut self, _: &[u8]) -> io::Result<usize> {
        Ok(0)
    }
}

#[test]
fn a_transport_that_takes_nothing_does_not_hold_up_the_connection_over_it() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (next, seen) = Probe::new();
        let mut next = Some(next);
        let probe = Probe::silent().on_read(move |io| {
            io.recv(&mut [0; 64])?;
            io.send(b"lost")?;
            let next = next.take().unwrap();
            io.replace(move |connection, event_loop| {
                event_loop.add(Dispatcher::over(Around(connection), next))?;
                Ok(())
            })
        });
        event_loop
            .add(DispatcherWithSend::over(Idle(ours), probe))
            .unwrap();
        theirs.write_all(b"x").unwrap();
        turn_once(event_loop);
        theirs.write_all(b"heard").unwrap();
        drop(theirs);
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"heard");
    });
}

#[test]
fn input_that_is_put_back_at_the_end_of_the_input_is_read_before_that_end() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (next, seen) = Probe::new();
        let mut next = Some(next);
        let probe = Probe::silent().on_eof(move |io| {
            let next = next.take().unwrap();
            io.replace(move |connection, event_loop| {
                let connection = connection.unread(b"the rest");
                event_loop.add(DispatcherWithSend::from_connection(connection, next))?;
                Ok(())
            })
        });
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"the rest");
        assert_eq!(seen.events().last_chunk(), Some(&["eof", "close"]));
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_socket_keeps_its_methods_while_it_has_input_that_was_put_back() {
    with_every_loop(|event_loop| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let local = ours.local_addr().unwrap();
        let checked = Rc::new(Cell::new(false));
        let done = Rc::clone(&checked);
        let probe = Probe::silent().on_read(move |io| {
            io.recv(&mut [0; 64])?;
            let done = Rc::clone(&done);
            io.replace(move |connection, event_loop| {
                let connection = connection.unread(b"more");
                let mut next = DispatcherWithSend::from_connection(connection, Probe::silent());
                assert_eq!(next.local_addr()?, local.into());
                next.set_nodelay(false)?;
                assert_eq!(next.send_oob(b"!")?, 1);
                done.set(true);
                event_loop.add(next)?;
                Ok(())
            })
        });
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        turn_once(event_loop);
        assert!(checked.get());
    });
}

/// A transport whose send receives, as that of a protocol with a handshake may.
struct Talkative {
    socket: UnixStream,
    held: Vec<u8>,
}

impl Transport for Talkative {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            return self.socket.read(buf);
        }
        let n = buf.len().min(self.held.len());
        buf[..n].copy_from_slice(&self.held[..n]);
        self.held.drain(..n);
        Ok(n)
    }
    fn holds_input(&self) -> bool {
        !self.held.is_empty()
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut buf = [0; 64];
        match self.socket.read(&mut buf) {
            Ok(n) => self.held.extend_from_slice(&buf[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.socket.write(data)
    }
}

#[test]
fn input_that_a_send_of_the_transport_received_is_read() {
    with_every_loop(|event_loop| {
        for buffered in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let talkative = Talkative {
                socket: ours,
                held: Vec::new(),
            };
            theirs.write_all(b"early").unwrap();
            let (probe, seen) = Probe::new();
            seen.wants_write.set(true);
            let probe = probe.on_write({
                let seen = Rc::clone(&seen);
                move |io| {
                    seen.wants_write.set(false);
                    io.send(b"1")?;
                    io.send(b"2").map(drop)
                }
            });
            if buffered {
                event_loop
                    .add(DispatcherWithSend::over(talkative, probe).into_inner())
                    .unwrap();
            } else {
                event_loop.add(Dispatcher::over(talkative, probe)).unwrap();
            }
            // The write event alone, which leaves nothing for the descriptor to report.
            seen.wants_read.set(false);
            turn_once(event_loop);
            seen.wants_read.set(true);
            settle(event_loop);
            assert_eq!(seen.received(), b"early", "buffered: {buffered}");
            drop(theirs);
            turn_until_empty(event_loop);
        }
    });
}

#[test]
fn a_channel_cannot_be_replaced_while_the_loop_does_not_serve_it() {
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut channel = DispatcherWithSend::new(ours, Probe::silent()).unwrap();
        let entered = channel.enter(event_loop, |_, io| io.replace(|_, _| panic!("not called")));
        let refused = entered.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains("EventLoop::with"), "{refused}");
        let id = event_loop.add(channel).unwrap();
        settle(event_loop);
        assert!(event_loop.contains(id), "it goes on");
    });
}
