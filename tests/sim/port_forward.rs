//! The handlers of `port_forward`.

#[path = "../../examples/port_forward.rs"]
#[allow(dead_code, reason = "the program around the handlers")]
mod program;

use std::time::Duration;

use crate::SEEDS;
use crate::checked::Checked;
use crate::speaker::{Manner, Speaker, pattern, set_pace};
use crate::stage::{Connection, play};
use fdloop::sim::{End, World, for_seeds};
use fdloop::{DispatcherWithSend, EventLoop};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Checks that the end of one side's input is passed on as soon as everything before it is, even if
/// the other side goes on sending.
fn check_half_close(from: &Connection, to: &Connection) {
    let passed_on = to.traffic.output_ended || to.traffic.closed || to.traffic.was_reset;
    let both_ended = to.ends_of_input() > 0;
    assert!(
        from.ends_of_input() == 0 || !to.has_sent_all() || both_ended || passed_on,
        "a half-close is not passed on"
    );
}

#[test]
fn port_forward_passes_on_every_byte_and_every_end() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        // Sometimes more than may wait for one side.
        let most = match world.between(0..=499) {
            0 => 2 * program::LIMIT,
            _ => 1 << world.between(0..=11),
        };
        let [client, remote] = [(); 2].map(|()| {
            let (stream, peer) = world.pair();
            set_pace(world, &peer, most);
            let length = world.between(0..=most as u64) as usize;
            let (half, heard) = Checked::new(program::Half::default());
            let speaker = Speaker::new(world, peer, pattern(0..length));
            (DispatcherWithSend::over(stream, half), speaker, heard)
        });
        let ids = program::join(&mut event_loop, client.0, remote.0, Some(TIMEOUT))?;
        let mut sides = [
            Connection::new(client.1, client.2, ids[0]),
            Connection::new(remote.1, remote.2, ids[1]),
        ];
        // The bytes of each side that come while the other is open are due there.
        let mut received = [0, 0];
        play(
            world,
            &mut event_loop,
            &mut sides,
            EventLoop::is_empty,
            |event_loop, sides| {
                for (from, to) in [(0, 1), (1, 0)] {
                    let now = sides[from].traffic.received;
                    if event_loop.contains(ids[to]) {
                        received[from] = now;
                    }
                    let next = sides[to].due.len()..received[from];
                    let bytes = sides[from].speaker.words[next].to_vec();
                    sides[to].due.extend(bytes);
                    check_half_close(&sides[from], &sides[to]);
                }
            },
        )?;

        for (from, to) in [(0, 1), (1, 0)] {
            let [from, to] = [&sides[from], &sides[to]];
            // A peer that goes away need not get anything.
            if matches!(to.speaker.manner, Manner::HalfCloses | Manner::FallsSilent) {
                assert_eq!(to.got.len(), from.traffic.arrived, "a byte is lost");
            }
            match (from.speaker.manner, to.speaker.manner) {
                (Manner::HalfCloses, Manner::HalfCloses) => {
                    assert_eq!(to.got.len(), from.speaker.words.len());
                    assert_eq!(to.speaker.peer.end(), Some(End::InOrder));
                }
                (Manner::Resets, Manner::HalfCloses) if from.traffic.was_reset => {
                    let end = to.speaker.peer.end();
                    assert_eq!(end, Some(End::Reset), "a reset is not passed on");
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
