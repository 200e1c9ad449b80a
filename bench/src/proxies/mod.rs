//! The forwarder under several loads, beside haproxy, nginx and socat.

mod bulk;
mod load;
mod peers;

use std::error::Error;

use serde_json::{Value, json};

use crate::contest::{Contest, build_example};
use crate::effort::Effort;
use crate::program::Cost;
use crate::report::{Report, Table, median, number};
use load::{Way, repeat};
use peers::Proxy;

/// A load. Each has a process of the forwarder to itself.
#[derive(Debug, Clone, Copy)]
enum Case {
    /// One way, over so many connections at a time.
    Bulk(usize),
    /// 64 bytes to and fro over one connection, while so many others are idle.
    PingPong(usize),
    WriteWriteRead,
    Short,
}

const BULK: [Case; 3] = [Case::Bulk(1), Case::Bulk(8), Case::Bulk(64)];
const PING_PONG: [Case; 3] = [
    Case::PingPong(0),
    Case::PingPong(200),
    Case::PingPong(MOST_IDLE),
];
const OTHERS: [Case; 2] = [Case::WriteWriteRead, Case::Short];

/// The idle connections by which memory is measured.
const MOST_IDLE: usize = 2_000;

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        BULK.into_iter().chain(PING_PONG).chain(OTHERS)
    }

    fn name(self) -> String {
        match self {
            Self::Bulk(1) => "1 stream".to_owned(),
            Self::Bulk(streams) => format!("{streams} streams"),
            Self::PingPong(idle) => format!("{} idle", number(idle as f64).trim_end_matches(".00")),
            Self::WriteWriteRead => "write-write-read".to_owned(),
            Self::Short => "short connections".to_owned(),
        }
    }
}

/// A turn of a forwarder with a load.
struct Turn {
    cost: Cost,
    /// Bytes that an idle pair adds to the memory of the forwarder.
    memory: Option<f64>,
}

/// The turns of a forwarder: for each case, those of all rounds.
struct Turns {
    proxy: Proxy,
    of_cases: Vec<Vec<Turn>>,
}

pub fn run(_: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("proxies", "Proxies: the forwarder beside others");
    report.notes.push(format!(
        "Connections through a forwarder over TCP on the loopback interface. Both ends of each \
         are in one process, which has a core of its own. CPU is the processor time of the \
         forwarder, with that of its children, per unit of work. The medians of {} rounds, in \
         each of which every forwarder has its turn with every load, in a new process.",
        effort.rounds
    ));
    build_example("port_forward")?;
    let mut all = Vec::new();
    for proxy in Proxy::ALL {
        // One that is not installed, or does not forward, has no turns.
        match Way::start(proxy).and_then(|mut way| way.connect_shortly()) {
            Ok(()) => all.push(Turns {
                proxy,
                of_cases: Case::all().map(|_| Vec::new()).collect(),
            }),
            Err(error) => report.leave_out(&proxy.name(), &*error),
        }
    }
    for round in 0..effort.rounds {
        for turn in 0..all.len() {
            let count = all.len();
            let turns = &mut all[(turn + round) % count];
            for (case, of_case) in Case::all().zip(&mut turns.of_cases) {
                match measure(turns.proxy, case, effort) {
                    Ok(turn) => of_case.push(turn),
                    Err(error) => {
                        let what = format!("{} with {}", turns.proxy.name(), case.name());
                        report.leave_out(&what, &*error);
                    }
                }
            }
        }
    }
    report.tables = tables(&all);
    report.data = all.iter().flat_map(Turns::to_json).collect();
    Ok(report)
}

