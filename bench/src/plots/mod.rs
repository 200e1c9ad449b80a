//! Plots of the latest measurements, drawn from the recorded JSON.

mod chart;
mod scale;

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::report::number;
use crate::ring::compare::AGAIN;
use chart::{Chart, Figure, Panel};

/// Draws each plot whose results were recorded in `directory`.
pub fn draw(directory: &Path) -> Result<(), Box<dyn Error>> {
    if let Some(data) = read(directory, "echo")? {
        save(directory, "echo", &echo(&data))?;
    }
    if let Some(data) = read(directory, "ring")? {
        save(directory, "ring-one", &ring_of_one(&data))?;
        save(directory, "ring-many", &ring_of_many(&data))?;
    }
    if let Some(data) = read(directory, "instructions")? {
        save(directory, "instructions", &instructions(&data))?;
    }
    Ok(())
}

fn read(directory: &Path, name: &str) -> Result<Option<Vec<Value>>, Box<dyn Error>> {
    let Ok(text) = fs::read_to_string(directory.join(format!("{name}.json"))) else {
        return Ok(None);
    };
    let json: Value = serde_json::from_str(&text)?;
    Ok(json["data"].as_array().cloned())
}

/// Writes a chart, unless there is nothing on it.
fn save(directory: &Path, name: &str, chart: &Chart) -> Result<(), Box<dyn Error>> {
    if let Some(svg) = chart.to_svg() {
        fs::write(directory.join(format!("{name}.svg")), svg)?;
    }
    Ok(())
}

fn echo(data: &[Value]) -> Chart {
    let panel = |item: &Value| {
        let [active, open] = [count(item, "active"), count(item, "open")];
        format!("{active} of {open} connections active")
    };
    Chart {
        title: "Echo server: requests per second, more is better",
        notes: &["64 bytes to and fro over TCP on the loopback interface. By hand: a loop in C."],
        panels: panels(data, "server", "/requests_per_second", panel),
        same_scale: true,
    }
}

fn ring_of_one(data: &[Value]) -> Chart {
    let of_one: Vec<_> = cases(data, |active| active == 1.0).cloned().collect();
    let panel = |item: &Value| format!("1 of {} sockets ready", count(item, "channels"));
    Chart {
        title: "Ring, one socket ready: nanoseconds per event, less is better",
        notes: &[
            "One byte goes round the sockets. By hand: a loop in C. Each panel has its own scale.",
        ],
        panels: panels(&of_one, "peer", "/ns_per_event", panel),
        same_scale: false,
    }
}

fn ring_of_many(data: &[Value]) -> Chart {
    let of_many: Vec<_> = cases(data, |active| active > 1.0).cloned().collect();
    let panel = |item: &Value| {
        let [active, channels] = [count(item, "active"), count(item, "channels")];
        format!("{active} of {channels} sockets ready")
    };
    Chart {
        title: "Ring, many sockets ready: nanoseconds per event, less is better",
        notes: &["Many bytes go round the sockets. By hand: a loop in C."],
        panels: panels(&of_many, "peer", "/ns_per_event", panel),
        same_scale: true,
    }
}

fn instructions(data: &[Value]) -> Chart {
    Chart {
        title: "Ring: user-space instructions per event, less is better",
        notes: &[
            "By hand: a loop in C. The count includes the handler's own receive and send.",
            "Asked: channels with predicates that may look at anything, asked in every pass.",
        ],
        panels: panels(data, "peer", "/per_event/0", |item| {
            format!("1 of {} sockets ready", item["channels"][0])
        }),
        same_scale: true,
    }
}

/// Returns the cases of the ring with `active` bytes, without the second turns, which only show
/// the noise.
fn cases(data: &[Value], active: impl Fn(f64) -> bool) -> impl Iterator<Item = &Value> {
    let first = |item: &&Value| {
        item["peer"]
            .as_str()
            .is_some_and(|peer| !peer.ends_with(AGAIN))
    };
    data.iter()
        .filter(first)
        .filter(move |item| item["active"].as_f64().is_some_and(&active))
}

fn count(item: &Value, key: &str) -> String {
    item[key].as_f64().map_or(String::new(), |count| {
        // `number` formats these with decimals.
        if count < 1000.0 {
            count.to_string()
        } else {
            number(count)
        }
    })
}

/// Returns a panel for each title that `title` makes, in recorded order.
fn panels(data: &[Value], peer: &str, value: &str, title: impl Fn(&Value) -> String) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for item in data {
        let Some(peer) = item[peer].as_str() else {
            continue;
        };
        let figure = item.pointer(value).and_then(Value::as_f64).map(|middle| {
            let rounds = item["rounds"].as_array().into_iter().flatten();
            Figure::new(middle, rounds.filter_map(Value::as_f64))
        });
        let (title, entry) = (title(item), (peer.to_owned(), figure));
        match panels.iter_mut().find(|panel| panel.title == title) {
            Some(panel) => panel.figures.push(entry),
            None => panels.push(Panel {
                title,
                figures: vec![entry],
            }),
        }
    }
    panels
}
