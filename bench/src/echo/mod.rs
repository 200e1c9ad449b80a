//! The echo server: requests per second over TCP on the loopback interface.

pub mod load;

use std::error::Error;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::Command;

use serde_json::json;

use crate::contest::{Contest, Server};
use crate::effort::Effort;
use crate::peers;
use crate::report::{Goal, Report, Table, median, number};
use load::Load;

/// Connections that send requests.
const ACTIVE: usize = 50;

/// Connections that are open.
const OPEN: [usize; 3] = [50, 450, 4_000];

/// As long as the system lets it be.
const BACKLOG: libc::c_int = 4_096;

/// The process of a server: prints its port and serves.
pub fn serve(name: &str) -> Result<(), Box<dyn Error>> {
    let serve = peers::named(name)?.echo.ok_or("this peer has no echo")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    // SAFETY: listening again only changes the backlog.
    unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) };
    println!("{}", listener.local_addr()?.port());
    serve(listener)
}

/// Requests per second of a server, round by round, for each number in `OPEN`.
struct Rates {
    name: String,
    rounds: Vec<[Option<f64>; OPEN.len()]>,
}

impl Rates {
    fn median(&self, open: usize) -> Option<f64> {
        let rates = self.rounds.iter().filter_map(|round| round[open]);
        median(&rates.collect::<Vec<_>>())
    }

    /// In times of `other`, compared within each round.
    fn ratio(&self, other: &Self, open: usize) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let ratios = pairs.filter_map(|(ours, theirs)| Some(ours[open]? / theirs[open]?));
        median(&ratios.collect::<Vec<_>>())
    }
}

pub fn run(contest: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("echo", "Echo: requests per second");
    report.notes.push(format!(
        "64 bytes to and fro over TCP on the loopback interface; {ACTIVE} connections are active \
         of those that are open. The load has a core of its own. The median of {} rounds, in \
         each of which every server has its turn; the ratio is the median of the rounds' ratios \
         to the loop by hand over epoll. An empty cell: the server cannot do it.",
        effort.rounds
    ));
    let all = measure(contest, effort);
    report.tables.push(table(&all));
    report.goals = goals(&all);
    for rates in &all {
        for (index, open) in OPEN.into_iter().enumerate() {
            report.data.push(json!({
                "server": rates.name,
                "open": open,
                "active": ACTIVE,
                "requests_per_second": rates.median(index),
                "ratio_to_raw_epoll":
                    find(&all, "raw/epoll").and_then(|raw| rates.ratio(raw, index)),
                "rounds": rates.rounds.iter().map(|round| round[index]).collect::<Vec<_>>(),
            }));
        }
    }
    Ok(report)
}

fn measure(contest: &Contest, effort: &Effort) -> Vec<Rates> {
    let peers = contest.peers.iter().map(|peer| &peer.name);
    let ours = peers.filter(|name| has_echo(name)).cloned();
    let pythons = contest
        .python_echoes()
        .into_iter()
        .map(|(name, _)| name.to_owned());
    let mut all: Vec<_> = ours
        .chain(pythons)
        .map(|name| Rates {
            name,
            rounds: Vec::new(),
        })
        .collect();
    for round in 0..effort.rounds {
        for turn in 0..all.len() {
            let index = (turn + round) % all.len();
            let rates = OPEN.map(|open| {
                let command = command(contest, &all[index].name)?;
                let rate = rate(command, open, effort);
                rate.map_err(|error| eprintln!("  {}: {error}", all[index].name))
                    .ok()
            });
            all[index].rounds.push(rates);
        }
    }
    all
}

/// Checks whether a peer has an echo server. One that only another build has is taken to have one.
fn has_echo(name: &str) -> bool {
    peers::named(name).map_or(true, |peer| peer.echo.is_some())
}

fn command(contest: &Contest, name: &str) -> Option<Command> {
    if let Some(peer) = contest.peer(name) {
        let mut command = peer.command();
        command.args(["serve-echo", name]);
        return Some(command);
    }
    let mut pythons = contest.python_echoes().into_iter();
    Some(pythons.find(|(python, _)| *python == name)?.1)
}

fn rate(command: Command, open: usize, effort: &Effort) -> Result<f64, Box<dyn Error>> {
    let server = Server::start(command)?;
    let load = Load::connect(server.port, open, ACTIVE)?;
    // Until all are accepted and whatever adapts has adapted.
    load.run(effort.load_time / 3)?;
    load.run(effort.load_time)
}

fn find<'a>(all: &'a [Rates], name: &str) -> Option<&'a Rates> {
    all.iter().find(|rates| rates.name == name)
}

fn table(all: &[Rates]) -> Table {
    let columns = OPEN.map(|open| format!("{ACTIVE} of {open} active"));
    let head: Vec<_> = ["server"]
        .into_iter()
        .chain(columns.iter().map(String::as_str))
        .collect();
    let mut table = Table::new("", &head);
    for rates in all {
        let mut row = vec![rates.name.clone()];
        for index in 0..OPEN.len() {
            let ratio = find(all, "raw/epoll").and_then(|raw| rates.ratio(raw, index));
            let cell = rates.median(index).zip(ratio);
            row.push(cell.map_or(String::new(), |(rate, ratio)| {
                format!("{} ({}×)", number(rate), number(ratio))
            }));
        }
        table.rows.push(row);
    }
    table
}

fn goals(all: &[Rates]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for call in ["select", "poll", "epoll"] {
        let ours = find(all, &format!("fdloop/{call}"));
        let ratio = |other: &str, open| ours?.ratio(find(all, other)?, open);
        for (index, limit) in [0.97, 0.97, 0.85].into_iter().enumerate() {
            let what = format!(
                "echo {ACTIVE} of {}: {call}, times epoll by hand",
                OPEN[index]
            );
            goals.push(Goal::at_least(what, limit, ratio("raw/epoll", index)));
        }
    }
    goals
}
