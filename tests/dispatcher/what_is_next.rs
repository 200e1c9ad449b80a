//! The order of calls if several become due in one handler, or before the first.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

use crate::common::{Probe, Seen, TempDir, turn_until_empty, with_every_loop};
use fdloop::{Dispatcher, DispatcherWithSend, Error, EventLoop, Io, Result};

/// A way to make a channel over one end of a connection.
type Add = fn(&mut EventLoop, UnixStream, Probe);

const KINDS: [Add; 2] = [
    |event_loop, stream, probe| {
        let channel = Dispatcher::new(stream, probe).unwrap();
        event_loop.add(channel).unwrap();
    },
    |event_loop, stream, probe| {
        let channel = DispatcherWithSend::new(stream, probe).unwrap();
        event_loop.add(channel).unwrap();
    },
];

/// Serves a channel whose peer has gone, with `read` as its handler, to its end.
fn serve_an_end(
    event_loop: &mut EventLoop,
    add: Add,
    read: impl FnMut(&mut Io<'_>) -> Result<()> + 'static,
) -> Rc<Seen> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let (probe, seen) = Probe::new();
    add(event_loop, ours, probe.on_read(read));
    turn_until_empty(event_loop);
    seen
}

#[test]
fn the_end_of_input_is_reported_before_the_close_whichever_a_handler_finds_first() {
    with_every_loop(|event_loop| {
        for add in KINDS {
            let receive_first = serve_an_end(event_loop, add, |io| {
                assert_eq!(io.recv(&mut [0; 8])?, 0);
                io.send(b"too late")?;
                Ok(())
            });
            let send_first = serve_an_end(event_loop, add, |io| {
                io.send(b"too late")?;
                assert_eq!(io.recv(&mut [0; 8])?, 0);
                Ok(())
            });
            for seen in [receive_first, send_first] {
                assert_eq!(seen.events(), ["read", "eof", "close"]);
                assert_eq!(seen.reason().unwrap().0, Some(libc::EPIPE));
            }
        }
    });
}

#[test]
fn a_channel_that_its_handler_ends_has_no_handle_eof_as_well() {
    with_every_loop(|event_loop| {
        for add in KINDS {
            let seen = serve_an_end(event_loop, add, |io| {
                assert_eq!(io.recv(&mut [0; 8])?, 0);
                io.fail(Error::other("not what was agreed"));
                Ok(())
            });
            assert_eq!(seen.events(), ["read", "close"]);
        }
    });
}

/// A listener at a path of its own. A connection to it is established at once.
fn listener() -> (TempDir, UnixListener) {
    let directory = TempDir::new();
    let listener = UnixListener::bind(directory.join("socket")).unwrap();
    (directory, listener)
}

#[test]
fn sends_between_an_immediate_connect_and_handle_connect_arrive_first_and_in_order() {
    with_every_loop(|event_loop| {
        let (directory, listener) = listener();
        let path = directory.join("socket");
        for early in [0, 1, 3] {
            let (probe, seen) = Probe::new();
            let probe = probe.on_connect(|io| {
                assert!(io.connected() && !io.connecting());
                io.send(b"hello")?;
                io.close_when_done();
                Ok(())
            });
            let mut channel = DispatcherWithSend::connect(path.as_path(), probe).unwrap();
            assert!(channel.connected() && !channel.connecting());
            for _ in 0..early {
                assert_eq!(channel.send(b"early ").unwrap(), 6);
            }
            let id = event_loop.add(channel).unwrap();
            event_loop.get_mut(id).unwrap().send(b"added ").unwrap();
            turn_until_empty(event_loop);

            let mut received = String::new();
            let (mut peer, _) = listener.accept().unwrap();
            peer.read_to_string(&mut received).unwrap();
            assert_eq!(received, "early ".repeat(early) + "added hello");
            assert_eq!(seen.events().first(), Some(&"connect"));
            assert_eq!(seen.count("connect"), 1);
            assert_eq!(seen.events().last(), Some(&"close"));
        }
    });
}

#[test]
fn a_connection_that_is_lost_before_handle_connect_has_that_call_and_then_closes() {
    with_every_loop(|event_loop| {
        let (directory, listener) = listener();
        let path = directory.join("socket");
        for send in [false, true] {
            let (probe, seen) = Probe::new();
            let probe = probe.on_read(|io| io.recv(&mut [0; 8]).map(drop));
            let mut channel = DispatcherWithSend::connect(path.as_path(), probe).unwrap();
            drop(listener.accept().unwrap());
            if send {
                // The peer is gone, which ends the channel.
                channel.send(b"hello?").unwrap();
            }
            event_loop.add(channel).unwrap();
            turn_until_empty(event_loop);
            let expected: &[&str] = if send {
                &["connect", "close"]
            } else {
                &["connect", "read", "eof", "close"]
            };
            assert_eq!(seen.events(), expected, "send: {send}");
            let errno = seen.reason().and_then(|(errno, _)| errno);
            assert_eq!(errno, send.then_some(libc::EPIPE));
        }
    });
}

#[test]
fn a_handle_connect_that_fails_is_called_again_at_the_next_event() {
    with_every_loop(|event_loop| {
        let (directory, listener) = listener();
        let mut failures = 2;
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_connect(move |io| {
                if failures > 0 {
                    failures -= 1;
                    return Err(Error::other("not now"));
                }
                io.close();
                Ok(())
            })
            .on_error(|_, _| Ok(()));
        let path = directory.join("socket");
        let channel = DispatcherWithSend::connect(path.as_path(), probe).unwrap();
        event_loop.add(channel).unwrap();
        turn_until_empty(event_loop);
        let expected = ["connect", "error", "connect", "error", "connect"];
        assert_eq!(seen.events(), expected);
        drop(listener);
    });
}
