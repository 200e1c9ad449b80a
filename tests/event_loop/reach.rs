//! The ways in which a handler reaches its own channel, others and the loop.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{
    Probe, Seen, settle, turn_once, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{ChannelId, Dispatcher, DispatcherWithSend, EventLoop, Io, Result};

type Id = ChannelId<Dispatcher<Probe>>;

fn add(event_loop: &mut EventLoop, probe: Probe) -> (Id, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let id = event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    (id, theirs)
}

/// Runs `act` in a handler, beside another channel, whose id it is given.
fn in_a_handler(
    event_loop: &mut EventLoop,
    act: impl Fn(&mut Io<'_>, Id) -> Result<()> + 'static,
) -> (Rc<Seen>, Id, UnixStream) {
    let (other, seen) = Probe::new();
    let (other, others_peer) = add(event_loop, other);
    let (probe, actor) = Probe::new();
    let probe = probe.on_read(move |io| match io.recv(&mut [0; 16])? {
        0 => Ok(()),
        _ => act(io, other),
    });
    let (_, mut theirs) = add(event_loop, probe);
    theirs.write_all(b"go").unwrap();
    turn_once(event_loop);
    assert_eq!(actor.events(), ["read"], "{:?}", actor.errors());
    // The actor's peer goes, and so does the actor.
    drop(theirs);
    turn_until(event_loop, "the actor ends", || actor.count("close") == 1);
    (seen, other, others_peer)
}

#[test]
fn a_handler_can_add_a_channel() {
    with_every_loop(|event_loop| {
        let new = Rc::new(Cell::new(None));
        let made = Rc::clone(&new);
        in_a_handler(event_loop, move |io, _| {
            let (probe, seen) = Probe::new();
            let (_, theirs) = add(io.event_loop(), probe);
            made.set(Some((seen, theirs)));
            Ok(())
        });
        let (seen, mut theirs): (Rc<Seen>, UnixStream) = new.take().unwrap();
        theirs.write_all(b"hello").unwrap();
        turn_until(event_loop, "the new one reads", || seen.received_len() == 5);
    });
}

#[test]
fn a_handler_can_close_another_channel() {
    with_every_loop(|event_loop| {
        let (seen, id, _theirs) = in_a_handler(event_loop, |io, other| {
            assert!(io.event_loop().close(other)?);
            assert!(!io.event_loop().close(other)?, "it is gone at once");
            assert!(io.event_loop().get(other).is_none());
            Ok(())
        });
        assert!(event_loop.get(id).is_none());
        assert!(seen.events().is_empty(), "close calls no handle_close");
        assert!(event_loop.is_empty());
    });
}

#[test]
fn a_handler_can_take_another_channel_out_open_as_it_is() {
    with_every_loop(|event_loop| {
        let taken: Rc<Cell<Option<Dispatcher<Probe>>>> = Rc::default();
        let out = Rc::clone(&taken);
        let (seen, _, mut theirs) = in_a_handler(event_loop, move |io, other| {
            out.set(io.event_loop().remove(other));
            Ok(())
        });
        assert!(event_loop.is_empty());
        let channel = taken.take().unwrap();
        assert!(channel.connected());
        event_loop.add(channel).unwrap();
        theirs.write_all(b"hello").unwrap();
        turn_until(event_loop, "it reads again", || seen.received_len() == 5);
    });
}

#[test]
fn a_handler_can_reach_another_channel_and_write_to_it() {
    with_every_loop(|event_loop| {
        let (_, _, mut theirs) = in_a_handler(event_loop, |io, other| {
            let other = io.event_loop().get_mut(other).unwrap();
            assert_eq!(other.send(b"from the other").unwrap(), 14);
            Ok(())
        });
        let mut got = [0; 14];
        std::io::Read::read_exact(&mut theirs, &mut got).unwrap();
        assert_eq!(&got, b"from the other");
    });
}

#[test]
fn a_handler_that_writes_to_a_channel_that_is_gone_is_not_hurt_and_the_channel_hears_of_it() {
    with_every_loop(|event_loop| {
        let (victim, seen) = Probe::new();
        seen.wants_read.set(false);
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let victim = event_loop
            .add(DispatcherWithSend::new(ours, victim).unwrap())
            .unwrap();
        let (probe, actor) = Probe::new();
        let probe = probe.on_read(move |io| {
            io.recv(&mut [0; 16])?;
            let other = io.event_loop().get_mut(victim).unwrap();
            assert_eq!(other.send(b"hello?")?, 6);
            Ok(())
        });
        let (_, mut theirs) = add(event_loop, probe);
        theirs.write_all(b"go").unwrap();
        turn_until(event_loop, "it hears", || seen.heard("close"));
        assert_eq!(seen.events(), ["close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::EPIPE));
        assert_eq!(actor.events(), ["read"]);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn a_handler_can_call_another_channels_handler_through_with() {
    with_every_loop(|event_loop| {
        let (seen, id, mut theirs) = in_a_handler(event_loop, |io, other| {
            io.event_loop().with(other, |channel, event_loop| {
                channel.enter(event_loop, |_, io| {
                    io.send(b"bye")?;
                    io.close_when_done();
                    Ok(())
                })
            })
        });
        assert_eq!(seen.events(), ["close"]);
        assert!(event_loop.get(id).is_none());
        let mut got = String::new();
        std::io::Read::read_to_string(&mut theirs, &mut got).unwrap();
        assert_eq!(got, "bye");
    });
}

#[test]
fn the_channel_that_is_served_is_reached_through_its_io_alone() {
    with_every_loop(|event_loop| {
        in_a_handler(event_loop, |io, _| {
            let len = io.event_loop().len();
            let me: Id = io.event_loop().serving().unwrap();
            assert!(io.event_loop().get(me).is_none());
            assert!(io.event_loop().get_mut(me).is_none());
            assert!(io.event_loop().remove(me).is_none());
            let error = io.event_loop().with(me, |_, _| Ok(())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert_eq!(io.event_loop().len(), len, "it counts all the same");
            assert!(io.connected());
            Ok(())
        });
    });
}

#[test]
fn a_handler_can_stop_the_loop() {
    with_every_loop(|event_loop| {
        let (_other, _others) = add(event_loop, Probe::silent());
        let probe = Probe::silent().on_read(|io| {
            io.recv(&mut [0; 16])?;
            io.event_loop().stop();
            Ok(())
        });
        let (_, mut theirs) = add(event_loop, probe);
        theirs.write_all(b"stop").unwrap();
        event_loop.run().unwrap();
        assert_eq!(event_loop.len(), 2);
    });
}

#[test]
fn a_handler_can_close_all() {
    with_every_loop(|event_loop| {
        let (others, peers): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (probe, seen) = Probe::new();
                let (_, peer) = add(event_loop, probe);
                (seen, peer)
            })
            .unzip();
        let probe = Probe::silent().on_read(|io| io.event_loop().close_all(false));
        let (_, mut theirs) = add(event_loop, probe);
        theirs.write_all(b"all").unwrap();
        event_loop.run().unwrap();
        assert!(event_loop.is_empty());
        assert!(others.iter().all(|seen| seen.events().is_empty()));
        drop(peers);
    });
}

#[test]
fn a_handler_cannot_run_the_loop_again_and_is_told_so() {
    with_every_loop(|event_loop| {
        in_a_handler(event_loop, |io, _| {
            let event_loop = io.event_loop();
            for error in [
                event_loop.turn(Some(Duration::ZERO)).unwrap_err(),
                event_loop.run().unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(matches!(error, fdloop::Error::Misuse(_)));
                let text = error.to_string();
                assert!(text.contains("handler"), "{text}");
            }
            Ok(())
        });
        // And the loop is none the worse for it.
        settle(event_loop);
    });
}

#[test]
fn a_handler_may_put_another_loop_in_the_place_of_the_one_that_runs() {
    crate::common::on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let (_, mut other) = add(&mut event_loop, Probe::silent());
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(move |io| {
            *io.event_loop() = EventLoop::with_backend(backend)?;
            Ok(())
        });
        let (_, mut theirs) = add(&mut event_loop, probe);
        theirs.write_all(b"replace it").unwrap();
        turn_once(&mut event_loop);
        assert_eq!(seen.events(), ["read"]);
        assert!(event_loop.is_empty());
        // The channels went with their loop, and so did the one that was served.
        for peer in [&mut other, &mut theirs] {
            let mut rest = [0; 16];
            let end = std::io::Read::read(peer, &mut rest);
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        }
        // The new one works.
        let (probe, seen) = Probe::new();
        let (_, mut theirs) = add(&mut event_loop, probe);
        theirs.write_all(b"x").unwrap();
        turn_once(&mut event_loop);
        assert_eq!(seen.events(), ["read"]);
    });
}

#[test]
fn a_handler_can_close_the_one_that_called_it_through_with() {
    with_every_loop(|event_loop| {
        let caller: Rc<Cell<Option<Id>>> = Rc::default();
        let to_close = Rc::clone(&caller);
        let (callee, callee_seen) = Probe::new();
        let callee = callee.on_write(move |io| {
            let caller = to_close.get().unwrap();
            assert!(io.event_loop().close(caller)?);
            Ok(())
        });
        let (callee, _callees_peer) = add(event_loop, callee);
        let (probe, seen) = Probe::new();
        seen.wants_write.set(true);
        let probe = probe.on_read(move |io| {
            io.event_loop().with(callee, |channel, event_loop| {
                fdloop::Channel::handle_write_event(channel, event_loop)
            })
        });
        let (id, mut theirs) = add(event_loop, probe);
        caller.set(Some(id));
        theirs.write_all(b"go").unwrap();
        turn_once(event_loop);
        assert_eq!(callee_seen.events(), ["write"]);
        assert_eq!(seen.events(), ["read"], "nothing follows the close");
        assert!(event_loop.get(id).is_none());
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn two_halves_of_a_forwarder_know_each_other_by_their_ids() {
    type Half = ChannelId<DispatcherWithSend<Probe>>;
    with_every_loop(|event_loop| {
        let ids: Rc<Cell<Option<[Half; 2]>>> = Rc::default();
        let mut peers = Vec::new();
        let mut made = Vec::new();
        for me in 0..2 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (to_read, to_end) = (Rc::clone(&ids), Rc::clone(&ids));
            let other = move |ids: &Cell<Option<[Half; 2]>>| ids.get().unwrap()[1 - me];
            let probe = Probe::silent()
                .on_read(move |io| {
                    let mut buf = [0; 1000];
                    let n = io.recv(&mut buf)?;
                    if let Some(other) = io.event_loop().get_mut(other(&to_read)) {
                        other.send(&buf[..n])?;
                    }
                    Ok(())
                })
                .on_eof(move |io| {
                    // The other half hears that there is no more, and goes when it
                    // has heard the same.
                    match io.event_loop().get_mut(other(&to_end)) {
                        Some(other) if !other.input_ended() => other.shutdown_when_done(),
                        Some(other) => {
                            other.close_when_done();
                            io.close_when_done();
                            Ok(())
                        }
                        None => Ok(()),
                    }
                });
            let channel = DispatcherWithSend::new(ours, probe).unwrap();
            made.push(event_loop.add(channel).unwrap());
            peers.push(theirs);
        }
        ids.set(Some([made[0], made[1]]));
        let mut client = peers.remove(0);
        let mut server = peers.remove(0);
        let client = std::thread::spawn(move || {
            client.write_all(&[b'>'; 300_000]).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            std::io::Read::read_to_end(&mut client, &mut answer).unwrap();
            answer
        });
        let server = std::thread::spawn(move || {
            let mut question = Vec::new();
            std::io::Read::read_to_end(&mut server, &mut question).unwrap();
            server.write_all(&[b'<'; 300_000]).unwrap();
            question
        });
        turn_until_empty(event_loop);
        assert!(client.join().unwrap() == [b'<'; 300_000]);
        assert!(server.join().unwrap() == [b'>'; 300_000]);
    });
}
