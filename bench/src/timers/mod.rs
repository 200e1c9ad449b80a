//! Timers: nanoseconds for making, cancelling and firing one, among few and among many.
//!
//! Timers are made in a callback, as in most programs. fdloop gives them their times at the end of
//! the pass, so the measurement of a pass includes that work.

mod peers;

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::contest::Contest;
use crate::effort::Effort;
use crate::report::{Goal, Report, Table, median, number};

/// A loop with timers.
pub trait Timers {
    /// Calls `act` as the loop calls a callback.
    fn call(&mut self, act: &mut dyn FnMut(&mut dyn Acts));
    /// Makes one pass that does not wait, and so calls the timers whose time has come. Returns how
    /// many these were.
    fn pass(&mut self) -> usize;
}

/// The operations of a callback.
pub trait Acts {
    /// Makes a timer for each delay.
    fn make(&mut self, delays: &[Duration]);
    /// Cancels all timers, in the order of their numbers in `order`.
    fn cancel(&mut self, order: &[usize]);
}

type New = fn() -> Box<dyn Timers>;

const SIZES: [usize; 3] = [1, 10_000, 1_000_000];

/// The measurements, in the order of [`Turn`].
const ACTS: [&str; 4] = [
    "making",
    "cancelling",
    "firing",
    "making, a pass, cancelling",
];

/// Nanoseconds for each of [`ACTS`].
type Turn = [f64; ACTS.len()];

pub fn run(_: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("timers", "Timers: nanoseconds each");
    report.notes.push(
        "Timers between 1 and 60 seconds are made, and cancelled in a random order, in one \
         callback; timers within a millisecond are made, and fire together once all are due. Each \
         function counts its calls. The last column is for timers between 1 and 60 seconds that \
         are made, exist for one pass without a wait, and are cancelled: nanoseconds for all three \
         together, with the system call of the pass. fdloop's timers of a callback count from the \
         time at which the handlers of the pass have returned, and enter its queue then: in that \
         last column, but in none of the others. libev's count from the time that its loop has \
         cached before the callback. libevent, calloop and tokio read the clock for each. The \
         memory of libev's and libevent's is the program's, in one array."
            .to_owned(),
    );
    for n in SIZES {
        let turns = turns(n, effort);
        let mut head = vec!["loop"];
        head.extend(ACTS);
        let mut table = Table::new(format!("{} timers", number(n as f64)), &head);
        for (name, turns) in &turns {
            let values: Turn = std::array::from_fn(|act| {
                let values: Vec<f64> = turns.iter().map(|turn| turn[act]).collect();
                median(&values).unwrap_or(f64::NAN)
            });
            let mut row = vec![(*name).to_owned()];
            row.extend(values.map(number));
            table.rows.push(row);
            report
                .data
                .push(json!({ "n": n, "loop": name, "nanoseconds": values }));
        }
        for (act, what) in ACTS.iter().enumerate() {
            let ratios: Vec<f64> = (0..turns[0].1.len())
                .map(|round| {
                    let others = turns[1..].iter().map(|(_, turns)| turns[round][act]);
                    turns[0].1[round][act] / others.fold(f64::INFINITY, f64::min)
                })
                .collect();
            let what = format!("{what}, {n} timers, beside the best of the others");
            report.goals.push(Goal::at_most(what, 1.0, median(&ratios)));
        }
        report.tables.push(table);
    }
    Ok(report)
}

/// The turns of each peer, whose order changes from round to round.
fn turns(n: usize, effort: &Effort) -> Vec<(&'static str, Vec<Turn>)> {
    let peers = peers::all(n);
    let mut turns: Vec<_> = peers.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for round in 0..effort.rounds {
        for place in 0..peers.len() {
            let peer = (place + round) % peers.len();
            turns[peer].1.push(turn(peers[peer].1, n));
        }
    }
    turns
}

fn turn(new: New, n: usize) -> Turn {
    let mut random = Random(n as u64 + 1);
    let far: Vec<_> = (0..n)
        .map(|_| Duration::from_micros(1_000_000 + random.below(59_000_000)))
        .collect();
    let near: Vec<_> = (0..n)
        .map(|_| Duration::from_nanos(random.below(1_000_000)))
        .collect();
    let mut order: Vec<usize> = (0..n).collect();
    for index in (1..n).rev() {
        order.swap(index, random.below(index as u64 + 1) as usize);
    }
    let mut timers = new();
    let mut turn = Turn::default();
    // The first repetition warms up, unless there are so many that it makes no difference.
    let repetitions = (200_000 / n).clamp(1, 20_000);
    for repetition in 0..=repetitions {
        timers.call(&mut |acts| {
            let begin = Instant::now();
            acts.make(&far);
            let made = Instant::now();
            acts.cancel(&order);
            let cancelled = made.elapsed();
            if repetition > 0 {
                turn[0] += (made - begin).as_nanos() as f64;
                turn[1] += cancelled.as_nanos() as f64;
            }
        });
    }
    let done = (repetitions * n) as f64;
    turn[0] /= done;
    turn[1] /= done;
    for repetition in 0..=repetitions {
        let begin = Instant::now();
        timers.call(&mut |acts| acts.make(&far));
        timers.pass();
        timers.call(&mut |acts| acts.cancel(&order));
        if repetition > 0 {
            turn[3] += begin.elapsed().as_nanos() as f64;
        }
    }
    turn[3] /= done;
    let repetitions = (200_000 / n).clamp(1, 50);
    for _ in 0..repetitions {
        timers.call(&mut |acts| acts.make(&near));
        thread::sleep(Duration::from_millis(3));
        let begin = Instant::now();
        let mut fired = 0;
        while fired < n {
            fired += timers.pass();
        }
        turn[2] += begin.elapsed().as_nanos() as f64;
    }
    turn[2] /= (repetitions * n) as f64;
    turn
}

/// A linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
