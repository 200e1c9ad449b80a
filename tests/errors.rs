//! What becomes of the errors of handlers.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use common::{Probe, Seen, settle, turn_once, with_every_loop};
use fdloop::{Channel, Dispatcher, Error, EventLoop, Result};

/// A channel that has something to read.
fn add_reader(event_loop: &mut EventLoop, probe: Probe) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    theirs
}

/// What a channel hears when its `handle_read` returns `error`, in one pass.
fn heard_after(event_loop: &mut EventLoop, error: Error) -> Rc<Seen> {
    let (probe, seen) = Probe::new();
    let mut error = Some(error);
    let probe = probe.on_read(move |_| error.take().map_or(Ok(()), Err));
    let _theirs = add_reader(event_loop, probe);
    turn_once(event_loop);
    seen
}

fn errno(number: i32) -> Error {
    io::Error::from_raw_os_error(number).into()
}

#[test]
fn errors_that_say_that_the_connection_is_gone_call_handle_close_alone() {
    with_every_loop(|event_loop| {
        for number in [
            libc::ECONNRESET,
            libc::ENOTCONN,
            libc::ESHUTDOWN,
            libc::ECONNABORTED,
            libc::EPIPE,
            libc::EBADF,
            libc::ETIMEDOUT,
        ] {
            let seen = heard_after(event_loop, errno(number));
            assert_eq!(seen.events(), ["read", "close"], "errno {number}");
            assert_eq!(seen.reason().unwrap().0, Some(number));
            assert!(event_loop.is_empty());
        }
    });
}

#[test]
fn other_errors_call_handle_error_and_then_handle_close_with_the_error_as_reason() {
    let errors: [fn() -> Error; 5] = [
        || errno(libc::EIO),
        || errno(libc::ECONNREFUSED),
        || errno(libc::ENOSPC),
        || io::Error::new(io::ErrorKind::InvalidData, "spam").into(),
        || Error::other("spam"),
    ];
    with_every_loop(|event_loop| {
        for error in errors {
            let text = error().to_string();
            let seen = heard_after(event_loop, error());
            assert_eq!(seen.events(), ["read", "error", "close"], "{text}");
            assert_eq!(seen.errors(), [text.as_str()]);
            assert_eq!(seen.reason().unwrap().1, text);
            assert!(event_loop.is_empty());
        }
    });
}

#[test]
fn would_block_and_interrupted_are_no_errors() {
    let errors: [fn() -> Error; 4] = [
        || errno(libc::EAGAIN),
        || errno(libc::EINTR),
        || io::Error::from(io::ErrorKind::WouldBlock).into(),
        || io::Error::from(io::ErrorKind::Interrupted).into(),
    ];
    with_every_loop(|event_loop| {
        for error in errors {
            let seen = heard_after(event_loop, error());
            assert_eq!(seen.events(), ["read"], "{}", error());
            assert_eq!(event_loop.len(), 1);
            event_loop.close_all(false).unwrap();
        }
    });
}

/// A channel that is no dispatcher: it fails at its first read, and notes what
/// becomes of that.
struct Bare {
    stream: UnixStream,
    error: Option<Error>,
    told: Rc<RefCell<Vec<&'static str>>>,
}

