//! Transports of the program's own, at the ends of their connections.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use crate::common::{Probe, settle, turn_until, turn_until_empty, with_every_loop};
use fdloop::{Dispatcher, DispatcherWithSend, Socket, Transport};

/// A transport as a cipher over TCP would be: it holds input that was received and not read.
struct Own {
    stream: TcpStream,
    held: Vec<u8>,
}

impl Transport for Own {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.as_fd())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            return self.stream.read(buf);
        }
        let n = self.held.as_slice().read(buf)?;
        self.held.drain(..n);
        Ok(n)
    }
    fn holds_input(&self) -> bool {
        !self.held.is_empty()
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.stream.write(data)
    }
    fn outlives_input(&self) -> bool {
        true
    }
    fn reset_on_close(&mut self) -> io::Result<()> {
        Ok(Socket::adopt(self.stream.try_clone()?)?.set_reset_on_close()?)
    }
}

fn connection() -> (Own, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let held = Vec::new();
    (Own { stream, held }, theirs)
}

#[test]
fn abort_resets_the_connection_of_a_transport_that_can() {
    with_every_loop(|event_loop| {
        let (own, mut theirs) = connection();
        let channel = Dispatcher::over(Box::new(own), Probe::silent());
        let id = event_loop.add(channel).unwrap();
        event_loop.get_mut(id).unwrap().abort();
        settle(event_loop);
        assert!(event_loop.is_empty());
        let error = theirs.read(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_after_a_half_close_ends_a_channel_over_a_transport_that_outlives_its_input() {
    with_every_loop(|event_loop| {
        let (own, theirs) = connection();
        let (probe, seen) = Probe::new();
        let channel = DispatcherWithSend::over(own, probe.on_eof(|_| Ok(())));
        event_loop.add(channel).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        turn_until(event_loop, "the end of the input", || seen.heard("eof"));
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
fn input_that_a_transport_holds_is_read_before_a_failed_send_closes_the_channel() {
    with_every_loop(|event_loop| {
        let (mut own, theirs) = connection();
        own.held = b"last words".to_vec();
        let socket = Socket::adopt(theirs).unwrap();
        socket.set_reset_on_close().unwrap();
        drop(socket);
        let (probe, seen) = Probe::new();
        let heard = seen.clone();
        let probe = probe.on_read(move |io| {
            let mut buf = [0; 2];
            let n = io.recv(&mut buf)?;
            heard.receive(&buf[..n]);
            // The reset has arrived: this fails.
            io.send(b"hello")?;
            Ok(())
        });
        event_loop
            .add(DispatcherWithSend::over(own, probe))
            .unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"last words");
        assert_eq!(seen.count("close"), 1);
        assert!(seen.reason().is_some());
    });
}