fn measure(proxy: Proxy, case: Case, effort: &Effort) -> Result<Turn, Box<dyn Error>> {
    let time = effort.load_time;
    let mut way = Way::start(proxy)?;
    let mut memory = None;
    let cost = match case {
        Case::Bulk(streams) => bulk::run(&mut way, streams, time * 2)?,
        Case::PingPong(idle) => {
            let mut pair = way.connect()?;
            // The first connection allocates memory that further ones do not.
            pair.exchange()?;
            let before = way.program.memory()?;
            let others = way.connect_idle(idle)?;
            if idle == MOST_IDLE {
                memory = Some((way.program.memory()? - before) / idle as f64);
            }
            let clock = |_: &_| way.program.processor_time();
            let cost = repeat(&mut pair, time, clock, |pair| Ok(pair.exchange()?))?;
            drop(others);
            cost
        }
        Case::WriteWriteRead => {
            let mut pair = way.connect()?;
            let clock = |_: &_| way.program.processor_time();
            repeat(&mut pair, time, clock, |pair| Ok(pair.exchange_in_parts()?))?
        }
        Case::Short => {
            let clock = |way: &Way| way.program.processor_time();
            // The first one waits until the forwarder listens.
            way.connect_shortly()?;
            repeat(&mut way, time, clock, Way::connect_shortly)?
        }
    };
    Ok(Turn { cost, memory })
}

impl Turns {
    fn median(&self, case: usize, value: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let values = self.of_cases[case].iter().filter_map(value);
        median(&values.collect::<Vec<_>>())
    }

    fn rate(&self, case: usize) -> Option<f64> {
        self.median(case, |turn| Some(turn.cost.rate))
    }

    fn processor(&self, case: usize) -> Option<f64> {
        self.median(case, |turn| Some(turn.cost.processor))
    }

    fn memory(&self, case: usize) -> Option<f64> {
        self.median(case, |turn| turn.memory)
    }

    fn to_json(&self) -> Vec<Value> {
        let cases = Case::all().enumerate().map(|(index, case)| {
            let rounds = |value: fn(&Turn) -> f64| -> Vec<_> {
                self.of_cases[index].iter().map(value).collect()
            };
            json!({
                "forwarder": self.proxy.name(),
                "load": case.name(),
                "units_per_second": self.rate(index),
                "processor_nanoseconds_per_unit": self.processor(index),
                "bytes_per_idle_pair": self.memory(index),
                "rounds": {
                    "units_per_second": rounds(|turn| turn.cost.rate),
                    "processor_nanoseconds_per_unit": rounds(|turn| turn.cost.processor),
                },
            })
        });
        cases.collect()
    }
}

fn tables(all: &[Turns]) -> Vec<Table> {
    let mut first = 0;
    let groups = [
        ("Bulk: MB per second, and CPU per GB", &BULK[..]),
        (
            "64 bytes to and fro: round trips per second, and CPU of each",
            &PING_PONG,
        ),
        (
            "Write-write-read, and connections for one round trip: per second, and CPU of each",
            &OTHERS,
        ),
    ];
    let groups = groups
        .into_iter()
        .enumerate()
        .map(|(group, (title, cases))| {
            let names: Vec<_> = cases.iter().map(|case| case.name()).collect();
            let mut head = vec!["forwarder"];
            for name in &names {
                head.extend([name, "CPU"]);
            }
            let has_memory = group == 1;
            if has_memory {
                head.push("memory of an idle pair");
            }
            let mut table = Table::new(title, &head);
            for turns in all {
                let mut row = vec![turns.proxy.name()];
                for index in first..first + cases.len() {
                    let (rate, processor) = match cases[index - first] {
                        Case::Bulk(_) => (1e-6, (1e9 * 1e-6, "ms")),
                        _ => (1.0, (1e-3, "µs")),
                    };
                    let cell = |value: Option<f64>, times: f64, unit: &str| {
                        value.map_or(String::new(), |value| number(value * times) + unit)
                    };
                    row.push(cell(turns.rate(index), rate, ""));
                    row.push(cell(
                        turns.processor(index),
                        processor.0,
                        &format!(" {}", processor.1),
                    ));
                }
                if has_memory {
                    let memory = turns.memory(first + cases.len() - 1);
                    row.push(memory.map_or(String::new(), |bytes| format!("{} B", number(bytes))));
                }
                table.rows.push(row);
            }
            first += cases.len();
            table
        });
    groups.collect()
}
