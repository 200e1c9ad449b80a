//! State that handlers and the program share through the loop.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::{Probe, turn_once, with_every_loop};
use fdloop::{Dispatcher, Error, EventLoop, FileDispatcher, Handler, Io, Result, StateId, View};
use os_pipe::pipe;

/// Writes what it reads to a record that it shares, and reads no more once that is full.
struct Source(StateId<Vec<u8>>);

impl Handler for Source {
    fn readable(&self, io: &View<'_>) -> bool {
        io.event_loop().state(self.0).is_some_and(|r| r.len() < 8)
    }
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 4];
        let n = io.recv(&mut buf)?;
        let record = io.event_loop().state_mut(self.0);
        record.unwrap().extend_from_slice(&buf[..n]);
        Ok(())
    }
}

#[test]
fn handlers_of_several_types_and_the_program_share_a_value() {
    with_every_loop(|event_loop| {
        let record = event_loop.keep(Vec::new());
        let (reader, mut writer) = pipe().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let file = FileDispatcher::new(reader, Source(record)).unwrap();
        event_loop.add(file).unwrap();
        event_loop
            .add(Dispatcher::new(ours, Source(record)).unwrap())
            .unwrap();
        writer.write_all(b"pipepipe").unwrap();
        turn_once(event_loop);
        assert_eq!(event_loop.state(record).unwrap(), b"pipe");
        theirs.write_all(b"sock").unwrap();
        event_loop.state_mut(record).unwrap().clear();
        turn_once(event_loop);
        assert_eq!(event_loop.state(record).unwrap().len(), 8);
        // It is full, as the predicates see.
        assert_eq!(event_loop.turn(Some(std::time::Duration::ZERO)).unwrap(), 0);
        assert_eq!(event_loop.take(record).unwrap().len(), 8);
        assert!(event_loop.state(record).is_none() && event_loop.take(record).is_none());
    });
}

#[test]
fn an_id_finds_the_value_that_it_was_given_for_and_no_other() {
    with_every_loop(|event_loop| {
        let one = event_loop.keep(1);
        let two = event_loop.keep(2);
        assert_ne!(one, two);
        assert_eq!(event_loop.take(one), Some(1));
        let three = event_loop.keep(3);
        assert_ne!(one, three);
        assert_eq!(event_loop.state(one), None);
        assert_eq!(event_loop.state(two), Some(&2));
        // Nor that of another loop.
        let mut other = EventLoop::new().unwrap();
        let foreign = other.keep(9);
        assert_eq!(event_loop.state_mut(foreign), None);
    });
}

#[test]
fn a_value_outlives_the_channels() {
    struct Last(Rc<Cell<bool>>, UnixStream);
    impl Drop for Last {
        fn drop(&mut self) {
            let mut end = [0];
            self.1.set_nonblocking(true).unwrap();
            let read = std::io::Read::read(&mut self.1, &mut end);
            self.0.set(matches!(read, Ok(0)));
        }
    }
    with_every_loop(|event_loop| {
        let mut inner = EventLoop::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let channel_was_closed = Rc::default();
        inner.keep(Last(Rc::clone(&channel_was_closed), theirs));
        inner
            .add(Dispatcher::new(ours, Probe::silent()).unwrap())
            .unwrap();
        drop(inner);
        assert!(channel_was_closed.get());
        assert!(event_loop.is_empty());
    });
}

#[test]
fn run_until_closed_gives_the_channel_back_with_its_handler() {
    struct Collect(Vec<u8>);
    impl Handler for Collect {
        fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
            let mut buf = [0; 4];
            let n = io.recv(&mut buf)?;
            self.0.extend_from_slice(&buf[..n]);
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (other, _others) = UnixStream::pair().unwrap();
        let other = Dispatcher::new(other, Probe::silent()).unwrap();
        let other = event_loop.add(other).unwrap();
        for background in [false, true] {
            let channel = Dispatcher::new(ours.try_clone().unwrap(), Collect(Vec::new())).unwrap();
            let id = match background {
                false => event_loop.add(channel).unwrap(),
                true => event_loop.add_background(channel).unwrap(),
            };
            if !background {
                theirs.write_all(b"all of it").unwrap();
                theirs.shutdown(std::net::Shutdown::Write).unwrap();
            }
            let channel = event_loop.run_until_closed(id).unwrap().unwrap();
            assert!(channel.is_closed() && channel.as_fd().is_none());
            let all: &[u8] = if background { b"" } else { b"all of it" };
            assert_eq!(channel.into_handler().0, all);
            assert!(event_loop.contains(other) && !event_loop.contains(id));
            let again = event_loop.run_until_closed(id);
            assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
        }
    });
}

#[test]
fn run_until_closed_ends_for_other_reasons_without_the_channel() {
    with_every_loop(|event_loop| {
        let add = |event_loop: &mut EventLoop, probe: Probe| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            let channel = Dispatcher::new(ours, probe).unwrap();
            (event_loop.add(channel).unwrap(), theirs)
        };
        let (id, _theirs) = add(event_loop, Probe::silent());
        let stops = Probe::silent().on_read(|io| {
            io.event_loop().stop();
            io.close();
            Ok(())
        });
        let _stops = add(event_loop, stops);
        assert!(event_loop.run_until_closed(id).unwrap().is_none());
        assert!(event_loop.contains(id));

        let exits = Probe::silent().on_read(|io| {
            io.close();
            Err(Error::ExitNow)
        });
        let _exits = add(event_loop, exits);
        let exit = event_loop.run_until_closed(id).map(drop).unwrap_err();
        assert!(matches!(exit, Error::ExitNow));

        let removes = Probe::silent().on_read(move |io| {
            drop(io.event_loop().remove(id));
            Ok(())
        });
        let (remover, _peer) = add(event_loop, removes);
        assert!(event_loop.run_until_closed(id).unwrap().is_none());
        // Closed by its id, it is given back too.
        event_loop.close(remover).unwrap();
        let (id, _peer) = add(event_loop, Probe::silent());
        let closes = Probe::silent().on_read(move |io| {
            io.event_loop().close(id)?;
            Ok(())
        });
        let _closes = add(event_loop, closes);
        assert!(event_loop.run_until_closed(id).unwrap().is_some());
    });
}

#[test]
fn a_loop_has_one_extension_of_each_type() {
    #[derive(Default, PartialEq, Debug)]
    struct One(u32);
    #[derive(Default, PartialEq, Debug)]
    struct Other(u32);
    with_every_loop(|event_loop| {
        event_loop.extension::<One>().0 = 1;
        event_loop.extension::<Other>().0 = 2;
        assert_eq!(*event_loop.extension::<One>(), One(1));
        assert_eq!(*event_loop.extension::<Other>(), Other(2));
        assert_eq!(*EventLoop::new().unwrap().extension::<One>(), One(0));
    });
}
