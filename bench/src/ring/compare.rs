//! All peers, round by round.

use std::error::Error;
use std::process::Command;

use serde_json::json;

use super::Case;
use super::turn::{Length, arguments};
use crate::contest::{Contest, Contestant};
use crate::effort::Effort;
use crate::peers::Call;
use crate::report::{Goal, Report, Table, median, number};

/// The limit of fdloop's time, as a multiple of that of the loop by hand.
const GOALS: [f64; 6] = [1.05, 0.65, 1.03, 1.03, 0.75, 1.03];

/// Of a peer that has two turns in each round, to show what the noise is.
pub const AGAIN: &str = ", again";

/// The times of a peer in a case: nanoseconds per event, round by round.
struct Times {
    name: String,
    call: Call,
    rounds: Vec<Option<f64>>,
}

impl Times {
    fn median(&self) -> Option<f64> {
        median(&self.rounds.iter().flatten().copied().collect::<Vec<_>>())
    }

    /// In times of `other`, compared within each round.
    fn ratio(&self, other: &Self) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let ratios = pairs.filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?));
        median(&ratios.collect::<Vec<_>>())
    }

    /// How far two turns of one program lie apart: half of the rounds' differences are
    /// smaller than that part of it.
    fn noise(&self, again: &Self) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&again.rounds);
        let differences = pairs.filter_map(|(one, other)| Some(((*one)? / (*other)? - 1.0).abs()));
        median(&differences.collect::<Vec<_>>())
    }
}

pub fn run(contest: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("ring", "Ring: nanoseconds per event");
    report.notes.push(format!(
        "N socket pairs, A bytes that go round, W writes: each callback reads a byte and writes \
         one to the next pair. The median of {} rounds, in each of which every peer has its turn \
         and runs {} times, but {} times at least if that takes too long; the ratio is the median \
         of the rounds' ratios to the loop by hand over the same system call. fdloop has a second \
         turn in each round (`again`), which shows what the noise is. An empty cell: the peer \
         cannot do it.",
        effort.rounds, effort.ring_runs, effort.least_ring_runs
    ));
    let mut all = Vec::new();
    for case in Case::ALL {
        let case = if effort.short { case.shortened() } else { case };
        eprintln!("  {case}");
        all.push((case, measure(contest, case, effort)));
    }
    for call in Call::ALL {
        report.tables.push(table(call, &all));
    }
    for ((case, times), limit) in all.iter().zip(GOALS) {
        for call in [Call::Select, Call::Poll] {
            report.goals.push(to_raw(*case, times, call, limit));
            report.goals.push(to_peers(*case, times, call));
        }
        for peer in times {
            report.data.push(json!({
                "channels": case.channels,
                "active": case.active,
                "writes": case.writes,
                "peer": peer.name,
                "call": peer.call.name(),
                "ns_per_event": peer.median(),
                "ratio_to_raw": raw(times, peer.call).and_then(|raw| peer.ratio(raw)),
                "rounds": peer.rounds,
            }));
        }
    }
    Ok(report)
}

fn measure(contest: &Contest, case: Case, effort: &Effort) -> Vec<Times> {
    let ours = contest.peers.iter().filter(|peer| is_ours(&peer.name));
    let peers = contest.peers.iter().map(|peer| (peer, ""));
    let peers: Vec<_> = peers.chain(ours.map(|peer| (peer, AGAIN))).collect();
    let new = |(peer, turn): &(&Contestant, &str)| Times {
        name: format!("{}{turn}", peer.name),
        call: peer.call,
        rounds: Vec::new(),
    };
    let mut times: Vec<_> = peers.iter().map(new).collect();
    for round in 0..effort.rounds {
        // No peer is always first.
        for turn in 0..peers.len() {
            let index = (turn + round) % peers.len();
            let peer = peers[index].0;
            let time = turn_of(peer.command(), &peer.name, case, effort);
            times[index].rounds.push(time);
        }
    }
    times
}

fn is_ours(name: &str) -> bool {
    name.starts_with("fdloop/")
}

/// The median of one turn, in nanoseconds per event. `program` has the peer of that name.
pub fn turn_of(mut program: Command, name: &str, case: Case, effort: &Effort) -> Option<f64> {
    let length = Length {
        runs: effort.ring_runs,
        least_runs: effort.least_ring_runs,
        budget: effort.ring_budget,
        warm_up: case.writes.min(200),
    };
    let output = program.args(arguments(name, case, length)).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    Some(median(&times)? / case.events() as f64)
}

fn raw(times: &[Times], call: Call) -> Option<&Times> {
    find(times, "raw", call)
}

fn find<'a>(times: &'a [Times], library: &str, call: Call) -> Option<&'a Times> {
    let name = format!("{library}/{}", call.name());
    times.iter().find(|times| times.name == name)
}

fn table(call: Call, all: &[(Case, Vec<Times>)]) -> Table {
    let cases: Vec<_> = all.iter().map(|(case, _)| case.to_string()).collect();
    let head: Vec<_> = ["peer"]
        .into_iter()
        .chain(cases.iter().map(String::as_str))
        .collect();
    let mut table = Table::new(
        format!("{}(2)", call.name()).replace("epoll(2)", "epoll(7)"),
        &head,
    );
    let names = all[0].1.iter().filter(|times| times.call == call);
    for name in names.map(|times| &times.name) {
        let mut row = vec![name.clone()];
        for (_, times) in all {
            let ours = times.iter().find(|times| times.name == *name);
            let cell = ours.and_then(|ours| {
                let ratio = raw(times, call).and_then(|raw| ours.ratio(raw));
                Some(format!("{} ({}×)", number(ours.median()?), number(ratio?)))
            });
            row.push(cell.unwrap_or_default());
        }
        table.rows.push(row);
    }
    table
}

fn to_raw(case: Case, times: &[Times], call: Call, limit: f64) -> Goal {
    let what = format!("ring {case}: {}, times the loop by hand", call.name());
    let ours = find(times, "fdloop", call);
    let reached = ours.and_then(|ours| ours.ratio(raw(times, call)?));
    Goal::at_most(what, limit, reached)
}

/// Checks whether a peer is a library, and not a loop written for the comparison.
fn is_other_library(name: &str) -> bool {
    let by_hand = name.starts_with("raw/") || name.starts_with("mapped/");
    !by_hand && !is_ours(name)
}

/// In times of the fastest other library over the same system call, which fdloop shall
/// not be slower than beyond the noise.
fn to_peers(case: Case, times: &[Times], call: Call) -> Goal {
    let ours = find(times, "fdloop", call);
    let is_other = |times: &&Times| times.call == call && is_other_library(&times.name);
    let others = times.iter().filter(is_other);
    let ratios = others.filter_map(|other| Some((ours?.ratio(other)?, &other.name)));
    let worst = ratios.max_by(|a, b| a.0.total_cmp(&b.0));
    let name = worst.map_or("the fastest peer", |worst| worst.1);
    let what = format!("ring {case}: {}, times {name} (1 + noise)", call.name());
    let again = times
        .iter()
        .find(|times| times.call == call && times.name.ends_with(AGAIN));
    let noise = ours.and_then(|ours| ours.noise(again?));
    Goal::at_most(what, 1.0 + noise.unwrap_or(0.0), worst.map(|worst| worst.0))
}
