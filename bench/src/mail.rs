//! The example `smtp_sink`, beside postfix's `smtp-sink`, under postfix's `smtp-source`.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::contest::{Contest, build_example, target_directory};
use crate::effort::Effort;
use crate::program::{self, Cost, Program, Scratch};
use crate::report::{Report, Table, median, number};

/// The time for a turn, after which the server is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The mail of a turn.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// Connections at a time.
    sessions: usize,
    /// Bytes of a message.
    length: usize,
    /// A connection has many messages, instead of one.
    stays: bool,
    /// The number of messages.
    messages: usize,
}

const CASES: [Case; 4] = [
    Case {
        sessions: 20,
        length: 1_000,
        stays: false,
        messages: 10_000,
    },
    Case {
        sessions: 20,
        length: 1_000,
        stays: true,
        messages: 20_000,
    },
    Case {
        sessions: 200,
        length: 1_000,
        stays: true,
        messages: 20_000,
    },
    Case {
        sessions: 20,
        length: 100_000,
        stays: true,
        messages: 5_000,
    },
];

impl Case {
    fn name(self) -> String {
        format!(
            "{} sessions, {} bytes, {}",
            self.sessions,
            number(self.length as f64),
            if self.stays {
                "connected"
            } else {
                "one a connection"
            }
        )
    }
}

#[derive(Debug, Clone, Copy)]
enum Sink {
    /// The example, with a backend.
    Own(&'static str),
    Postfix,
}

impl Sink {
    const ALL: [Self; 3] = [Self::Own("epoll"), Self::Own("poll"), Self::Postfix];

    fn name(self) -> String {
        match self {
            Self::Own(backend) => format!("smtp_sink --backend {backend}"),
            Self::Postfix => "smtp-sink".to_owned(),
        }
    }

    fn start(self, port: u16) -> Result<Program, Box<dyn Error>> {
        let address = format!("127.0.0.1:{port}");
        let command = match self {
            Self::Own(backend) => {
                let program = target_directory()?.join("release/examples/smtp_sink");
                let mut command = Command::new(program);
                command.args(["--backend", backend, &address]);
                command
            }
            Self::Postfix => {
                let program = program::find("smtp-sink").ok_or("it is not installed")?;
                let mut command = Command::new(program);
                // SAFETY: the call takes nothing.
                if unsafe { libc::geteuid() } == 0 {
                    // As root it wants a user. With another one, the kernel would no longer kill
                    // it together with this program.
                    command.args(["-u", "root"]);
                }
                command.args([&address, "1024"]);
                command
            }
        };
        Program::start(command, Scratch::new()?)
    }
}

pub fn run(_: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let source = program::find("smtp-source")
        .ok_or("postfix's smtp-source, which is the load, is not installed")?;
    let mut report = Report::new("mail", "Mail: messages per second");
    report.notes.push(format!(
        "postfix's `smtp-source` sends messages over TCP on the loopback interface from a core of \
         its own; the servers drop them. `smtp_sink` also prints a line for each. CPU is the \
         processor time of the server per message. The medians of {} rounds, in each of which \
         every server has its turn with every load, in a new process.",
        effort.rounds
    ));
    build_example("smtp_sink")?;
    let mut all: Vec<(Sink, [Vec<Cost>; CASES.len()])> = Vec::new();
    for sink in Sink::ALL {
        // One that is not installed, or does not listen, has no turns.
        match listening(sink) {
            Ok(_) => all.push((sink, Default::default())),
            Err(error) => report.leave_out(&sink.name(), &*error),
        }
    }
    for round in 0..effort.rounds {
        for turn in 0..all.len() {
            let count = all.len();
            let (sink, of_cases) = &mut all[(turn + round) % count];
            for (case, costs) in CASES.into_iter().zip(of_cases) {
                match measure(&source, *sink, case, effort) {
                    Ok(cost) => costs.push(cost),
                    Err(error) => {
                        let what = format!("{} with {}", sink.name(), case.name());
                        report.leave_out(&what, &*error);
                    }
                }
            }
        }
    }
    let mut head = vec!["load".to_owned()];
    for (sink, _) in &all {
        head.extend([sink.name(), "CPU".to_owned()]);
    }
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let mut table = Table::new("", &head);
    for (index, case) in CASES.into_iter().enumerate() {
        let mut row = vec![case.name()];
        for (sink, costs) in &all {
            let of =
                |value: fn(&Cost) -> f64| -> Vec<_> { costs[index].iter().map(value).collect() };
            let (rates, processor) = (of(|cost| cost.rate), of(|cost| cost.processor));
            let cell = |value: Option<f64>, unit: &str| {
                value.map_or(String::new(), |value| number(value) + unit)
            };
            row.push(cell(median(&rates), ""));
            row.push(cell(median(&processor).map(|time| time * 1e-3), " µs"));
            report.data.push(json!({
                "server": sink.name(),
                "load": case.name(),
                "messages_per_second": median(&rates),
                "processor_nanoseconds_per_message": median(&processor),
                "rounds": {
                    "messages_per_second": rates,
                    "processor_nanoseconds_per_message": processor,
                },
            }));
        }
        table.rows.push(row);
    }
    report.tables.push(table);
    Ok(report)
}

/// Starts a server, and returns it with its port as soon as it listens.
fn listening(sink: Sink) -> Result<(Program, u16), Box<dyn Error>> {
    let port = program::free_port()?;
    let mut server = sink.start(port)?;
    server.connect(port)?;
    Ok((server, port))
}

fn measure(source: &Path, sink: Sink, case: Case, effort: &Effort) -> Result<Cost, Box<dyn Error>> {
    let (server, port) = listening(sink)?;
    let messages = case.messages / if effort.short { 10 } else { 1 };
    // The first messages allocate memory that later ones do not.
    send(source, case, port, messages / 10)?;
    let before = server.processor_time()?;
    let begin = Instant::now();
    send(source, case, port, messages)?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Cost {
        rate: messages as f64 / seconds,
        processor: (server.processor_time()? - before) / messages as f64,
    })
}

/// Has `smtp-source` send messages.
fn send(source: &Path, case: Case, port: u16, messages: usize) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(source);
    command.args(["-f", "from@example.org", "-t", "to@example.org"]);
    command.args(["-s", &case.sessions.to_string()]);
    command.args(["-l", &case.length.to_string()]);
    command.args(["-m", &messages.to_string()]);
    if case.stays {
        command.arg("-d");
    }
    command.arg(format!("inet:127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // Without a server, it would try for ever.
    program::end_with_us(&mut command);
    let mut source = Source(command.spawn()?);
    let begin = Instant::now();
    loop {
        match source.0.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("smtp-source ended: {status}").into()),
            None if begin.elapsed() > PATIENCE => return Err("smtp-source does not end".into()),
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The load, killed when dropped.
struct Source(Child);

impl Drop for Source {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
