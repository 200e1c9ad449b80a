//! The time in user space between the system calls of a ring, for an event.
//!
//! The kernel takes nine tenths of the time of an event, and causes most of the noise. A library that
//! is loaded before the C library counts the rest alone, by the processor's clock. So differences of a
//! few nanoseconds can be seen.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::contest::{Contest, Contestant};
use crate::effort::Effort;
use crate::program::Scratch;
use crate::report::{Report, Table, median, number};
use crate::ring::Case;
use crate::ring::turn::{self, Length};

const LIBRARY: &str = include_str!("../c/between.c");

/// The peers of which the library counts every system call.
const PEERS: [&str; 7] = [
    "raw/",
    "mapped/",
    "fdloop/",
    "libevent/",
    "libev/",
    "popol/",
    "mio/",
];

/// The number of sockets, and of those that are ready.
const CASES: [(usize, usize); 3] = [(400, 100), (100, 10), (10, 1)];

const WRITES: usize = 50_000;

pub fn run(contest: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the processor's clock is read on Linux on x86-64 alone".into());
    }
    let scratch = Scratch::new()?;
    let library = compile(&scratch)?;
    let mut report = Report::new("between", "User space between system calls");
    report.notes.push(format!(
        "Nanoseconds of user space for an event of a ring: the time between the return from a \
         system call and the next one, and the part of the wait for all events. The C library's \
         own functions for the calls are left out. The medians of {} rounds.",
        effort.rounds
    ));
    let heads = CASES.map(|(channels, active)| format!("n={channels} a={active}"));
    let head: Vec<&str> = ["peer"]
        .into_iter()
        .chain(heads.iter().map(String::as_str))
        .collect();
    let mut table = Table::new("", &head);
    let is_counted = |peer: &&Contestant| PEERS.iter().any(|name| peer.name.starts_with(name));
    let peers: Vec<_> = contest.peers.iter().filter(is_counted).collect();
    let mut times = vec![[const { Vec::new() }; CASES.len()]; peers.len()];
    for round in 0..effort.rounds {
        for turn in 0..peers.len() {
            let at = (turn + round) % peers.len();
            for (case, times) in CASES.into_iter().zip(&mut times[at]) {
                times.extend(between(peers[at], case, &library)?);
            }
        }
    }
    for (peer, times) in peers.iter().zip(&times) {
        let medians = times.each_ref().map(|times| median(times));
        let cells = medians.map(|median| median.map_or(String::new(), number));
        table
            .rows
            .push([peer.name.clone()].into_iter().chain(cells).collect());
        report
            .data
            .push(json!({ "peer": peer.name, "nanoseconds": medians }));
    }
    report.tables.push(table);
    Ok(report)
}

fn compile(scratch: &Scratch) -> Result<PathBuf, Box<dyn Error>> {
    let source = scratch.write("between.c", LIBRARY)?;
    let library = scratch.path().join("between.so");
    let mut command = Command::new("cc");
    command
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .arg(&library);
    let output = command.arg(source).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(library)
}

/// Returns the nanoseconds of an event; `None` if the peer cannot serve that ring.
fn between(
    peer: &Contestant,
    (channels, active): (usize, usize),
    library: &Path,
) -> Result<Option<f64>, Box<dyn Error>> {
    let length = Length {
        runs: 3,
        least_runs: 3,
        budget: Duration::ZERO,
        warm_up: 0,
    };
    let arguments = turn::arguments(&peer.name, Case::new(channels, active, WRITES), length);
    let mut command = Command::new(peer.program());
    let output = command
        .args(arguments)
        .env("LD_PRELOAD", library)
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let found = text.lines().find_map(|line| line.strip_prefix("between: "));
    Ok(found.and_then(|time| time.parse().ok()))
}
