//! A soak: random clients of `echo_server`, directly and through `port_forward`, for as long as
//! wanted. Every byte is accounted for, and memory and descriptors stay flat.
//!
//! ```sh
//! cargo build --release --examples
//! cargo test --release --test soak -- --seconds 300 --seed 7
//! ```
//!
//! Without `--seconds` it is a short test among the others, with one round for each backend.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod noise;
mod random;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use client::Tally;
use common::PATIENCE;
use common::programs::{ANY_PORT, Program, server};
use fdloop::{Backend, EventLoop, StateId};
use noise::Noise;
use random::Random;

const USAGE: &str = "\
usage: cargo test --release --test soak -- [--seconds N] [--seed S] [--backend NAME]
  N is how long it takes for each backend; one short round by default
  NAME is one of select, poll and epoll, as far as they are built in; all by default
  S is where the random numbers begin; the same clients come again with the same";

/// The time in which clients come, between two counts of what is left.
const ROUND: Duration = Duration::from_secs(10);

/// The time of a round if `--seconds` is not given.
const SHORT_ROUND: Duration = Duration::from_millis(400);

/// The most clients at a time.
const MOST: usize = 64;

/// The options of a run.
struct Options {
    time: Option<Duration>,
    seed: u64,
    backends: Vec<Backend>,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut code = ExitCode::SUCCESS;
    for backend in options.backends.iter().copied() {
        let tally = Soak::new(backend, options.seed).run(options.time);
        for failure in tally.failures.iter().take(20) {
            println!("FAILED with {backend}, seed {}: {failure}", options.seed);
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Reads the arguments. Those that cargo passes to every test binary have no effect.
fn options() -> Option<Options> {
    let mut options = Options {
        time: None,
        seed: 1,
        backends: Backend::ALL.to_vec(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                options.time = Some(Duration::from_secs(arguments.next()?.parse().ok()?))
            }
            "--seed" => options.seed = arguments.next()?.parse().ok()?,
            "--backend" => options.backends = vec![arguments.next()?.parse().ok()?],
            "--help" | "-h" => return None,
            // The names of tests to run, or to skip.
            filter if !filter.starts_with('-') && !"soak".contains(filter) => {
                options.backends.clear();
            }
            _ => {}
        }
    }
    Some(options)
}

/// The servers, and the loop of their clients.
struct Soak {
    backend: Backend,
    random: Random,
    echo: Program,
    forward: Program,
    addresses: [String; 2],
    event_loop: EventLoop,
    tally: StateId<Tally>,
    noise: Noise,
}

/// The resources that each process holds while it has no clients.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    descriptors: [usize; 3],
    /// In KiB.
    memory: [u64; 3],
}

impl Soak {
    fn new(backend: Backend, seed: u64) -> Self {
        let (echo, echo_address) = server("echo_server", backend, &[ANY_PORT]);
        let arguments = [ANY_PORT, echo_address.as_str()];
        let (forward, forward_address) = server("port_forward", backend, &arguments);
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let tally = event_loop.keep(Tally::default());
        Self {
            noise: Noise::start(&mut event_loop),
            backend,
            random: Random::new(seed),
            echo,
            forward,
            addresses: [echo_address, forward_address],
            event_loop,
            tally,
        }
    }

    fn run(mut self, time: Option<Duration>) -> Tally {
        let round = time.map_or(SHORT_ROUND, |time| time.min(ROUND));
        // The first clients make what is made once.
        self.round(round);
        let first = self.holdings();
        let mut worst = first;
        let end = Instant::now() + time.unwrap_or(SHORT_ROUND);
        while Instant::now() < end {
            self.round(round);
            let now = self.holdings();
            for place in 0..3 {
                worst.memory[place] = worst.memory[place].max(now.memory[place]);
            }
            let backend = self.backend;
            println!("{backend}: {}; {now:?}", self.tally());
            self.check(first, now);
            if !self.tally().failures.is_empty() {
                break;
            }
        }
        let Self {
            mut event_loop,
            noise,
            ..
        } = self;
        let calls = noise.finish(&mut event_loop);
        let mut tally = event_loop.take(self.tally).unwrap();
        match calls {
            Ok(noise) => println!("{}: {tally}, {noise}", self.backend),
            Err(failure) => tally.failures.push(failure),
        }
        println!("{}: first {first:?}, most {:?}", self.backend, worst.memory);
        self.forward.end_with("TERM");
        self.echo.end_with("TERM");
        tally
    }

    fn tally(&mut self) -> &mut Tally {
        self.event_loop.state_mut(self.tally).unwrap()
    }

    /// Has clients come for some time, and waits until the last has gone.
    fn round(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.tick();
            let wait = Duration::from_micros(self.random.below(2_000));
            self.event_loop.turn(Some(wait)).unwrap();
        }
        let deadline = Instant::now() + 3 * PATIENCE;
        while self.tally().clients > 0 || !self.noise.is_quiet(&self.event_loop) {
            client::close_behind_the_back(&mut self.event_loop, self.tally, &mut self.random);
            if Instant::now() > deadline {
                let clients = self.tally().clients;
                let failure = format!("{clients} clients never ended, or a timer never fired");
                return self.tally().failures.push(failure);
            }
            self.event_loop
                .turn(Some(Duration::from_millis(5)))
                .unwrap();
        }
    }

    /// Does one thing at random.
    fn tick(&mut self) {
        let clients = self.tally().clients;
        self.noise.tick(&mut self.event_loop, &mut self.random);
        if clients < MOST && self.random.one_in(2) {
            let address = &self.addresses[self.random.below(2) as usize];
            let seed = self.random.next();
            client::connect(&mut self.event_loop, self.tally, address, seed);
        } else if self.random.one_in(8) {
            client::close_behind_the_back(&mut self.event_loop, self.tally, &mut self.random);
        }
    }

    /// Counts the held resources. The servers may need a moment to notice the last ends.
    fn holdings(&mut self) -> Holdings {
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = [
                descriptors_of_this_process(),
                self.echo.descriptors().unwrap_or(0),
                self.forward.descriptors().unwrap_or(0),
            ];
            if last == Some(now) && now[1] <= 16 && now[2] <= 16 || Instant::now() > deadline {
                let memory = [
                    common::programs::memory(std::process::id()).unwrap_or(0),
                    self.echo.memory().unwrap_or(0),
                    self.forward.memory().unwrap_or(0),
                ];
                return Holdings {
                    descriptors: now,
                    memory,
                };
            }
            last = Some(now);
            self.event_loop
                .turn(Some(Duration::from_millis(50)))
                .unwrap();
        }
    }

    /// Compares with the resources that were held after the first clients.
    fn check(&mut self, first: Holdings, now: Holdings) {
        if now.descriptors != first.descriptors {
            let failure = format!("descriptors: first {first:?}, now {now:?}");
            self.tally().failures.push(failure);
        }
        for (first, now) in first.memory.into_iter().zip(now.memory) {
            // An allocator keeps some of what was in use at the same time.
            if now > 2 * first + 16 * 1024 {
                let failure = format!("memory: first {first} KiB, now {now} KiB");
                self.tally().failures.push(failure);
            }
        }
    }
}

/// Returns the number of descriptors of this process, where the system reports it.
fn descriptors_of_this_process() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
