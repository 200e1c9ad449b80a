//! User-space instructions per event, counted by valgrind: the one number that no
//! other load on the machine changes.

use std::error::Error;
use std::process::Command;

use serde_json::json;

use crate::contest::{Contest, Contestant};
use crate::cost;
use crate::effort::Effort;
use crate::report::{Goal, Report, Table, number};

/// Channels: in a small loop, and in two larger ones with idle channels.
const CHANNELS: [usize; 3] = [10, 60, 510];

pub fn run(contest: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .map_err(|_| "valgrind is not installed")?;
    let mut report = Report::new("instructions", "User-space instructions per event");
    report.notes.push(
        "A ring with one byte in it: the difference between two lengths of a run, counted by \
         callgrind; the handler's own receive and send are in it. `asked` are channels whose \
         predicates may look at anything, and that are asked in every pass. The slopes are what \
         each further idle channel adds."
            .to_owned(),
    );
    let slopes = slopes();
    let head = ["peer", "n=10", &slopes[0], &slopes[1]];
    let mut table = Table::new("", &head);
    let raw = ["raw/select", "raw/poll", "raw/epoll"];
    for name in raw.into_iter().chain(cost::own_peers()) {
        let peer = cost::host(&contest.peers, name)?;
        let costs = CHANNELS.map(|channels| per_event(peer, name, channels));
        let [small, middle, large] = costs;
        let costs = [small?, middle?, large?];
        table.rows.push(row(name, &costs));
        goals(name, &costs, &mut report.goals);
        report
            .data
            .push(json!({ "peer": name, "channels": CHANNELS, "per_event": costs }));
    }
    // What the others take does not change from run to run.
    if !effort.short {
        for peer in &contest.peers {
            if peer.name.starts_with("raw/") || peer.name.starts_with("fdloop/") {
                continue;
            }
            let cost = per_event(peer, &peer.name, CHANNELS[0])?;
            table.rows.push(row(&peer.name, &[cost]));
            report
                .data
                .push(json!({ "peer": peer.name, "channels": [CHANNELS[0]], "per_event": [cost] }));
        }
    }
    report.tables.push(table);
    Ok(report)
}

fn slopes() -> [String; 2] {
    [1, 2].map(|to: usize| format!("slope, {} to {}", CHANNELS[to - 1], CHANNELS[to]))
}

fn slope(costs: &[f64], to: usize) -> Option<f64> {
    let channels = (CHANNELS[to] - CHANNELS[to - 1]) as f64;
    Some((costs.get(to)? - costs[to - 1]) / channels)
}

fn row(name: &str, costs: &[f64]) -> Vec<String> {
    let slope = |to| slope(costs, to).map_or(String::new(), |slope| format!("{slope:+.2}"));
    vec![name.to_owned(), number(costs[0]), slope(1), slope(2)]
}

fn goals(name: &str, costs: &[f64], goals: &mut Vec<Goal>) {
    let (own, each) = match name {
        "fdloop/poll" => (Some(450.0), 4.0),
        "fdloop/select" => (Some(600.0), 2.0),
        "fdloop/epoll" => (Some(450.0), 0.5),
        "fdloop/poll/asked" | "fdloop/select/asked" => (None, 25.0),
        _ => return,
    };
    if let Some(limit) = own {
        let what = format!("instructions per event at n=10, {name}");
        goals.push(Goal::at_most(what, limit, Some(costs[0])));
    }
    for (to, range) in (1..).zip(slopes()) {
        let what = format!("instructions per further idle channel ({range}), {name}");
        goals.push(Goal::at_most(what, each, slope(costs, to)));
    }
}

fn per_event(peer: &Contestant, name: &str, channels: usize) -> Result<f64, Box<dyn Error>> {
    let ([short, long], events) =
        cost::two_lengths(name, channels, |arguments| count(peer, arguments))?;
    Ok((long - short) / events)
}

/// All instructions of a process.
fn count(peer: &Contestant, arguments: &[String]) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = command.arg(peer.program()).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let count = line.and_then(|(_, count)| count.trim().parse().ok());
    count.ok_or_else(|| format!("valgrind cannot be used: {}", text.trim()).into())
}
