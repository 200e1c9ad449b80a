//! The limits of a world: extreme numbers and times, misuse, and worlds that are dropped early.
#![allow(clippy::reversed_empty_ranges, reason = "empty ranges are tested")]

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use crate::speaker::pattern;
use fdloop::sim::{End, World, for_seeds};
use fdloop::{
    Backend, Deadline, Dispatcher, DispatcherWithSend, EventLoop, Handler, Io, Result, Transport,
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const NEVER: Duration = Duration::MAX;

struct Echo;
impl Handler for Echo {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4096, |io, data| io.send(data).map(drop))
    }
}

#[test]
fn every_seed_is_a_seed() {
    for seed in [0, 1, u64::MAX - 1, u64::MAX] {
        let world = World::with_seed(seed);
        assert_eq!(world.seed(), seed);
        let mut event_loop = world.event_loop();
        let (stream, peer) = world.pair();
        event_loop
            .add(DispatcherWithSend::over(stream, Echo))
            .unwrap();
        peer.send(pattern(0..1_000));
        peer.shutdown();
        world.run(&mut event_loop).unwrap();
        assert_eq!(peer.received(), pattern(0..1_000));
        assert_eq!(peer.end(), Some(End::InOrder));
    }
    for_seeds(0, |_| panic!("there is no seed")).unwrap();
}

#[test]
fn what_is_due_after_the_end_of_the_clock_never_happens() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    let called = Rc::new(Cell::new(0));
    for years in [150, 199, 201, 500, 1_000_000] {
        let (by_world, by_timer) = (Rc::clone(&called), Rc::clone(&called));
        world.call_later(years * YEAR, move |_| by_world.set(by_world.get() + 1));
        event_loop.call_later(years * YEAR, move |_| {
            by_timer.set(by_timer.get() + 1);
            Ok(())
        });
    }
    event_loop.call_later(NEVER, |_| panic!("at the end of time"));
    world.run(&mut event_loop).unwrap();
    assert_eq!(called.get(), 4);
    assert_eq!(world.elapsed(), 199 * YEAR);
    for far in [2 * YEAR, 1_000 * YEAR, NEVER] {
        let error = world.advance(&mut event_loop, far).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("200 years"), "{error}");
    }
    // A turn whose timeout is after the end of the clock would never end.
    let error = event_loop.turn(Some(2 * YEAR)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    assert_eq!(world.elapsed(), 199 * YEAR);
    world.advance(&mut event_loop, YEAR / 2).unwrap();
    assert_eq!(world.elapsed(), 199 * YEAR + YEAR / 2);
}

#[test]
fn data_that_takes_for_ever_never_arrives_and_nothing_overtakes_it() {
    let world = World::with_seed(0);
    world.set_noise(0);
    let mut event_loop = world.event_loop();
    let (stream, peer) = world.pair();
    peer.set_room(100);
    event_loop
        .add(DispatcherWithSend::over(stream, Echo))
        .unwrap();
    peer.set_delay(Duration::ZERO..=Duration::ZERO);
    peer.send("before");
    peer.set_delay(NEVER..=NEVER);
    peer.send("lost");
    peer.set_delay(Duration::ZERO..=Duration::ZERO);
    peer.send(" and after");
    peer.shutdown();
    world.run(&mut event_loop).unwrap();
    assert_eq!(peer.received(), b"before");
    assert_eq!((peer.pending(), peer.end()), (0, None));
    assert_eq!(event_loop.len(), 1);
}

#[test]
fn pieces_and_rooms_of_no_bytes_or_of_all_there_are_carry_everything() {
    let all = usize::MAX;
    let ranges = [0..=0, 0..=1, 5..=2, all..=all, 0..=all, all..=0];
    for pieces in ranges {
        for room in [0, 1, all] {
            let world = World::with_seed(3);
            let mut event_loop = world.event_loop();
            let (stream, peer) = world.pair();
            peer.set_pieces(pieces.clone());
            peer.set_room(room);
            event_loop
                .add(DispatcherWithSend::over(stream, Echo))
                .unwrap();
            peer.send("");
            peer.send(pattern(0..50));
            peer.send([]);
            peer.shutdown();
            world.run(&mut event_loop).unwrap();
            assert_eq!(peer.received(), pattern(0..50));
            assert!(event_loop.is_empty());
        }
    }
}

