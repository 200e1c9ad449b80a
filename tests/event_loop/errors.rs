//! The effects of the errors of handlers.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::{Probe, Seen, on_every_backend, settle, turn_once, with_every_loop};
use fdloop::{Address, Channel, Dispatcher, Error, EventLoop, Result, Transport};

/// A channel that has something to read.
fn add_reader(event_loop: &mut EventLoop, probe: Probe) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    theirs
}

/// Returns the calls of a channel whose `handle_read` returns `error`, in one pass.
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

const DISCONNECTED: [i32; 7] = [
    libc::ECONNRESET,
    libc::ENOTCONN,
    libc::ESHUTDOWN,
    libc::ECONNABORTED,
    libc::EPIPE,
    libc::EBADF,
    libc::ETIMEDOUT,
];

/// A transport that is ready, and of which every read fails.
struct Failing(UnixStream, i32);

impl Transport for Failing {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
    fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(self.1))
    }
    fn send(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(self.1))
    }
}

#[test]
fn errors_of_its_own_descriptor_that_say_that_it_is_gone_call_handle_close_alone() {
    with_every_loop(|event_loop| {
        for number in DISCONNECTED {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            let (probe, seen) = Probe::new();
            let channel = Dispatcher::over(Failing(ours, number), probe);
            event_loop.add(channel).unwrap();
            turn_once(event_loop);
            assert_eq!(seen.events(), ["read", "close"], "errno {number}");
            assert_eq!(seen.reason().unwrap().0, Some(number));
            assert!(event_loop.is_empty());
        }
    });
}

#[test]
fn errors_of_another_descriptor_call_handle_error_whatever_they_say() {
    with_every_loop(|event_loop| {
        for number in DISCONNECTED {
            let seen = heard_after(event_loop, errno(number));
            assert_eq!(seen.events(), ["read", "error", "close"], "errno {number}");
            assert_eq!(seen.reason().unwrap().0, Some(number));
            assert!(event_loop.is_empty());
        }
    });
}

#[test]
fn a_connection_whose_handler_finds_another_pipe_broken_can_go_on() {
    with_every_loop(|event_loop| {
        let (reader, mut log) = os_pipe::pipe().unwrap();
        drop(reader);
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_read(move |io| {
                io.recv(&mut [0; 16])?;
                log.write_all(b"a line for a log that nothing reads")?;
                Ok(())
            })
            .on_error(|_, _| Ok(()));
        let mut theirs = add_reader(event_loop, probe);
        turn_once(event_loop);
        theirs.write_all(b"y").unwrap();
        turn_once(event_loop);
        assert_eq!(seen.events(), ["read", "error", "read", "error"]);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn another_channels_error_is_not_the_end_of_the_channel_that_met_it() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_read(|io| {
                io.recv(&mut [0; 16])?;
                // ENOTCONN, and it names the listener's descriptor.
                let mut listener = Dispatcher::listen("127.0.0.1:0", Probe::silent())?;
                let failed = listener.recv(&mut [0; 16]);
                assert!(failed.as_ref().unwrap_err().is_disconnected());
                failed.map(drop)
            })
            .on_error(|_, _| Ok(()));
        let _theirs = add_reader(event_loop, probe);
        turn_once(event_loop);
        assert_eq!(seen.events(), ["read", "error"]);
        assert_eq!(event_loop.len(), 1);
        event_loop.close_all(false).unwrap();
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

/// A channel that is not a dispatcher: it fails at its first read, and notes what
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
                3 => assert_eq!(seen.events(), ["read", "error", "close"]),
                _ => assert_eq!(seen.events(), ["read"]),
            }
        }
    });
}

/// A listener's address, and a client that has connected to it.
fn dialled(event_loop: &mut EventLoop, probe: Probe) -> (Address, TcpStream) {
    let listener = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
    let address = listener.local_addr().unwrap();
    event_loop.add(listener).unwrap();
    let client = TcpStream::connect(("127.0.0.1", address.port().unwrap())).unwrap();
    (address, client)
}

#[test]
fn an_error_of_handle_accepted_concerns_that_connection_alone() {
    let errors: [fn() -> Error; 3] = [
        || Error::other("disk full"),
        || errno(libc::ENOTCONN),
        || errno(libc::EMFILE),
    ];
    with_every_loop(|event_loop| {
        for error in errors {
            let (probe, seen) = Probe::new();
            let probe = probe.on_accepted(move |_, _, _| Err(error()));
            let (address, mut client) = dialled(event_loop, probe);
            turn_once(event_loop);
            assert_eq!(seen.events(), ["accepted", "accept_error"], "{}", error());
            let peer = client.local_addr().unwrap();
            assert_eq!(seen.errors(), [format!("{peer}: {}", error())]);
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "it is dropped");
            // The server goes on.
            let _next = TcpStream::connect(("127.0.0.1", address.port().unwrap())).unwrap();
            turn_once(event_loop);
            assert_eq!(seen.count("accept_error"), 2);
            assert_eq!(event_loop.len(), 1);
            event_loop.close_all(false).unwrap();
        }
    });
}

#[test]
fn a_handle_accepted_that_would_block_has_no_error() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let probe = probe.on_accepted(|_, _, _| Err(errno(libc::EAGAIN)));
        let _client = dialled(event_loop, probe);
        turn_once(event_loop);
        assert_eq!(seen.events(), ["accepted"]);
        event_loop.close_all(false).unwrap();
    });
}

#[test]
fn what_handle_accept_error_returns_is_the_listeners() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_accepted(|_, _, _| Err(Error::other("disk full")))
            .on_accept_error(|_, _, error| Err(error));
        let _client = dialled(event_loop, probe);
        turn_once(event_loop);
        let expected = ["accepted", "accept_error", "error", "close"];
        assert_eq!(seen.events(), expected);
        assert!(event_loop.is_empty());
    });
}

#[test]
fn the_exit_error_of_handle_accepted_leaves_the_loop() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let probe = probe.on_accepted(|_, _, _| Err(Error::ExitNow));
        let _client = dialled(event_loop, probe);
        assert!(matches!(event_loop.run(), Err(Error::ExitNow)));
        assert_eq!(seen.events(), ["accepted"]);
        event_loop.close_all(false).unwrap();
    });
}

#[test]
fn a_panic_of_handle_accepted_that_the_loop_catches_concerns_that_connection_alone() {
    on_every_backend(|backend| {
        let builder = EventLoop::builder().backend(backend).catch_panics(true);
        let mut event_loop = builder.build().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_accepted(|_, _, _| panic!("this is expected"));
        let _client = dialled(&mut event_loop, probe);
        turn_once(&mut event_loop);
        assert_eq!(seen.events(), ["accepted", "accept_error"]);
        assert!(seen.errors()[0].contains("this is expected"));
        assert_eq!(event_loop.len(), 1);
    });
}
