//! Adding channels, and the ids under which they are reached.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Probe, settle, turn_until, turn_until_empty, with_every_loop};
use fdloop::{
    AnyId, AsyncChat, ChannelId, ChatHandler, ChatIo, Dispatcher, DispatcherWithSend, Endpoint,
    Error, EventLoop, FileDispatcher, Handler, Io, Result, Socket,
};
use os_pipe::pipe;

fn connected(probe: Probe) -> (Dispatcher<Probe>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Dispatcher::new(ours, probe).unwrap(), theirs)
}

/// A dispatcher that cannot be added.
fn closed() -> Dispatcher<Probe> {
    let (mut channel, _) = connected(Probe::silent());
    channel.close();
    channel
}

#[test]
fn a_failed_add_is_an_error_like_any_other() {
    type Any = Box<dyn std::error::Error + Send + Sync>;
    fn add(event_loop: &mut EventLoop) -> std::result::Result<(), Any> {
        event_loop.add(closed())?;
        Ok(())
    }
    fn add_io(event_loop: &mut EventLoop) -> std::io::Result<()> {
        event_loop.add(closed())?;
        Ok(())
    }
    with_every_loop(|event_loop| {
        let error = add(event_loop).unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            add_io(event_loop).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        // And with the channel.
        let failed = event_loop.try_add(closed()).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
        assert!(failed.channel.is_closed());
    });
}

/// Copies to the other one, and closes it at its own end.
struct Half {
    other: ChannelId<DispatcherWithSend<Half>>,
}

impl Handler for Half {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 64];
        let n = io.recv(&mut buf)?;
        if let Some(other) = io.event_loop().get_mut(self.other) {
            other.send(&buf[..n])?;
        }
        Ok(())
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        if let Some(other) = io.event_loop().get_mut(self.other) {
            other.close_when_done();
        }
        Ok(())
    }
}

#[test]
fn two_channels_know_each_other_from_the_beginning() {
    with_every_loop(|event_loop| {
        let (left, mut west) = UnixStream::pair().unwrap();
        let (right, mut east) = UnixStream::pair().unwrap();
        let mut given = None;
        let id = event_loop
            .add_with(|event_loop, id| {
                assert!(!event_loop.contains(id) && event_loop.get(id).is_none());
                given = Some(id);
                let right = DispatcherWithSend::new(right, Half { other: id })?;
                let other = event_loop.add(right)?;
                DispatcherWithSend::new(left, Half { other })
            })
            .unwrap();
        let given = given.unwrap();
        assert_eq!(given, id, "one id, known early or late");
        assert!(HashSet::from([given]).contains(&id));
        east.write_all(b"to the west").unwrap();
        settle(event_loop);
        let mut got = [0; 11];
        west.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"to the west");
        event_loop
            .with(given, |half, _| half.send(b"hi").map(drop))
            .unwrap();
        assert!(event_loop.remove(given).is_some());
        assert!(!event_loop.contains(given) && !event_loop.contains(id));
        assert!(!event_loop.close(given).unwrap());
        drop(east);
        turn_until_empty(event_loop);
    });
}

#[test]
fn an_id_whose_channel_was_never_made_finds_nothing() {
    with_every_loop(|event_loop| {
        let mut given = None;
        let failed = event_loop.add_with(|_, id| {
            given = Some(id);
            Err::<Dispatcher<Probe>, _>(Error::other("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        event_loop
            .add_with(|_, id| {
                assert_ne!(Some(id), given);
                Ok(closed())
            })
            .unwrap_err();
        let (channel, _theirs) = connected(Probe::silent());
        event_loop.add(channel).unwrap();
        assert!(event_loop.get(given.unwrap()).is_none());
        assert!(!event_loop.contains(given.unwrap()));
    });
}

#[test]
fn a_channel_in_the_background_does_not_keep_run_going() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let (channel, mut control) = connected(probe);
        let background = event_loop.add_background(channel).unwrap();
        event_loop.run().unwrap();
        assert!(event_loop.contains(background));

        // It is served while others keep the loop.
        let (channel, other) = connected(Probe::silent());
        event_loop.add(channel).unwrap();
        control.write_all(b"x").unwrap();
        turn_until(event_loop, "it has read", || seen.received_len() == 1);
        drop(other);
        event_loop.run().unwrap();
        assert_eq!(event_loop.len(), 1);
        // A handler that closes the last other channel before the wait.
        let (channel, _other) = connected(Probe::silent());
        let last = event_loop.add(channel).unwrap();
        event_loop.get_mut(last).unwrap().close();
        event_loop.run().unwrap();
        // A program that embeds the loop still waits for it.
        let waited = event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(waited, 0);
        drop(control);
        turn_until_empty(event_loop);
    });
}

struct Quiet;
impl Handler for Quiet {}
impl ChatHandler for Quiet {
    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn the_endpoint_of_every_kind_of_channel_is_reached_without_its_type() {
    with_every_loop(|event_loop| {
        let socket = || Socket::pair().unwrap().0;
        let (reader, _writer) = pipe().unwrap();
        let plain = event_loop
            .add(Dispatcher::new(socket(), Quiet).unwrap())
            .unwrap();
        let buffered = event_loop
            .add(DispatcherWithSend::new(socket(), Quiet).unwrap())
            .unwrap();
        let file = event_loop
            .add(FileDispatcher::new(reader, Quiet).unwrap())
            .unwrap();
        let chat = event_loop
            .add(AsyncChat::new(socket(), Quiet).unwrap())
            .unwrap();
        let ids: [AnyId; 4] = [plain.into(), buffered.into(), file.into(), chat.into()];
        for id in ids {
            assert!(event_loop.endpoint(id).unwrap().connected());
            event_loop.endpoint_mut(id).unwrap().close();
            assert!(event_loop.part::<String>(id).is_none());
        }
        settle(event_loop);
        assert!(event_loop.is_empty());
        assert!(ids.iter().all(|id| event_loop.endpoint(*id).is_none()));
        assert!(event_loop.part_mut::<Endpoint>(ids[0]).is_none());
    });
}

#[test]
fn a_handler_knows_its_own_id_and_whether_a_channel_is_gone() {
    with_every_loop(|event_loop| {
        let own = Rc::new(Cell::new(None));
        let told = Rc::clone(&own);
        let probe = Probe::silent().on_read(move |io| {
            let id = io.id();
            assert!(io.event_loop().contains(id));
            assert!(io.event_loop().endpoint(id).is_none(), "it is being served");
            told.set(Some(id));
            io.close();
            Ok(())
        });
        let (channel, mut theirs) = connected(probe);
        let id = event_loop.add(channel).unwrap();
        theirs.write_all(b"x").unwrap();
        turn_until(event_loop, "it was read", || own.get().is_some());
        assert_eq!(own.get().unwrap().typed(), id);
        assert!(!event_loop.contains(id));
        assert!(event_loop.serving_id().is_none());
    });
}
