//! Receiving into the buffer that the channels of a loop share.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::{Probe, settle, turn_once, with_every_loop};
use fdloop::{Dispatcher, DispatcherWithSend};

type Pieces = Rc<RefCell<Vec<Vec<u8>>>>;

/// A channel that keeps what it gets, at most so many bytes at a time.
fn keeping(socket: UnixStream, size: usize) -> (Dispatcher<Probe>, Pieces) {
    let got = Pieces::default();
    let kept = Rc::clone(&got);
    let probe = Probe::silent().on_read(move |io| {
        io.recv_with(size, |_, data| {
            kept.borrow_mut().push(data.to_vec());
            Ok(())
        })
    });
    (Dispatcher::new(socket, probe).unwrap(), got)
}

#[test]
fn as_much_is_given_as_came_and_was_asked_for_whatever_the_others_ask_for() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (small, small_got) = keeping(ours, 3);
        event_loop.add(small).unwrap();
        let (ours, mut others) = UnixStream::pair().unwrap();
        let (large, large_got) = keeping(ours, 100_000);
        event_loop.add(large).unwrap();
        theirs.write_all(b"spam!").unwrap();
        others.write_all(&[b'x'; 5_000]).unwrap();
        settle(event_loop);
        assert_eq!(small_got.take(), [&b"spa"[..], b"m!"]);
        assert_eq!(large_got.take(), [vec![b'x'; 5_000]]);
    });
}

#[test]
fn nothing_is_given_at_the_end_and_the_channel_closes() {
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (channel, got) = keeping(ours, 10);
        event_loop.add(channel).unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        turn_once(event_loop);
        assert_eq!(got.take(), [[]]);
        assert!(event_loop.is_empty());
    });
}

#[test]
fn it_is_not_called_where_nothing_waits() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let kind = Rc::new(Cell::new(None));
        let seen = Rc::clone(&kind);
        let probe = Probe::silent().on_read(move |io| {
            io.recv_with(10, |_, data| {
                assert_eq!(data, b"spam");
                Ok(())
            })?;
            let result = io.recv_with(10, |_, _| -> fdloop::Result<()> { panic!("nothing came") });
            seen.set(result.as_ref().err().map(fdloop::Error::kind));
            result
        });
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"spam").unwrap();
        turn_once(event_loop);
        assert_eq!(kind.get(), Some(io::ErrorKind::WouldBlock));
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn a_channel_that_is_reached_meanwhile_has_a_buffer_of_its_own() {
    with_every_loop(|event_loop| {
        let (ours, mut inner_peer) = UnixStream::pair().unwrap();
        let inert = Probe::silent().on_read(|_| Ok(()));
        let inner = Dispatcher::new(ours, inert).unwrap();
        let inner = event_loop.add(inner).unwrap();
        let (ours, mut outer_peer) = UnixStream::pair().unwrap();
        let got = Pieces::default();
        let kept = Rc::clone(&got);
        let probe = Probe::silent().on_read(move |io| {
            io.recv_with(10, |io, outer_data| {
                io.event_loop().with(inner, |channel, event_loop| {
                    channel.enter(event_loop, |_, io| {
                        io.recv_with(10, |_, data| {
                            kept.borrow_mut().push(data.to_vec());
                            Ok(())
                        })
                    })
                })?;
                kept.borrow_mut().push(outer_data.to_vec());
                io.send(outer_data)?;
                Ok(())
            })
        });
        event_loop
            .add(DispatcherWithSend::new(ours, probe).unwrap())
            .unwrap();
        outer_peer.write_all(b"outer").unwrap();
        inner_peer.write_all(b"inner").unwrap();
        turn_once(event_loop);
        assert_eq!(got.take(), [b"inner", b"outer"]);
    });
}

#[test]
fn any_size_may_be_asked_for() {
    with_every_loop(|event_loop| {
        for (size, given) in [(0, 0), (usize::MAX, 4)] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (channel, got) = keeping(ours, size);
            let id = event_loop.add(channel).unwrap();
            theirs.write_all(b"spam").unwrap();
            turn_once(event_loop);
            assert_eq!(got.take(), [&b"spam"[..given]]);
            event_loop.close(id).unwrap();
        }
    });
}

#[test]
fn an_error_is_the_handlers_and_the_channel_goes_on() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_read(|io| {
                io.recv_with(4, |_, data| match &data[..] {
                    b"spam" => Err(io::Error::other("no spam").into()),
                    _ => Ok(()),
                })
            })
            .on_error(|_, _| Ok(()));
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"spamspameggs").unwrap();
        settle(event_loop);
        assert_eq!(seen.errors(), ["no spam", "no spam"]);
        assert_eq!(event_loop.len(), 1);
    });
}
