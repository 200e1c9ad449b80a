//! The turn of one peer in one case, in a process of its own, so that no peer finds the
//! memory or the descriptors that another has left.

use std::error::Error;
use std::time::{Duration, Instant};

use super::{Case, Ring};
use crate::peers;

/// The duration of a turn.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    /// Runs that are measured, at most and at least.
    pub runs: usize,
    pub least_runs: usize,
    /// No run beyond the least begins after so much time.
    pub budget: Duration,
    /// Callbacks of a run before, that is not measured.
    pub warm_up: usize,
}

const USAGE: &str = "ring-turn takes a peer and seven numbers";

/// The arguments of a process for that.
pub fn arguments(peer: &str, case: Case, length: Length) -> Vec<String> {
    let numbers = [
        case.channels,
        case.active,
        case.writes,
        length.runs,
        length.least_runs,
        length.budget.as_millis() as usize,
        length.warm_up,
    ];
    let words = ["ring-turn".to_owned(), peer.to_owned()];
    words
        .into_iter()
        .chain(numbers.map(|number| number.to_string()))
        .collect()
}

/// The process: prints the nanoseconds of each run.
pub fn main(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let [peer, numbers @ ..] = words else {
        return Err(USAGE.into());
    };
    let numbers = numbers.iter().map(|word| word.parse::<usize>());
    let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    let [channels, active, writes, runs, least_runs, budget, warm_up] = numbers[..] else {
        return Err(USAGE.into());
    };
    let length = Length {
        runs,
        least_runs,
        budget: Duration::from_millis(budget as u64),
        warm_up,
    };
    for time in serve(peer, Case::new(channels, active, writes), length)? {
        println!("{time}");
    }
    Ok(())
}

fn serve(peer: &str, case: Case, length: Length) -> Result<Vec<u128>, Box<dyn Error>> {
    let new = peers::named(peer)?.ring.ok_or("this peer has no ring")?;
    let (ring, read_sides) = Ring::new(case.channels)?;
    let mut served = new(&ring, read_sides)?;
    let mut run = |case: Case| {
        ring.prime(case);
        let start = Instant::now();
        served.run();
        start.elapsed().as_nanos()
    };
    if length.warm_up > 0 {
        run(Case {
            writes: length.warm_up,
            ..case
        });
    }
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < length.least_runs
        || times.len() < length.runs && begin.elapsed() < length.budget
    {
        times.push(run(case));
    }
    Ok(times)
}
