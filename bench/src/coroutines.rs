//! Coroutines: the same echo server as channels, as coroutines here, and as coroutines over other
//! runtimes.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::json;

use crate::contest::{Contest, Server, on_measured_core};
use crate::echo::load::Load;
use crate::effort::Effort;
use crate::memory;
use crate::peers::tasks;
use crate::report::{Goal, Report, Table, median, number};

/// Connections, all of which send requests.
const CONNECTIONS: [usize; 3] = [1, 50, 400];

/// Requests of the shorter and the longer run whose instructions are counted.
const REQUESTS: [usize; 2] = [1_000, 5_000];

/// Servers with a second thread, of which callgrind does not count everything.
const THREADED: [&str; 2] = ["async-io/epoll", "smol/epoll"];

/// The name of the channels' server, to which the others are compared.
const CHANNELS: &str = "fdloop/poll";

/// Requests per second, and nanoseconds of the server's processor time for each, round by round.
struct Rates {
    name: &'static str,
    rounds: Vec<[Option<(f64, f64)>; CONNECTIONS.len()]>,
}

impl Rates {
    fn median(&self, column: usize, value: fn(&(f64, f64)) -> f64) -> Option<f64> {
        let rates = self
            .rounds
            .iter()
            .filter_map(|round| round[column].as_ref());
        median(&rates.map(value).collect::<Vec<_>>())
    }

    /// The processor time in times of `other`, compared within each round.
    fn ratio(&self, other: &Self, column: usize) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let ratios = pairs.filter_map(|(ours, theirs)| Some(ours[column]?.1 / theirs[column]?.1));
        median(&ratios.collect::<Vec<_>>())
    }
}

pub fn run(_: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("coroutines", "Coroutines: the same echo");
    report.notes.push(format!(
        "64 bytes to and fro over TCP on the loopback interface, on all connections at once. \
         Requests per second, and nanoseconds of the server's processor time for a request: the \
         median of {} rounds, in each of which every server has its turn. Instructions of user \
         space for a request on one connection are counted by callgrind, for servers of one thread. Bytes are those of a \
         task that waits to read, with its stream, counted by the allocator.",
        effort.rounds
    ));
    let all = measure(effort);
    let mut head = vec!["server".to_owned()];
    for connections in CONNECTIONS {
        head.push(format!("{connections} connections"));
    }
    head.extend(["instructions".to_owned(), "bytes of a task".to_owned()]);
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let mut table = Table::new("", &head);
    for rates in &all {
        let mut row = vec![rates.name.to_owned()];
        for column in 0..CONNECTIONS.len() {
            let rate = rates.median(column, |rate| rate.0);
            let time = rates.median(column, |rate| rate.1);
            row.push(rate.zip(time).map_or(String::new(), |(rate, time)| {
                format!("{} ({} ns)", number(rate), number(time))
            }));
        }
        let instructions = if THREADED.contains(&rates.name) {
            None
        } else {
            instructions(rates.name)
                .map_err(|error| eprintln!("  {}: {error}", rates.name))
                .ok()
        };
        let bytes = tasks::BYTES.iter().find(|(name, _)| *name == rates.name);
        let bytes = bytes.and_then(|(_, fill)| memory::per_stream(*fill).ok());
        row.push(instructions.map_or(String::new(), number));
        row.push(bytes.map_or(String::new(), number));
        table.rows.push(row);
        let per_second = [0, 1, 2].map(|column| rates.median(column, |rate| rate.0));
        let nanoseconds = [0, 1, 2].map(|column| rates.median(column, |rate| rate.1));
        report.data.push(json!({
            "server": rates.name,
            "connections": CONNECTIONS,
            "requests_per_second":
                per_second,
            "nanoseconds_per_request":
                nanoseconds,
            "instructions_per_request": instructions,
            "bytes_per_task": bytes,
        }));
    }
    report.tables.push(table);
    report.goals = goals(&all);
    Ok(report)
}

fn goals(all: &[Rates]) -> Vec<Goal> {
    let find = |name: &str| all.iter().find(|rates| rates.name == name);
    let Some(ours) = find("coroutines/poll") else {
        return Vec::new();
    };
    let goal = |column: usize, other: &str, limit| {
        let connections = CONNECTIONS[column];
        let what = format!(
            "processor time of a coroutine's echo, {connections} connections, times {other}"
        );
        let ratio = find(other).and_then(|other| ours.ratio(other, column));
        Goal::at_most(what, limit, ratio)
    };
    let channels = (0..CONNECTIONS.len()).map(|column| goal(column, CHANNELS, 1.2));
    let tokio = [goal(0, "tokio/epoll", 1.0), goal(1, "tokio/epoll", 1.0)];
    channels.chain(tokio).collect()
}

fn measure(effort: &Effort) -> Vec<Rates> {
    let mut all: Vec<_> = tasks::NAMES
        .iter()
        .map(|name| Rates {
            name,
            rounds: Vec::new(),
        })
        .collect();
    for round in 0..effort.rounds {
        for turn in 0..all.len() {
            let index = (turn + round) % all.len();
            let rates = CONNECTIONS.map(|connections| {
                let rate = rate(all[index].name, connections, effort);
                rate.map_err(|error| eprintln!("  {}: {error}", all[index].name))
                    .ok()
            });
            all[index].rounds.push(rates);
        }
    }
    all
}

/// Returns requests per second, and nanoseconds of the server's processor time for each.
fn rate(name: &str, connections: usize, effort: &Effort) -> Result<(f64, f64), Box<dyn Error>> {
    let mut command = on_measured_core(Command::new(env::current_exe()?));
    command.args(["serve-echo", name]);
    let server = Server::start(command)?;
    let load = Load::connect(server.port, connections, connections)?;
    load.run(effort.load_time / 3)?;
    let before = server.processor_time()?;
    let begin = std::time::Instant::now();
    let rate = load.run(effort.load_time)?;
    let requests = rate * begin.elapsed().as_secs_f64();
    let time = server.processor_time()? - before;
    Ok((rate, time / requests))
}

/// Counts the instructions of user space for a request.
fn instructions(name: &str) -> Result<f64, Box<dyn Error>> {
    let [short, long] = REQUESTS.map(|requests| count(name, requests));
    Ok((long? - short?) / (REQUESTS[1] - REQUESTS[0]) as f64)
}

/// All instructions of a server that serves so many requests of one connection.
fn count(name: &str, requests: usize) -> Result<f64, Box<dyn Error>> {
    let log = env::temp_dir().join(format!("fdloop-bench-{}", std::process::id()));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(format!("--log-file={}", log.display()));
    command.arg(env::current_exe()?).args(["serve-echo", name]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let server = Server::start(command)?;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
    stream.set_nodelay(true)?;
    let mut message = [b'.'; 64];
    for _ in 0..requests {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
    server.terminate()?;
    let text = fs::read_to_string(&log)?;
    fs::remove_file(&log)?;
    let line = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let count = line.and_then(|(_, count)| count.trim().parse().ok());
    count.ok_or_else(|| format!("valgrind cannot be used: {}", text.trim()).into())
}
