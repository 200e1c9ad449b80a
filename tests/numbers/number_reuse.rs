//! A descriptor number that is closed and given out again within a pass (CPython issue
//! 75114).
#![allow(
    clippy::missing_const_for_thread_local,
    reason = "they are const; clippy does not see that where the system keeps them"
)]

use std::cell::Cell;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::alone;
use crate::common::{Probe, Seen, settle, turn_once, with_every_loop};
use fdloop::{ChannelId, Dispatcher, EventLoop, Io};
use nix::fcntl::{FcntlArg, fcntl};

type Id = ChannelId<Dispatcher<Probe>>;

/// A duplicate of `stream` under the number `number`, which must be free.
#[track_caller]
fn under_number(stream: &UnixStream, number: RawFd) -> OwnedFd {
    let given = fcntl(stream.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(number)).unwrap();
    assert_eq!(given, number, "the number was not free");
    #[allow(unsafe_code, reason = "the number comes from fcntl")]
    // SAFETY: fcntl has just made this descriptor, and no other code knows it.
    unsafe {
        OwnedFd::from_raw_fd(given)
    }
}

/// Two channels that are both ready, and whichever runs first does `act` to the
/// other one. Answers what both have seen after one pass.
fn two_ready(
    event_loop: &mut EventLoop,
    act: fn(&mut Io<'_>, Id),
) -> ([Rc<Seen>; 2], Vec<UnixStream>) {
    let ids: Rc<Cell<Option<[Id; 2]>>> = Rc::default();
    let mut all = Vec::new();
    let mut peers = Vec::new();
    for me in 0..2 {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"ready").unwrap();
        peers.push(theirs);
        let (probe, seen) = Probe::new();
        let ids = Rc::clone(&ids);
        let probe = probe.on_read(move |io| {
            io.recv(&mut [0; 16])?;
            let other = ids.get().unwrap()[1 - me];
            act(io, other);
            Ok(())
        });
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        all.push((id, seen));
    }
    ids.set(Some([all[0].0, all[1].0]));
    assert_eq!(
        turn_once(event_loop),
        1,
        "the second one is gone when its turn comes"
    );
    ([Rc::clone(&all[0].1), Rc::clone(&all[1].1)], peers)
}

/// One of them has read, and the other has heard nothing at all.
#[track_caller]
fn assert_one_read(seen: &[Rc<Seen>; 2]) {
    let mut events = [seen[0].events(), seen[1].events()];
    events.sort();
    assert_eq!(events, [vec![], vec!["read"]]);
}

thread_local! {
    /// The channel that took the number, and the other end of its stream.
    static TAKEN: Cell<Option<(Rc<Seen>, UnixStream)>> = const { Cell::new(None) };
    /// A descriptor that took the number and does not belong to a channel.
    static FOREIGN: Cell<Option<OwnedFd>> = const { Cell::new(None) };
}

/// Adds a channel under `number`, over `spare`, that has something to read.
fn take_number(io: &mut Io<'_>, number: RawFd, spare: (UnixStream, UnixStream)) {
    let (stream, mut peer) = spare;
    peer.write_all(b"later").unwrap();
    let (probe, seen) = Probe::new();
    let channel = Dispatcher::new(under_number(&stream, number), probe).unwrap();
    assert_eq!(channel.as_raw_fd(), number);
    io.event_loop().add(channel).unwrap();
    TAKEN.set(Some((seen, peer)));
}

#[test]
fn a_channel_that_took_the_number_of_a_closed_one_gets_none_of_its_events() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let (seen, _peers) = two_ready(event_loop, |io, other| {
            // Made before, so that it does not take the number itself.
            let spare = UnixStream::pair().unwrap();
            assert!(io.event_loop().close(other).unwrap());
            take_number(io, other.fd(), spare);
        });
        assert_one_read(&seen);
        let (new, _peer) = TAKEN.take().unwrap();
        assert!(new.events().is_empty(), "it was not watched in that pass");
        event_loop.turn(None).unwrap();
        assert_eq!(new.take(), ["read"], "it is watched in the next one");
        assert_eq!(new.received(), b"later");
    });
}

#[test]
fn a_channel_that_took_the_number_of_a_removed_one_gets_none_of_its_events() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let (seen, _peers) = two_ready(event_loop, |io, other| {
            let spare = UnixStream::pair().unwrap();
            drop(io.event_loop().remove(other).unwrap());
            take_number(io, other.fd(), spare);
        });
        assert_one_read(&seen);
        let (new, _peer) = TAKEN.take().unwrap();
        assert!(new.events().is_empty());
        event_loop.turn(None).unwrap();
        assert_eq!(new.take(), ["read"]);
    });
}

#[test]
fn a_number_reused_outside_of_the_loop_gets_no_event_either() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let (seen, _peers) = two_ready(event_loop, |io, other| {
            let (stream, _) = UnixStream::pair().unwrap();
            assert!(io.event_loop().close(other).unwrap());
            FOREIGN.set(Some(under_number(&stream, other.fd())));
        });
        assert_one_read(&seen);
        settle(event_loop);
        assert_eq!(event_loop.len(), 1);
        drop(FOREIGN.take().unwrap());
    });
}

#[test]
fn a_channel_that_is_removed_and_added_again_waits_for_the_next_pass() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let (seen, _peers) = two_ready(event_loop, |io, other| {
            let channel = io.event_loop().remove(other).unwrap();
            let new = io.event_loop().add(channel).unwrap();
            assert_ne!(new, other, "ids are not given out twice");
            assert_eq!(new.fd(), other.fd());
            assert!(io.event_loop().get(other).is_none());
        });
        assert_one_read(&seen);
    });
}

#[test]
fn an_old_id_does_not_reach_the_channel_that_took_its_number() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (next, _other) = UnixStream::pair().unwrap();
        let old = event_loop
            .add(Dispatcher::new(ours, Probe::silent()).unwrap())
            .unwrap();
        assert!(event_loop.close(old).unwrap());
        let channel = Dispatcher::new(under_number(&next, old.fd()), Probe::silent()).unwrap();
        let new = event_loop.add(channel).unwrap();
        assert_eq!(new.fd(), old.fd());
        assert!(event_loop.get(old).is_none());
        assert!(event_loop.get_mut(old).is_none());
        assert!(event_loop.remove(old).is_none());
        assert!(!event_loop.close(old).unwrap());
        let error = event_loop.with(old, |_, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(event_loop.get(new).is_some());
    });
}
