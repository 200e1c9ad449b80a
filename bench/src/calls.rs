//! System calls per event, counted by strace.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::Command;

use serde_json::json;

use crate::contest::{Contest, Contestant};
use crate::cost;
use crate::effort::Effort;
use crate::report::{Goal, Report, Table, number};

pub fn run(contest: &Contest, _: &Effort) -> Result<Report, Box<dyn Error>> {
    Command::new("strace")
        .arg("-V")
        .output()
        .map_err(|_| "strace is not installed")?;
    let mut report = Report::new("calls", "System calls per event");
    report.notes.push(
        "A ring of 10 with one byte in it: the difference between two lengths of a run, counted \
         by strace."
            .to_owned(),
    );
    let mut table = Table::new("", &["peer", "calls per event", "of which"]);
    for peer in &contest.peers {
        let calls = match per_event(peer) {
            Ok(calls) => calls,
            Err(error) => return Err(format!("strace cannot be used: {error}").into()),
        };
        let sum: f64 = calls.values().sum();
        let parts: Vec<_> = calls
            .iter()
            .filter(|(_, count)| **count >= 0.005)
            .map(|(name, count)| format!("{name} {}", number(*count)))
            .collect();
        table
            .rows
            .push(vec![peer.name.clone(), number(sum), parts.join(", ")]);
        report
            .data
            .push(json!({ "peer": peer.name, "calls_per_event": sum, "of_which": calls }));
        if peer.name.starts_with("fdloop/") {
            let what = format!("system calls per event, {}", peer.name);
            // The poller over epoll checks its descriptors by the clock, and strace is slow.
            let limit = if peer.name.ends_with("epoll") {
                3.05
            } else {
                3.005
            };
            report.goals.push(Goal::at_most(what, limit, Some(sum)));
        }
    }
    report.tables.push(table);
    Ok(report)
}

fn per_event(peer: &Contestant) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let ([short, long], events) =
        cost::two_lengths(&peer.name, 10, |arguments| count(peer, arguments))?;
    let mut calls = BTreeMap::new();
    for (name, count) in long {
        let more = count - short.get(&name).unwrap_or(&0.0);
        if more > 0.0 {
            calls.insert(name, more / events);
        }
    }
    Ok(calls)
}

/// Each system call, and how often it was made.
fn count(peer: &Contestant, arguments: &[String]) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let table = std::env::temp_dir().join(format!("fdloop-bench-calls-{}", std::process::id()));
    let mut command = Command::new("strace");
    command
        .args(["-f", "-c", "-U", "calls,name", "-o"])
        .arg(&table);
    let output = command.arg(peer.program()).args(arguments).output()?;
    let text = fs::read_to_string(&table)?;
    fs::remove_file(&table)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .to_owned()
            .into());
    }
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let count = words.next()?.parse().ok()?;
        let name = words.next().filter(|name| *name != "total")?;
        Some((name.to_owned(), count))
    };
    Ok(text.lines().filter_map(line).collect())
}
