//! Ids of channels: stale ones find nothing, nor do those of another loop or type.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use crate::common::{Probe, settle, turn_until_empty, with_every_loop};
use fdloop::{Channel, ChannelId, Dispatcher, DispatcherWithSend, EventLoop};

fn add(event_loop: &mut EventLoop) -> (ChannelId<Dispatcher<Probe>>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let channel = Dispatcher::new(ours, Probe::silent()).unwrap();
    (event_loop.add(channel).unwrap(), theirs)
}

/// `id` finds nothing by any means.
#[track_caller]
fn assert_finds_nothing<C: Channel>(event_loop: &mut EventLoop, id: ChannelId<C>) {
    let len = event_loop.len();
    assert!(event_loop.get(id).is_none());
    assert!(event_loop.get_mut(id).is_none());
    assert!(event_loop.remove(id).is_none());
    assert!(!event_loop.close(id).unwrap());
    let mut visited = false;
    let error = event_loop.with(id, |_, _| {
        visited = true;
        Ok(())
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&format!("fd {}", id.fd())));
    assert!(!visited);
    assert_eq!(event_loop.len(), len);
}

#[test]
fn an_id_finds_its_channel_for_as_long_as_it_lives() {
    with_every_loop(|event_loop| {
        let (id, _theirs) = add(event_loop);
        for _ in 0..3 {
            settle(event_loop);
            assert_eq!(event_loop.get(id).unwrap().as_raw_fd(), id.fd());
            assert_eq!(event_loop.get_mut(id).unwrap().as_raw_fd(), id.fd());
            event_loop.with(id, |_, _| Ok(())).unwrap();
        }
    });
}

#[test]
fn the_id_of_a_channel_that_ended_finds_nothing() {
    with_every_loop(|event_loop| {
        let (id, theirs) = add(event_loop);
        drop(theirs);
        turn_until_empty(event_loop);
        assert_finds_nothing(event_loop, id);
    });
}

#[test]
fn the_id_of_a_channel_that_was_closed_or_removed_finds_nothing() {
    with_every_loop(|event_loop| {
        let (id, _theirs) = add(event_loop);
        assert!(event_loop.close(id).unwrap());
        assert_finds_nothing(event_loop, id);
        let (id, _theirs) = add(event_loop);
        let channel = event_loop.remove(id).unwrap();
        assert_finds_nothing(event_loop, id);
        // The same channel gets another id when it is added again.
        let new = event_loop.add(channel).unwrap();
        assert_ne!(new, id);
        assert_finds_nothing(event_loop, id);
        assert!(event_loop.get(new).is_some());
    });
}

#[test]
fn the_id_of_another_loop_finds_nothing() {
    with_every_loop(|event_loop| {
        let mut other = EventLoop::new().unwrap();
        let (channel, _theirs) = UnixStream::pair().unwrap();
        let (channel, fd) = {
            let channel = Dispatcher::new(channel, Probe::silent()).unwrap();
            let fd = channel.as_raw_fd();
            (channel, fd)
        };
        let foreign = other.add(channel).unwrap();
        // The first channel of each, and under the same number.
        let moved = other.remove(foreign).unwrap();
        let own = event_loop.add(moved).unwrap();
        assert_eq!((foreign.fd(), own.fd()), (fd, fd));
        assert_finds_nothing(event_loop, foreign);
        assert!(event_loop.get(own).is_some());
    });
}

#[test]
fn an_id_that_was_given_the_wrong_type_finds_nothing() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut theirs, b"x").unwrap();
        let wrong = std::rc::Rc::new(std::cell::Cell::new(None));
        let told = std::rc::Rc::clone(&wrong);
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(move |io| {
            told.set(io.event_loop().serving::<DispatcherWithSend<Probe>>());
            io.recv(&mut [0; 16]).map(drop)
        });
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        settle(event_loop);
        assert!(seen.heard("read"));
        let wrong = wrong.take().unwrap();
        assert!(event_loop.get(wrong).is_none());
        assert!(event_loop.get_mut(wrong).is_none());
        assert!(event_loop.remove(wrong).is_none());
        assert!(event_loop.with(wrong, |_, _| Ok(())).is_err());
        assert!(event_loop.get(id).is_some(), "and its owner keeps it");
    });
}

#[test]
fn ids_are_small_values_that_differ_and_say_their_number() {
    with_every_loop(|event_loop| {
        let mut ids = HashSet::new();
        for _ in 0..50 {
            let (id, _theirs) = add(event_loop);
            assert!(ids.insert(id), "{id:?} was given out before");
            assert!(format!("{id:?}").contains(&format!("fd {}", id.fd())));
            assert!(event_loop.close(id).unwrap());
        }
        assert!(size_of::<ChannelId<Dispatcher<Probe>>>() <= 16);
    });
}
