//! The world's clock, its generator, and how a run ends.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use fdloop::sim::{World, for_seeds};
use fdloop::{AsyncChat, ChatHandler, ChatIo, DispatcherWithSend, EventLoop, Handler, Io, Result};

const MS: Duration = Duration::from_millis(1);

/// Sends back what it receives.
struct Echo;

impl Handler for Echo {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4096, |io, data| io.send(data).map(drop))
    }
}

/// Receives nothing.
struct Deaf;

impl Handler for Deaf {
    fn handle_read(&mut self, _: &mut Io<'_>) -> Result<()> {
        Ok(())
    }
}

/// Plays something in which the seed decides much.
fn play(seed: u64) -> (String, Vec<u8>) {
    let world = World::with_seed(seed);
    let mut event_loop = world.event_loop();
    let mut peers = Vec::new();
    for number in 0..3 {
        let (stream, peer) = world.pair();
        event_loop
            .add(DispatcherWithSend::over(stream, Echo))
            .unwrap();
        let later = peer.clone();
        let delay = world.duration(Duration::ZERO..=50 * MS);
        world.call_later(delay, move |world| {
            later.send(vec![number; world.between(0..=900) as usize]);
            later.shutdown();
        });
        peers.push(peer);
    }
    world.run(&mut event_loop).unwrap();
    let steps: Vec<_> = world.trace().iter().map(ToString::to_string).collect();
    let received = peers.iter().flat_map(|peer| peer.received()).collect();
    (steps.join("\n"), received)
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another_one() {
    for seed in 0..20 {
        let (trace, received) = play(seed);
        assert_eq!((&trace, &received), (&play(seed).0, &play(seed).1));
        assert_ne!(trace, play(seed + 1).0);
        assert!(
            trace.contains("fd 1000: ready for Readiness(READABLE)"),
            "{trace}"
        );
    }
}

#[test]
fn time_passes_only_while_the_loop_waits() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    let begin = event_loop.now();
    let fired = Rc::new(RefCell::new(Vec::new()));
    for delay in [86_400_000, 7, 2] {
        let fired = Rc::clone(&fired);
        event_loop.call_later(delay * MS, move |event_loop: &mut EventLoop| {
            fired.borrow_mut().push(event_loop.now() - begin);
            Ok(())
        });
    }
    let fired_by_world = Rc::clone(&fired);
    world.call_later(3 * MS, move |world| {
        fired_by_world.borrow_mut().push(world.elapsed());
    });
    assert_eq!(world.elapsed(), Duration::ZERO);
    event_loop.run().unwrap();
    assert_eq!(*fired.borrow(), [2 * MS, 3 * MS, 7 * MS, 86_400_000 * MS]);
    assert_eq!(world.now(), event_loop.now());
}

#[test]
fn a_timer_does_not_fire_in_a_pass_a_nanosecond_before_its_time() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    let fired = Rc::new(RefCell::new(None));
    let by_timer = Rc::clone(&fired);
    let clock = world.clone();
    event_loop.call_later(MS, move |_| {
        by_timer.replace(Some(clock.elapsed()));
        Ok(())
    });
    let before = MS - Duration::from_nanos(1);
    world.call_later(before, |_| {});
    let mut passes = Vec::new();
    world
        .run_until(&mut event_loop, |_| {
            passes.push(world.elapsed());
            fired.borrow().is_some()
        })
        .unwrap();
    assert!(passes.contains(&before), "{passes:?}");
    assert_eq!(*fired.borrow(), Some(MS));
}

#[test]
fn advance_ends_at_its_time_with_what_was_due_then() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    let calls = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&calls);
    event_loop.call_every(10 * MS, move |_| {
        *counted.borrow_mut() += 1;
        Ok(())
    });
    world.advance(&mut event_loop, 30 * MS).unwrap();
    assert_eq!((*calls.borrow(), world.elapsed()), (3, 30 * MS));
    world.advance(&mut event_loop, 9 * MS).unwrap();
    assert_eq!((*calls.borrow(), world.elapsed()), (3, 39 * MS));
    // A turn without an event ends after its timeout, in the world's time.
    event_loop.turn(Some(Duration::from_micros(500))).unwrap();
    assert_eq!(world.elapsed(), 39 * MS + Duration::from_micros(500));
}

