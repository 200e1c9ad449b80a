//! Plots of what was measured last, from the JSON that it was written to.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use crate::peers::Call;
use crate::report::number;
use crate::ring::compare::AGAIN;

type Drawn = Result<(), Box<dyn Error>>;

/// Draws whatever there is.
pub fn draw(directory: &Path) -> Drawn {
    if let Some(data) = read(directory, "ring")? {
        for call in Call::ALL {
            let bars = ring(&data, call);
            let name = format!("ring-{}.svg", call.name());
            let title = format!("Ring over {}: nanoseconds per event", call.name());
            bars.draw(&directory.join(name), &title, true)?;
        }
    }
    if let Some(data) = read(directory, "echo")? {
        let bars = Bars::new(&data, "server", "requests_per_second", |item| {
            format!("50 of {} active", item["open"])
        });
        bars.draw(
            &directory.join("echo.svg"),
            "Echo: requests per second",
            false,
        )?;
    }
    if let Some(data) = read(directory, "instructions")? {
        let bars = Bars::new(&data, "peer", "per_event/0", |_| "10 channels".to_owned());
        let title = "User-space instructions per event";
        bars.draw(&directory.join("instructions.svg"), title, false)?;
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

fn ring(data: &[Value], call: Call) -> Bars {
    let of_call: Vec<_> = data
        .iter()
        .filter(|item| item["call"] == call.name())
        .filter(|item| {
            item["peer"]
                .as_str()
                .is_some_and(|peer| !peer.ends_with(AGAIN))
        })
        .cloned()
        .collect();
    Bars::new(&of_call, "peer", "ns_per_event", |item| {
        format!("n={} a={}", item["channels"], item["active"])
    })
}

/// Groups of bars, a bar for each peer.
struct Bars {
    groups: Vec<String>,
    peers: Vec<String>,
    /// By group and peer.
    values: BTreeMap<(usize, usize), f64>,
}

impl Bars {
    fn new(data: &[Value], peer: &str, value: &str, group: impl Fn(&Value) -> String) -> Self {
        let mut bars = Self {
            groups: Vec::new(),
            peers: Vec::new(),
            values: BTreeMap::new(),
        };
        for item in data {
            let number = item.pointer(&format!("/{value}")).and_then(Value::as_f64);
            let (Some(number), Some(peer)) = (number, item[peer].as_str()) else {
                continue;
            };
            let group = position(&mut bars.groups, group(item));
            let peer = position(&mut bars.peers, peer.to_owned());
            bars.values.insert((group, peer), number);
        }
        bars
    }

    /// Over a logarithmic scale where the groups differ by orders of magnitude.
    fn draw(&self, path: &Path, title: &str, logarithmic: bool) -> Drawn {
        let scale = |value: f64| if logarithmic { value.log10() } else { value };
        let back = move |value: f64| {
            if logarithmic {
                10_f64.powf(value)
            } else {
                value
            }
        };
        let Some(highest) = self.values.values().copied().reduce(f64::max) else {
            return Ok(());
        };
        let lowest = self.values.values().copied().fold(highest, f64::min);
        let bottom = if logarithmic {
            scale(lowest / 2.0)
        } else {
            0.0
        };
        let top = scale(highest * if logarithmic { 2.0 } else { 1.1 });

        let groups = self.groups.len();
        let room = groups * (self.peers.len() * 12 + 20);
        let plot = SVGBackend::new(path, (room.max(500) as u32 + 250, 400)).into_drawing_area();
        plot.fill(&WHITE)?;
        // The labels of the peers come after the last group.
        let end = groups as f64 * (1.0 + 150.0 / room.max(500) as f64);
        let mut chart = ChartBuilder::on(&plot)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..end, bottom..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .light_line_style(TRANSPARENT)
            .y_label_formatter(&|value| number(back(*value)))
            .draw()?;
        let width = 0.9 / self.peers.len() as f64;
        for (index, peer) in self.peers.iter().enumerate() {
            let style = colour(peer, index).filled();
            let ours = self.values.iter().filter(|((_, peer), _)| *peer == index);
            let bars = ours.map(|((group, _), value)| {
                let left = *group as f64 + 0.05 + index as f64 * width;
                Rectangle::new([(left, bottom), (left + width * 0.9, scale(*value))], style)
            });
            let label = move |(x, y)| Rectangle::new([(x, y - 4), (x + 8, y + 4)], style);
            chart.draw_series(bars)?.label(peer).legend(label);
        }
        let names = self.groups.iter().enumerate().map(|(group, name)| {
            Text::new(name.clone(), (group as f64 + 0.05, top), ("sans-serif", 13))
        });
        chart.draw_series(names)?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 12))
            .draw()?;
        plot.present()?;
        Ok(())
    }
}

/// The index of `name`, which is added if it is new.
fn position(names: &mut Vec<String>, name: String) -> usize {
    let known = names.iter().position(|known| *known == name);
    known.unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// fdloop stands out in red, and the loops by hand are grey.
fn colour(peer: &str, index: usize) -> RGBColor {
    match peer.split('/').next() {
        Some("fdloop") if peer.ends_with("select") => RGBColor(240, 120, 60),
        Some("fdloop") => RGBColor(200, 30, 30),
        Some("raw") => {
            let grey = 60 + 40 * (index % 3) as u8;
            RGBColor(grey, grey, grey)
        }
        _ => {
            // Steps of the golden ratio keep neighbours apart; no reds.
            let hue = 0.18 + 0.68 * (index as f64 * 0.618).fract();
            let (r, g, b) = HSLColor(hue, 0.45, 0.6).to_backend_color().rgb;
            RGBColor(r, g, b)
        }
    }
}
