//! Calls from another thread: the time of one until its reply, and the number of calls in a second.

use std::error::Error;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use fdloop::EventLoop;
use serde_json::json;

use crate::contest::Contest;
use crate::effort::Effort;
use crate::report::{Goal, Report, Table, median, number};

/// Calls that are waited for, one after the other.
const ROUND_TRIPS: usize = 5_000;

/// Calls that are made without waiting.
const FLOOD: usize = 300_000;

/// A call, as the other thread makes it: the loop's thread sends the number back, if it is asked to.
type Call = Box<dyn FnMut(u64)>;

/// Runs a loop in a thread of its own, and gives the calling thread a way to it. `replies` gets every
/// number that was sent.
type Start = fn(replies: Sender<u64>) -> Peer;

struct Peer {
    call: Call,
    /// Ends the loop and waits for that.
    end: Box<dyn FnOnce()>,
}

const PEERS: [(&str, Start); 3] = [
    ("fdloop", start_fdloop),
    ("tokio", start_tokio),
    ("mio", start_mio),
];

pub fn run(_: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("remote", "Calls from another thread");
    report.notes.push(format!(
        "A thread calls a function in the thread of a loop, and waits for its reply through a \
         channel of std: the median of {ROUND_TRIPS} calls, in microseconds. Then it makes {} \
         calls without waiting, and waits for the last reply: nanoseconds each. fdloop: \
         `Remote::call`; tokio: an unbounded channel and a task on a runtime of one thread; mio: \
         std's channel and `Waker::wake` for each message. The medians of {} rounds.",
        number(FLOOD as f64),
        effort.rounds
    ));
    let mut turns = vec![Vec::new(); PEERS.len()];
    for round in 0..effort.rounds {
        for place in 0..PEERS.len() {
            let peer = (place + round) % PEERS.len();
            turns[peer].push(turn(PEERS[peer].1)?);
        }
    }
    let head = ["loop", "there and back, µs", "many at once, ns each"];
    let mut table = Table::new("", &head);
    for ((name, _), turns) in PEERS.iter().zip(&turns) {
        let values = [0, 1].map(|what| {
            let values: Vec<f64> = turns.iter().map(|turn: &[f64; 2]| turn[what]).collect();
            median(&values).unwrap_or(f64::NAN)
        });
        table.rows.push(vec![
            (*name).to_owned(),
            number(values[0]),
            number(values[1]),
        ]);
        report.data.push(json!({
            "loop": name,
            "round_trip_microseconds": values[0],
            "nanoseconds_of_many": values[1],
        }));
    }
    report.tables.push(table);
    for (what, name) in ["there and back", "many at once"].into_iter().enumerate() {
        let ratios: Vec<f64> = (0..effort.rounds)
            .map(|round| {
                let others = turns[1..].iter().map(|turns| turns[round][what]);
                turns[0][round][what] / others.fold(f64::INFINITY, f64::min)
            })
            .collect();
        let what = format!("a remote call, {name}, beside the best of the others");
        report.goals.push(Goal::at_most(what, 1.0, median(&ratios)));
    }
    Ok(report)
}

/// Microseconds there and back, and nanoseconds for each of many.
fn turn(start: Start) -> Result<[f64; 2], Box<dyn Error>> {
    let (sender, replies) = mpsc::channel();
    let mut peer = start(sender);
    let mut times = Vec::new();
    for number in 0..ROUND_TRIPS as u64 {
        let begin = Instant::now();
        (peer.call)(number);
        wait_for(&replies, number)?;
        times.push(begin.elapsed().as_nanos() as f64 / 1_000.0);
    }
    let begin = Instant::now();
    for number in 0..FLOOD as u64 {
        (peer.call)(number);
    }
    for number in 0..FLOOD as u64 {
        wait_for(&replies, number)?;
    }
    let many = begin.elapsed().as_nanos() as f64 / FLOOD as f64;
    drop(peer.call);
    (peer.end)();
    Ok([median(&times).unwrap_or(f64::NAN), many])
}

fn wait_for(replies: &Receiver<u64>, number: u64) -> Result<(), Box<dyn Error>> {
    let reply = replies.recv()?;
    if reply != number {
        return Err(format!("the reply to {number} is {reply}").into());
    }
    Ok(())
}

fn start_fdloop(replies: Sender<u64>) -> Peer {
    let (made, remote) = mpsc::channel();
    let looping = thread::spawn(move || {
        let mut event_loop = EventLoop::new().expect("a loop needs nothing");
        made.send(event_loop.remote().expect("it has descriptors"))
            .expect("it is waited for");
        while !event_loop.is_stopping() {
            event_loop.turn(None).expect("nothing can fail");
        }
    });
    let remote = remote.recv().expect("it is sent at once");
    let stopper = remote.clone();
    Peer {
        call: Box::new(move |number| {
            let replies = replies.clone();
            let called = remote.call(move |_| {
                replies.send(number).map_err(fdloop::Error::other)?;
                Ok(())
            });
            called.expect("the loop runs");
        }),
        end: Box::new(move || {
            stopper.stop().expect("the loop runs");
            looping.join().expect("it does not panic");
        }),
    }
}

fn start_tokio(replies: Sender<u64>) -> Peer {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Box<dyn FnOnce() + Send>>();
    let looping = thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("it has descriptors");
        runtime.block_on(async move {
            while let Some(act) = receiver.recv().await {
                act();
            }
        });
    });
    Peer {
        call: Box::new(move |number| {
            let replies = replies.clone();
            let sent = sender.send(Box::new(move || {
                let _ = replies.send(number);
            }));
            assert!(sent.is_ok(), "the runtime runs");
        }),
        end: Box::new(move || looping.join().expect("it does not panic")),
    }
}

fn start_mio(replies: Sender<u64>) -> Peer {
    let mut poll = mio::Poll::new().expect("it has descriptors");
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("it has descriptors");
    let (sender, receiver) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let (ended, is_over) = mpsc::channel::<()>();
    let looping = thread::spawn(move || {
        let mut events = mio::Events::with_capacity(16);
        loop {
            poll.poll(&mut events, None).expect("nothing can fail");
            loop {
                match receiver.try_recv() {
                    Ok(act) => act(),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return drop(ended),
                }
            }
        }
    });
    let waker = std::sync::Arc::new(waker);
    let last = std::sync::Arc::clone(&waker);
    Peer {
        call: Box::new(move |number| {
            let replies = replies.clone();
            let sent = sender.send(Box::new(move || {
                let _ = replies.send(number);
            }));
            assert!(sent.is_ok(), "the loop runs");
            waker.wake().expect("the loop runs");
        }),
        end: Box::new(move || {
            last.wake().expect("the loop runs");
            let _ = is_over.recv();
            looping.join().expect("it does not panic");
        }),
    }
}
