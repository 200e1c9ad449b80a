//! The handlers of `port_forward`.

#[path = "../../examples/port_forward.rs"]
#[allow(dead_code, reason = "the program around the handlers")]
mod program;

use std::time::Duration;

use crate::SEEDS;
use crate::checked::{Manner, Speaker, arrived, pattern, run_checked, set_pace};
use fdloop::DispatcherWithSend;
use fdloop::sim::{End, World, for_seeds};

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn port_forward_passes_on_every_byte_and_every_end() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let mut sides = Vec::new();
        let mut channels = Vec::new();
        // Sometimes more than may wait for one side.
        let most = match world.between(0..=499) {
            0 => 2 * program::LIMIT,
            _ => 1 << world.between(0..=11),
        };
        for _ in 0..2 {
            let (stream, peer) = world.pair();
            set_pace(world, &peer, most);
            let length = world.between(0..=most as u64) as usize;
            let half = DispatcherWithSend::over(stream, program::Half::default());
            channels.push(half);
            sides.push(Speaker::new(world, peer, pattern(0..length)));
        }
        if let (Some(remote), Some(client)) = (channels.pop(), channels.pop()) {
            program::join(&mut event_loop, client, remote, Some(TIMEOUT))?;
        }
        run_checked(world, &mut event_loop, |_| {
            sides[0].check_received(&sides[1].words.borrow());
            sides[1].check_received(&sides[0].words.borrow());
        })?;

        for (from, to) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
            let received = to.peer.received().len();
            // A peer that goes away need not get anything.
            if matches!(to.manner, Manner::HalfCloses | Manner::FallsSilent) {
                assert_eq!(
                    received,
                    arrived(world, &from.peer),
                    "a byte that arrived is lost"
                );
                assert!(to.peer.end().is_some(), "its end is not passed on");
            }
            match (from.manner, to.manner) {
                (Manner::HalfCloses, Manner::HalfCloses) => {
                    assert_eq!(received, from.words.borrow().len());
                    assert_eq!(to.peer.end(), Some(End::InOrder));
                }
                (Manner::Resets, Manner::HalfCloses) if from.was_reset_while_open(world) => {
                    assert_eq!(to.peer.end(), Some(End::Reset), "a reset is not passed on");
                }
                _ => {}
            }
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_side_is_not_timed_out_while_what_it_sent_is_written_to_the_other() {
    let world = World::with_seed(0);
    world.set_noise(0);
    let mut event_loop = world.event_loop();
    let (client, server) = (world.pair(), world.pair());
    let half = |stream| DispatcherWithSend::over(stream, program::Half::default());
    program::join(
        &mut event_loop,
        half(client.0),
        half(server.0),
        Some(TIMEOUT),
    )
    .unwrap();
    let (client, server) = (client.1, server.1);
    client.set_room(1_000);
    client.set_delay(Duration::ZERO..=Duration::ZERO);
    // This takes 100 seconds, in which nothing else moves.
    server.set_room(1);
    server.set_delay(Duration::from_millis(100)..=Duration::from_millis(100));
    client.send(pattern(0..1_000));
    world
        .run_until(&mut event_loop, |_| server.received().len() == 1_000)
        .unwrap();
    assert!(world.elapsed() > TIMEOUT);
    // Then both are silent, and that ends the connection.
    world.run(&mut event_loop).unwrap();
    assert!(event_loop.is_empty());
    assert_eq!(server.received(), pattern(0..1_000));
    assert!(client.end().is_some() && server.end().is_some());
}
