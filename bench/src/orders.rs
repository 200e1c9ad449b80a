//! The ring of `ring` in one case, over many orders of the code in the program.
//!
//! Where the linker puts the code changes the time of an event by some percent, partly in user space
//! and partly in the kernel. One build says little about smaller differences. Here the linker puts the
//! functions of each build into a random order.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::contest::{Contest, Contestant, on_measured_core};
use crate::effort::Effort;
use crate::peers::Call;
use crate::program::Scratch;
use crate::report::{Report, Table, median};
use crate::ring::Case;
use crate::ring::compare::turn_of;

/// The peers whose differences are as small as those between the orders.
const PEERS: [&str; 6] = [
    "raw/",
    "fdloop/",
    "mapped/",
    "libevent/",
    "libev/",
    "popol/",
];

pub fn run(contest: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let case = Case::new(400, 100, 1_000);
    let count = if effort.short { 2 } else { 36 };
    let mut report = Report::new("orders", "Ring over many orders of the code");
    report.notes.push(format!(
        "{case}: the time of an event in times of the loop by hand over the same system call. {count} \
         builds, in each of which the linker shuffles the functions, and {} rounds. The median of \
         the builds, the builds between which the middle half lies, and the outermost ones.",
        effort.rounds
    ));
    let is_close = |peer: &&Contestant| {
        let is_meant = PEERS.iter().any(|name| peer.name.starts_with(name));
        is_meant && matches!(peer.call, Call::Select | Call::Poll)
    };
    let peers: Vec<_> = contest.peers.iter().filter(is_close).collect();
    let scratch = Scratch::new()?;
    let programs = (1..=count).map(|seed| build(&scratch, seed));
    let programs = programs.collect::<Result<Vec<_>, _>>()?;
    let by_hand = |peer: &&Contestant| {
        let is_meant =
            |other: &&Contestant| other.name.starts_with("raw/") && other.call == peer.call;
        peers.iter().position(is_meant)
    };
    let by_hand = peers.iter().map(by_hand).collect::<Option<Vec<_>>>();
    let by_hand = by_hand.ok_or("the loop by hand is missing")?;
    // For each peer and build, the ratios of the rounds.
    let mut ratios = vec![vec![Vec::new(); programs.len()]; peers.len()];
    for round in 0..effort.rounds {
        eprintln!("  round {}", round + 1);
        for turn in 0..programs.len() {
            let build = (turn + round) % programs.len();
            let times = times(&programs[build], &peers, case, effort, turn + round)?;
            for (at, by_hand) in by_hand.iter().enumerate() {
                ratios[at][build].push(times[at] / times[*by_hand]);
            }
        }
    }
    let head = ["peer", "median", "middle half", "least", "most"];
    let mut table = Table::new("", &head);
    for (peer, ratios) in peers.iter().zip(&ratios) {
        let mut builds: Vec<f64> = ratios.iter().filter_map(|ratios| median(ratios)).collect();
        builds.sort_by(f64::total_cmp);
        let (low, high) = middle_half(&builds).ok_or("there are no builds")?;
        let exact = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
        table.rows.push(vec![
            peer.name.clone(),
            exact(median(&builds)),
            format!("{low:.3} to {high:.3}"),
            exact(builds.first().copied()),
            exact(builds.last().copied()),
        ]);
        report
            .data
            .push(json!({ "peer": peer.name, "builds": builds }));
    }
    report.tables.push(table);
    Ok(report)
}

/// Builds this program with its functions in an order of that number.
fn build(scratch: &Scratch, seed: usize) -> Result<PathBuf, Box<dyn Error>> {
    eprintln!("  build {seed}");
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The program that runs stays as it is.
    let target = package.join("target/orders");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .current_dir(package)
        .args(["rustc", "--release", "--quiet", "--locked", "--target-dir"])
        .arg(&target)
        .arg("--")
        .arg(format!("-Clink-arg=-Wl,--shuffle-sections=.text*={seed}"));
    let output = command.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot build (the linker must be lld): {}", why.trim()).into());
    }
    let program = scratch.path().join(format!("order-{seed}"));
    fs::copy(target.join("release/fdloop-bench"), &program)?;
    Ok(program)
}

/// Returns the time of a turn of each peer. No peer is always first.
fn times(
    program: &Path,
    peers: &[&Contestant],
    case: Case,
    effort: &Effort,
    first: usize,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut times = vec![0.0; peers.len()];
    for turn in 0..peers.len() {
        let at = (turn + first) % peers.len();
        let command = on_measured_core(Command::new(program));
        let time = turn_of(command, &peers[at].name, case, effort);
        times[at] = time.ok_or_else(|| format!("{} has no result", peers[at].name))?;
    }
    Ok(times)
}

/// Returns the values, of those sorted, between which the middle half lies.
fn middle_half(sorted: &[f64]) -> Option<(f64, f64)> {
    let quarter = sorted.len() / 4;
    let last = sorted.len().checked_sub(1 + quarter)?;
    Some((sorted[quarter], sorted[last]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_leaves_out_a_quarter_at_each_end() {
        let sorted = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        assert_eq!(middle_half(&sorted), Some((3.0, 6.0)));
        assert_eq!(middle_half(&sorted[..1]), Some((1.0, 1.0)));
        assert_eq!(middle_half(&[]), None);
    }
}