#[test]
fn calls_that_move_no_bytes_return_zero() {
    let world = World::with_seed(0);
    world.set_noise(0);
    let (mut stream, peer) = world.pair();
    peer.set_room(100);
    assert_eq!(stream.send(b"").unwrap(), 0);
    assert_eq!(stream.send_vectored(&[]).unwrap(), 0);
    assert_eq!(stream.send_vectored(&[IoSlice::new(b"")]).unwrap(), 0);
    peer.send("hello");
    world.run(&mut world.event_loop()).unwrap();
    assert_eq!(stream.recv(&mut []).unwrap(), 0);
    peer.pause();
    peer.read(0);
    assert!(stream.has_unread());
    assert_eq!(stream.recv(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn decisions_between_extremes_are_within_them() {
    let world = World::with_seed(u64::MAX);
    let [short, long] = [1, 900].map(Duration::from_nanos);
    for _ in 0..100 {
        assert!((short..=long).contains(&world.duration(short..=long)));
    }
    assert_eq!(world.duration(NEVER..=NEVER), NEVER);
    assert_eq!(world.duration(NEVER..=short), NEVER);
    assert_eq!(world.between(u64::MAX..=u64::MAX), u64::MAX);
    assert_eq!(world.between(u64::MAX..=0), u64::MAX);
    assert!(world.chance(u32::MAX));
    // A world in which every call is disturbed makes progress nevertheless.
    world.set_noise(u32::MAX);
    let mut event_loop = world.event_loop();
    let (stream, peer) = world.pair();
    event_loop
        .add(DispatcherWithSend::over(stream, Echo))
        .unwrap();
    peer.send("hello");
    peer.shutdown();
    world.run(&mut event_loop).unwrap();
    assert_eq!(peer.received(), b"hello");
}

#[test]
fn a_world_runs_no_loop_of_another_world_or_over_a_system_call() {
    let world = World::with_seed(0);
    let mut foreign = vec![World::with_seed(0).event_loop()];
    for &backend in Backend::ALL {
        foreign.push(EventLoop::with_backend(backend).unwrap());
    }
    let minute = Duration::from_secs(60);
    for event_loop in &mut foreign {
        let errors = [
            world.run(event_loop),
            world.run_until(event_loop, |_| false),
            world.advance(event_loop, minute),
        ];
        for error in errors.map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("World::event_loop"), "{error}");
        }
    }
}

#[test]
fn peers_of_two_worlds_act_in_their_own() {
    let worlds = [0, 1].map(World::with_seed);
    let mut loops = worlds.each_ref().map(World::event_loop);
    let peers = [0, 1].map(|index: usize| {
        let (stream, peer) = worlds[index].pair();
        let channel = DispatcherWithSend::over(stream, Echo);
        loops[index].add(channel).unwrap();
        peer
    });
    // Calls of one world have a peer of the other speak.
    let other = peers[1].clone();
    worlds[0].call_later(Duration::from_secs(1), move |_| {
        other.send("from another world");
        other.shutdown();
    });
    for index in [1, 0, 1] {
        worlds[index].run(&mut loops[index]).unwrap();
    }
    assert_eq!(peers[1].received(), b"from another world");
    assert_eq!(peers[0].received(), b"");
    assert_eq!((loops[0].len(), loops[1].len()), (1, 0));
}

#[test]
fn a_stream_in_the_loop_of_another_world_does_no_harm() {
    let worlds = [0, 0].map(World::with_seed);
    let [(near, peer), (_same_number, other_peer)] = worlds.each_ref().map(World::pair);
    let mut event_loop = worlds[1].event_loop();
    event_loop
        .add(DispatcherWithSend::over(near, Echo))
        .unwrap();
    peer.send("hello");
    other_peer.send("hello, too");
    // It is ready for ever, as a stream of this world would be if its handler received nothing.
    let error = worlds[1].run(&mut event_loop).unwrap_err();
    assert!(error.to_string().contains("fd 1000"), "{error}");
    drop(event_loop);
    worlds[0].run(&mut worlds[0].event_loop()).unwrap();
    assert!(peer.end().is_some());
}

#[test]
fn a_world_that_is_dropped_early_lives_on_in_what_it_made() {
    let (mut event_loop, stream, peer) = {
        let world = World::with_seed(0);
        let (stream, peer) = world.pair();
        (world.event_loop(), stream, peer)
    };
    let id = event_loop
        .add(DispatcherWithSend::over(stream, Echo))
        .unwrap();
    peer.send("hello");
    peer.shutdown();
    event_loop.run().unwrap();
    assert!(!event_loop.contains(id));
    drop(event_loop);
    assert_eq!(peer.unread(), 0);

    // The loop before its streams, and streams before their peers.
    let world = World::with_seed(0);
    let (stream, peer) = world.pair();
    let mut event_loop = world.event_loop();
    event_loop.add(Dispatcher::over(stream, Echo)).unwrap();
    let (loose, loose_peer) = world.pair();
    drop((world, event_loop, loose));
    peer.send("lost");
    loose_peer.close();
    loose_peer.close();
    loose_peer.reset();
    assert_eq!((peer.end(), loose_peer.end()), (None, None));
}

#[test]
fn calls_that_keep_the_clock_from_moving_are_found() {
    fn again(world: &World) {
        world.call_later(Duration::ZERO, again);
    }
    let world = World::with_seed(0);
    again(&world);
    let mut event_loop = world.event_loop();
    let error = world.run(&mut event_loop).unwrap_err();
    assert!(error.to_string().contains("100000 calls"), "{error}");
    let (stream, _peer) = world.pair();
    event_loop
        .add(DispatcherWithSend::over(stream, Echo))
        .unwrap();
    again(&world);
    let error = event_loop.turn(None).unwrap_err();
    assert!(error.to_string().contains("100000 calls"), "{error}");
}

#[test]
fn a_loop_that_is_to_stop_is_not_run() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    event_loop.stop();
    world.run(&mut event_loop).unwrap();
    world.advance(&mut event_loop, YEAR).unwrap();
    assert_eq!(world.elapsed(), Duration::ZERO);
    let error = world.run_until(&mut event_loop, |_| false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn a_call_can_run_another_loop_of_the_world() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    let (stream, peer) = world.pair();
    event_loop
        .add(DispatcherWithSend::over(stream, Echo))
        .unwrap();
    let inner = Rc::new(Cell::new(false));
    let (ended, speaker) = (Rc::clone(&inner), peer.clone());
    world.call_later(Duration::from_secs(1), move |world| {
        let mut nested = world.event_loop();
        nested.call_later(Duration::from_secs(1), |_| Ok(()));
        world
            .run_until(&mut nested, |nested| {
                nested.next_deadline() == Deadline::Never
            })
            .unwrap();
        ended.set(true);
        speaker.send("hello");
    });
    let mut looks = 0;
    world
        .run_until(&mut event_loop, |_| {
            looks += 1;
            peer.received() == b"hello"
        })
        .unwrap();
    assert!(inner.get() && world.elapsed() >= Duration::from_secs(2));
    assert!(looks > 2);
}

#[test]
fn a_panic_of_a_call_leaves_a_world_that_can_be_looked_at() {
    let error = for_seeds(1, |world| {
        let (stream, peer) = world.pair();
        let mut event_loop = world.event_loop();
        event_loop.add(Dispatcher::over(stream, Echo))?;
        peer.send("hello");
        world.call_later(Duration::from_secs(1), |_| panic!("a broken test"));
        world.run(&mut event_loop)
    });
    let error = io::Error::from(error.unwrap_err());
    assert!(error.to_string().contains("a broken test"), "{error}");
    assert!(error.to_string().contains("fd 1000"), "{error}");
}
