//! The handler of `multi_client`. Its workers are played by the test: a thread has no seed.

#[path = "../../examples/multi_client.rs"]
#[allow(dead_code, reason = "the program around the handler")]
mod program;

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::SEEDS;
use crate::checked::{Manner, Speaker, run_checked};
use fdloop::sim::{End, World, for_seeds};
use fdloop::{AsyncChat, EventLoop};
use program::{Client, Id, LINE_LIMIT, MOST, factors, tell};

/// A worker, which computes one number after the other.
struct Worker {
    jobs: Receiver<u64>,
    client: Id,
    ready: Instant,
}

impl Worker {
    /// Takes what the handler has given it to do.
    fn work(&mut self, world: &World, event_loop: &mut EventLoop) {
        for number in self.jobs.try_iter() {
            let takes = world.duration(Duration::ZERO..=Duration::from_millis(500));
            self.ready = self.ready.max(world.now()) + takes;
            let client = self.client;
            event_loop.call_at(self.ready, move |event_loop| {
                tell(event_loop, client, number, &factors(number))
            });
        }
    }
}

/// Numbers, and lines that are not numbers.
fn words(world: &World) -> String {
    let numbers = (0..world.between(0..=8)).map(|_| match world.between(0..=9) {
        0 => "twelve\n".to_owned(),
        1 => format!("{}\n", MOST + 1),
        2 => "\n".to_owned(),
        _ => format!("{}\r\n", world.between(1..=10_000)),
    });
    numbers.collect()
}

/// The replies to `words`: those of the worker, and those that come at once.
fn replies(words: &str) -> (Vec<String>, Vec<String>) {
    let all = words.lines().map(|line| match line.parse() {
        Ok(number) if number <= MOST => format!("{number}:{}", factors(number)),
        _ => format!("send a number from 1 to {MOST}"),
    });
    all.partition(|reply| !reply.starts_with("send"))
}

#[test]
fn multi_client_replies_to_every_number_in_order() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let mut clients = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..world.between(1..=3) {
            let (stream, peer) = world.pair();
            peer.set_room(world.between(5..=1_000) as usize);
            let (sender, jobs) = mpsc::channel();
            let chat = AsyncChat::over(stream, Client::new(sender));
            let client = event_loop.add(Client::prepare(chat))?;
            let ready = world.now();
            workers.push(Worker {
                jobs,
                client,
                ready,
            });
            let words = words(world);
            assert!(words.lines().all(|line| line.len() < LINE_LIMIT));
            // It has no timeout: a client that falls silent stays.
            let manner = match world.between(0..=9) {
                0..=5 => Manner::HalfCloses,
                6..=7 => Manner::Resets,
                _ => Manner::Closes,
            };
            let speaker = Speaker::with_manner(world, peer, words.clone().into_bytes(), manner);
            clients.push((speaker, words));
        }
        run_checked(world, &mut event_loop, |event_loop| {
            for worker in &mut workers {
                worker.work(world, event_loop);
            }
        })?;
        for (client, words) in &clients {
            let received = String::from_utf8(client.peer.received()).unwrap();
            let due = replies(words);
            let got = received.lines().map(str::to_owned);
            let got: (Vec<_>, Vec<_>) = got.partition(|reply| !reply.starts_with('s'));
            if client.manner == Manner::HalfCloses {
                assert_eq!((got, client.peer.end()), (due, Some(End::InOrder)));
            } else {
                assert!(got.0.len() <= due.0.len() && got.1.len() <= due.1.len());
                for (got, due) in [(got.0, due.0), (got.1, due.1)] {
                    // The last line may be cut off.
                    for (got, due) in got.iter().zip(&due) {
                        assert!(due.starts_with(got), "{got:?} is not {due:?}");
                    }
                }
            }
        }
        // The handlers are gone, and with them what their workers wait for.
        for worker in &workers {
            assert_eq!(
                worker.jobs.try_recv(),
                Err(mpsc::TryRecvError::Disconnected)
            );
        }
        Ok(())
    })
    .unwrap();
}
