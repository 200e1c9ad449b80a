//! The handler of `multi_client`. Its workers are played by the test: a thread has no seed.

#[path = "../../examples/multi_client.rs"]
#[allow(dead_code, reason = "the program around the handler")]
mod program;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use crate::SEEDS;
use crate::checked::{Call, Checked};
use crate::speaker::{Manner, Speaker};
use crate::stage::{Connection, play};
use fdloop::sim::{World, for_seeds};
use fdloop::{AnyId, AsyncChat, EventLoop, Result};
use program::{Client, LINE_LIMIT, MOST, factors, finish, prepare, tell};

/// The replies that are due, in the order in which they were made.
type Replies = Rc<RefCell<Vec<u8>>>;

/// A worker, which computes one number after the other.
struct Worker {
    jobs: Receiver<u64>,
    client: AnyId,
    ready: Instant,
    ended: bool,
    replies: Replies,
    /// The numbers that it gets, in reverse.
    numbers: Vec<u64>,
}

impl Worker {
    /// Takes what the handler has given it to do.
    fn work(&mut self, world: &World, event_loop: &mut EventLoop) {
        let client = self.client;
        while !self.ended {
            let job = self.jobs.try_recv();
            if job == Err(TryRecvError::Empty) {
                return;
            }
            let takes = world.duration(Duration::ZERO..=Duration::from_millis(500));
            self.ready = self.ready.max(world.now()) + takes;
            let Ok(number) = job else {
                self.ended = true;
                event_loop.call_at(self.ready, move |event_loop| {
                    finish(event_loop, client);
                    Ok(())
                });
                return;
            };
            assert_eq!(Some(number), self.numbers.pop(), "another number");
            let replies = Rc::clone(&self.replies);
            event_loop.call_at(self.ready, move |event_loop| {
                let factors = factors(number);
                if event_loop.contains(client) {
                    let reply = format!("{number}:{factors}\n");
                    replies.borrow_mut().extend_from_slice(reply.as_bytes());
                }
                tell(event_loop, client, number, &factors)
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

/// Returns the number in a line, if it is one for the worker.
fn number(line: &str) -> Option<u64> {
    let number = line.trim().parse().ok();
    number.filter(|number| (1..=MOST).contains(number))
}

fn add(world: &World, event_loop: &mut EventLoop) -> Result<(Connection, Worker)> {
    let (stream, peer) = world.pair();
    peer.set_room(world.between(5..=1_000) as usize);
    let (sender, jobs) = mpsc::channel();
    let replies = Replies::default();
    let refused = Rc::clone(&replies);
    let (client, heard) = Checked::telling(Client::new(sender), move |call| {
        if let Call::Piece(line) = call {
            let line = std::str::from_utf8(line).unwrap();
            if number(line).is_none() {
                let reply = format!("send a number from 1 to {MOST}\n");
                refused.borrow_mut().extend_from_slice(reply.as_bytes());
            }
        }
    });
    let client = event_loop.add(prepare(AsyncChat::over(stream, client)))?;
    let words = words(world);
    assert!(words.lines().all(|line| line.len() < LINE_LIMIT));
    let worker = Worker {
        jobs,
        client: client.into(),
        ready: world.now(),
        ended: false,
        replies,
        numbers: words.lines().rev().filter_map(number).collect(),
    };
    // It has no timeout: a client that falls silent stays.
    let manner = match world.between(0..=9) {
        0..=5 => Manner::HalfCloses,
        6..=7 => Manner::Resets,
        _ => Manner::Closes,
    };
    let speaker = Speaker::with_manner(world, peer, words.into_bytes(), manner);
    Ok((Connection::new(speaker, heard, client.into()), worker))
}

#[test]
fn multi_client_replies_to_every_number_in_order() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let (mut clients, mut workers) = (Vec::new(), Vec::new());
        for _ in 0..world.between(1..=3) {
            let (client, worker) = add(world, &mut event_loop)?;
            clients.push(client);
            workers.push(worker);
        }
        play(
            world,
            &mut event_loop,
            &mut clients,
            EventLoop::is_empty,
            |event_loop, clients| {
                for (client, worker) in clients.iter_mut().zip(&mut workers) {
                    worker.work(world, event_loop);
                    client.due.append(&mut worker.replies.borrow_mut());
                }
            },
        )?;
        for (client, worker) in clients.iter().zip(&workers) {
            client.check_service();
            if client.speaker.manner == Manner::HalfCloses {
                assert!(worker.numbers.is_empty(), "a number is lost");
            }
            // The handler is gone, and with it the sender that its worker waits for.
            assert_eq!(worker.jobs.try_recv(), Err(TryRecvError::Disconnected));
        }
        Ok(())
    })
    .unwrap();
}