#[test]
fn a_loop_that_waits_for_what_never_comes_gets_an_error_and_run_ends() {
    let world = World::with_seed(3);
    let mut event_loop = world.event_loop();
    let (stream, peer) = world.pair();
    event_loop
        .add(DispatcherWithSend::over(stream, Echo))
        .unwrap();
    let error = event_loop.run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    assert!(
        error.to_string().contains("fd 1000 for Interest(READABLE"),
        "{error}"
    );
    // It goes on from there.
    peer.send("hello");
    world.run(&mut event_loop).unwrap();
    assert_eq!(peer.received(), b"hello");
    assert_eq!(event_loop.len(), 1);
    let error = world.run_until(&mut event_loop, |_| false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    let mut empty = world.event_loop();
    let error = world.run_until(&mut empty, |_| false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
}

#[test]
fn a_loop_that_spins_is_found() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    let (stream, peer) = world.pair();
    event_loop
        .add(DispatcherWithSend::over(stream, Deaf))
        .unwrap();
    peer.send("hello");
    let error = world.run(&mut event_loop).unwrap_err();
    let expected = "100000 passes at one point in time: fd 1000 is ready for Readiness(READABLE)";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn run_ends_when_the_loop_is_stopped_and_lets_what_is_under_way_arrive() {
    let world = World::with_seed(5);
    let mut event_loop = world.event_loop();
    event_loop.call_every(MS, |event_loop| {
        event_loop.stop();
        Ok(())
    });
    world.run(&mut event_loop).unwrap();
    assert_eq!(world.elapsed(), MS);

    // The last channel is gone before its output has arrived.
    let mut event_loop = world.event_loop();
    let (stream, peer) = world.pair();
    peer.set_delay(20 * MS..=20 * MS);
    let mut channel = DispatcherWithSend::over(stream, Echo);
    channel.send(b"goodbye").unwrap();
    channel.close_when_done();
    event_loop.add(channel).unwrap();
    world.run(&mut event_loop).unwrap();
    assert_eq!(peer.received(), b"goodbye");
}

#[test]
fn decisions_of_the_seed_are_within_their_limits() {
    let world = World::with_seed(9);
    for _ in 0..1_000 {
        assert!((3..=5).contains(&world.between(3..=5)));
        assert!((MS..=2 * MS).contains(&world.duration(MS..=2 * MS)));
        assert!(world.pick(&[1, 2]).is_some_and(|n| [1, 2].contains(n)));
    }
    assert_eq!(world.between(7..=7), 7);
    assert_eq!(world.pick::<u8>(&[]), None);
    assert_eq!((world.chance(0), world.chance(100)), (false, true));
    // Far times are never, and wrap nowhere.
    world.call_later(Duration::MAX, |_| {});
    let mut event_loop = world.event_loop();
    world.run(&mut event_loop).unwrap();
    assert_eq!(world.elapsed(), Duration::ZERO);
}

/// Counts lines.
struct Lines(u32);

impl ChatHandler for Lines {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.0 += 1;
        let _ = io.take_data();
        Ok(())
    }
}

#[test]
fn a_world_leaves_nothing_behind_when_it_is_dropped() {
    let held = Rc::new(());
    for_seeds(3, |world| {
        let (stream, peer) = world.pair();
        let mut event_loop = world.event_loop();
        let mut chat = AsyncChat::over(stream, Lines(0));
        chat.set_terminator("\n");
        event_loop.add(chat)?;
        let (also, peer_too) = (Rc::clone(&held), peer.clone());
        world.call_later(Duration::from_secs(1), move |_| {
            let _ = (also, peer_too);
        });
        peer.send("a\nb\n");
        event_loop.turn(None)?;
        Ok(())
    })
    .unwrap();
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn run_until_notices_what_arrives_at_a_peer() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    let (stream, peer) = world.pair();
    peer.set_delay(5 * MS..=5 * MS);
    let mut channel = DispatcherWithSend::over(stream, Echo);
    channel.send(b"hello").unwrap();
    channel.set_timeout(Some(60_000 * MS));
    event_loop.add(channel).unwrap();
    world
        .run_until(&mut event_loop, |_| peer.received() == b"hello")
        .unwrap();
    assert_eq!(world.elapsed(), 5 * MS);
}
