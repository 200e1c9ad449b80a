//! Urgent bytes for a channel whose handler knows nothing of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, with_every_loop};
use fdloop::{DispatcherWithSend, EventLoop, Handler, Io, Result};
use nix::sys::socket::{MsgFlags, send};

/// Does what the defaults do, but for what is received.
struct Echo;

impl Handler for Echo {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 8192];
        let n = io.recv(&mut buf)?;
        io.send(&buf[..n]).map(drop)
    }
}

/// The client of an echo channel in the loop.
fn client_of_an_echo(event_loop: &mut EventLoop) -> TcpStream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    let (server, _) = listener.accept().unwrap();
    event_loop
        .add(DispatcherWithSend::new(server, Echo).unwrap())
        .unwrap();
    client
}

/// Makes passes until `expected` has come back.
#[track_caller]
fn assert_echoed(event_loop: &mut EventLoop, client: &mut TcpStream, expected: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    let mut got = Vec::new();
    while got.len() < expected.len() {
        let left = expected.len() - got.len();
        assert!(Instant::now() < deadline, "{left} bytes never came back");
        event_loop.turn(Some(Duration::from_millis(10))).unwrap();
        let mut buf = [0; 64];
        match client.read(&mut buf) {
            Ok(n) => got.extend_from_slice(&buf[..n]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(got, expected);
}

/// How many events in a row the default takes for something that passes, and a few
/// passes for other things.
const AWAKE: usize = 64 + 4;

/// After some passes, the loop serves no channel any more, and sleeps.
#[track_caller]
fn assert_falls_asleep(event_loop: &mut EventLoop) {
    let timeout = Duration::from_millis(2);
    let mut awake = 0;
    for _ in 0..AWAKE + 10 {
        let begin = Instant::now();
        if event_loop.turn(Some(timeout)).unwrap() > 0 || begin.elapsed() < timeout {
            awake += 1;
        }
    }
    assert!(awake <= AWAKE, "{awake} passes found something to do");
}

#[test]
fn an_urgent_byte_that_is_not_received_does_not_keep_the_loop_awake() {
    with_every_loop(|event_loop| {
        let mut client = client_of_an_echo(event_loop);
        for _ in 0..3 {
            // The last byte is the urgent one.
            let sent = send(client.as_raw_fd(), b"hello!", MsgFlags::MSG_OOB).unwrap();
            assert_eq!(sent, 6);
            assert_echoed(event_loop, &mut client, b"hello");
            assert_falls_asleep(event_loop);
            client.write_all(b"still here").unwrap();
            assert_echoed(event_loop, &mut client, b"still here");
            assert_falls_asleep(event_loop);
        }
        assert_eq!(event_loop.len(), 1);
    });
}