impl AsRawFd for Bare {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Channel for Bare {
    fn writable(&self, _: &EventLoop) -> bool {
        false
    }
    fn handle_read_event(&mut self, _: &mut EventLoop) -> Result<()> {
        self.told.borrow_mut().push("read");
        self.error.take().map_or(Ok(()), Err)
    }
    fn handle_error(&mut self, _: &mut EventLoop, error: Error) -> Result<()> {
        self.told.borrow_mut().push("error");
        Err(error)
    }
    fn handle_close(&mut self, _: &mut EventLoop, _: Option<Error>) -> Result<()> {
        self.told.borrow_mut().push("close");
        Ok(())
    }
}

#[test]
fn the_errors_of_a_channel_that_is_no_dispatcher_are_classed_alike() {
    let cases: [(i32, &[&str]); 5] = [
        (libc::EAGAIN, &["read"]),
        (libc::EINTR, &["read"]),
        (libc::ECONNRESET, &["read", "close"]),
        (libc::EPIPE, &["read", "close"]),
        (libc::EIO, &["read", "error", "close"]),
    ];
    with_every_loop(|event_loop| {
        for (number, expected) in cases {
            let (stream, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            let told = Rc::default();
            let bare = Bare {
                stream,
                error: Some(errno(number)),
                told: Rc::clone(&told),
            };
            event_loop.add(bare).unwrap();
            turn_once(event_loop);
            assert_eq!(*told.borrow(), expected, "errno {number}");
            assert_eq!(event_loop.is_empty(), expected.len() > 1);
            event_loop.close_all(false).unwrap();
        }
    });
}

#[test]
fn a_channel_whose_handle_error_forgives_goes_on() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let mut failures = 0;
        let probe = probe
            .on_read(move |io| {
                failures += 1;
                if failures < 3 {
                    return Err(Error::other("not yet"));
                }
                io.recv(&mut [0; 16]).map(drop)
            })
            .on_error(|_, _| Ok(()));
        let _theirs = add_reader(event_loop, probe);
        settle(event_loop);
        assert_eq!(seen.events(), ["read", "error", "read", "error", "read"]);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn an_error_of_handle_error_ends_the_channel() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_read(|_| Err(Error::other("first")))
            .on_error(|_, _| Err(Error::other("second")));
        let _theirs = add_reader(event_loop, probe);
        turn_once(event_loop);
        assert_eq!(seen.events(), ["read", "error", "close"]);
        assert!(event_loop.is_empty());
    });
}

#[test]
fn only_the_channel_whose_handler_failed_is_affected() {
    with_every_loop(|event_loop| {
        let mut all = Vec::new();
        for i in 0..6 {
            let (probe, seen) = Probe::new();
            let probe = match i {
                1 => probe.on_read(|_| Err(Error::other("an error"))),
                3 => probe.on_read(|_| Err(errno(libc::EPIPE))),
                _ => probe,
            };
            all.push((add_reader(event_loop, probe), seen));
        }
        assert_eq!(turn_once(event_loop), 6);
        assert_eq!(event_loop.len(), 4);
        for (i, (_, seen)) in all.iter().enumerate() {
            match i {
                1 => assert_eq!(seen.events(), ["read", "error", "close"]),
                3 => assert_eq!(seen.events(), ["read", "close"]),
                _ => assert_eq!(seen.events(), ["read"]),
            }
        }
    });
}

/// A listener whose `handle_accepted` returns `error`, after somebody connected.
fn heard_by_listener(event_loop: &mut EventLoop, error: Error) -> Rc<Seen> {
    let (probe, seen) = Probe::new();
    let mut error = Some(error);
    let probe = probe.on_accepted(move |_, _, _| error.take().map_or(Ok(()), Err));
    let listener = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
    let address = listener.local_addr().unwrap();
    event_loop.add(listener).unwrap();
    let _client = TcpStream::connect(("127.0.0.1", address.port().unwrap())).unwrap();
    turn_once(event_loop);
    seen
}

#[test]
fn an_error_of_handle_accepted_is_the_listeners() {
    with_every_loop(|event_loop| {
        let seen = heard_by_listener(event_loop, Error::other("disk full"));
        assert_eq!(seen.events(), ["accepted", "error", "close"]);
        assert_eq!(seen.errors(), ["disk full"]);
        assert!(event_loop.is_empty());
    });
}

#[test]
fn a_connection_that_is_gone_when_it_is_accepted_is_nothing_to_its_listener() {
    with_every_loop(|event_loop| {
        let seen = heard_by_listener(event_loop, errno(libc::ENOTCONN));
        assert_eq!(seen.events(), ["accepted"]);
        assert_eq!(event_loop.len(), 1);
        event_loop.close_all(false).unwrap();
    });
}
