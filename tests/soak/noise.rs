//! Timers and remote calls beside the clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fdloop::{EventLoop, StateId, TimerId};

use super::random::Random;

/// Threads that call the loop at random.
const THREADS: u64 = 2;

/// The timers that have not fired yet, and what has happened.
#[derive(Default)]
struct Events {
    timers: BTreeMap<u64, (TimerId, Instant)>,
    made: u64,
    fired: u64,
    cancelled: u64,
    early: u64,
    calls: u64,
}

pub struct Noise {
    events: StateId<Events>,
    over: Arc<AtomicBool>,
    /// Each returns how many calls it has made.
    threads: Vec<JoinHandle<u64>>,
}

impl Noise {
    pub fn start(event_loop: &mut EventLoop) -> Self {
        let events = event_loop.keep(Events::default());
        let over = Arc::new(AtomicBool::new(false));
        let remote = event_loop.remote().unwrap();
        let threads = (0..THREADS).map(|number| {
            let (remote, over) = (remote.clone(), Arc::clone(&over));
            thread::spawn(move || {
                let mut random = Random::new(number);
                let mut made = 0;
                while !over.load(Ordering::Relaxed) {
                    for _ in 0..random.below(10) {
                        let called = remote.call(move |event_loop| {
                            event_loop.state_mut(events).unwrap().calls += 1;
                            Ok(())
                        });
                        called.unwrap();
                        made += 1;
                    }
                    remote.wake().unwrap();
                    thread::sleep(Duration::from_micros(random.below(3_000)));
                }
                made
            })
        });
        Self {
            events,
            threads: threads.collect(),
            over,
        }
    }

    /// Makes, moves and cancels timers.
    pub fn tick(&self, event_loop: &mut EventLoop, random: &mut Random) {
        for _ in 0..random.below(4) {
            let number = event_loop.state(self.events).unwrap().made;
            let delay = Duration::from_micros(random.below(50_000));
            let events = self.events;
            let due = Instant::now() + delay;
            let timer = event_loop.call_later(delay, move |event_loop| {
                let events = event_loop.state_mut(events).unwrap();
                let (_, due) = events.timers.remove(&number).unwrap();
                events.early += u64::from(Instant::now() < due);
                events.fired += 1;
                Ok(())
            });
            let events = event_loop.state_mut(self.events).unwrap();
            events.made += 1;
            events.timers.insert(number, (timer, due));
        }
        let events = event_loop.state_mut(self.events).unwrap();
        let from = random.below(events.made + 1);
        let found = events.timers.range(from..).next();
        let Some((number, timer)) = found.map(|(number, (timer, _))| (*number, *timer)) else {
            return;
        };
        if random.one_in(2) {
            events.timers.remove(&number);
            events.cancelled += 1;
            assert!(event_loop.cancel(timer));
        } else {
            let delay = Duration::from_micros(random.below(50_000));
            events
                .timers
                .insert(number, (timer, Instant::now() + delay));
            assert!(event_loop.reset(timer, delay));
        }
    }

    /// Checks whether every timer has fired.
    pub fn is_quiet(&self, event_loop: &EventLoop) -> bool {
        event_loop.state(self.events).unwrap().timers.is_empty()
    }

    /// Ends the threads. Returns what has happened, or what is missing.
    pub fn finish(self, event_loop: &mut EventLoop) -> Result<String, String> {
        self.over.store(true, Ordering::Relaxed);
        let made: u64 = self.threads.into_iter().map(|it| it.join().unwrap()).sum();
        for _ in 0..3 {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        let events = event_loop.take(self.events).unwrap();
        let sum = format!(
            "{} timers ({} fired, {} cancelled, {} early), {} of {made} remote calls",
            events.made, events.fired, events.cancelled, events.early, events.calls
        );
        let right = events.calls == made
            && events.early == 0
            && events.fired + events.cancelled == events.made;
        if right { Ok(sum) } else { Err(sum) }
    }
}
