//! The cost of an event, without the beginning and the end of the process: the
//! difference between two lengths of a run of the ring.

use std::error::Error;
use std::time::Duration;

use crate::contest::Contestant;
use crate::ring::Case;
use crate::ring::turn::{Length, arguments};

/// Writes of the shorter and the longer run.
const WRITES: [usize; 2] = [500, 1_500];

/// Calls `measure` with the program's arguments for each length, and gives both
/// answers, and what their difference is to be divided by.
pub fn two_lengths<T>(
    peer: &str,
    channels: usize,
    measure: impl Fn(&[String]) -> Result<T, Box<dyn Error>>,
) -> Result<([T; 2], f64), Box<dyn Error>> {
    let length = Length {
        runs: 1,
        least_runs: 1,
        budget: Duration::MAX,
        warm_up: 0,
    };
    let run = |writes| measure(&arguments(peer, Case::new(channels, 1, writes), length));
    let [short, long] = WRITES;
    Ok(([run(short)?, run(long)?], (long - short) as f64))
}

/// The names of fdloop's rings, those included that are asked in every pass.
pub fn own_peers() -> [&'static str; 5] {
    [
        "fdloop/select",
        "fdloop/poll",
        "fdloop/epoll",
        "fdloop/select/asked",
        "fdloop/poll/asked",
    ]
}

/// The contestant that can run a peer of that name.
pub fn host<'a>(peers: &'a [Contestant], name: &str) -> Result<&'a Contestant, Box<dyn Error>> {
    let program_of = name.trim_end_matches("/asked");
    let found = peers.iter().find(|peer| peer.name == program_of);
    found.ok_or_else(|| format!("no peer {name}").into())
}
