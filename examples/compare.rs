//! Compares the backends on this machine, for growing numbers of descriptors.
//!
//! N pairs of sockets form a ring, and A bytes go round it: a channel that receives a byte sends
//! one to its neighbour. All other descriptors are idle, as most descriptors of most programs are,
//! so the part of the time that grows with N is the price of waiting for many. The backends differ
//! in that price:
//!
//! - select(2) gets bit sets as long as the highest descriptor number, and poll(2) an array as long
//!   as the number of descriptors. Both then look at each descriptor.
//!   For both, the loop adapts to its load: see `PollPoller`.
//! - epoll(7) gets each descriptor once, and each call looks only at the ready ones. It takes the
//!   feature `epoll`.
//!
//! A table shows the time of an event in nanoseconds, from the wait to the send. `--svg` draws the
//! table as well.
//!
//! Try it:
//!
//! ```text
//! cargo run --release --features epoll --example compare
//! cargo run --release --example compare -- --fds 10,100,1000 --active 5 --svg compare.svg
//! ```

mod common;

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use common::{Arguments, Failure};
use fdloop::{Backend, Dispatcher, EventLoop, Handler, Io, Predicates, Result, View};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use plotters::prelude::*;

const USAGE: &str = "\
usage: compare [--fds N,N,...] [--active A] [--svg FILE]
  --fds     how many descriptors to wait for; 10,30,100,300,1000,3000 by default
  --active  how many bytes go round at once; 1 by default
  --svg     where to draw a plot";

/// The default numbers of descriptors.
const FDS: [usize; 6] = [10, 30, 100, 300, 1_000, 3_000];

/// The number of repetitions of each measurement. The backends take turns, and the median counts.
const ROUNDS: usize = 7;

/// Descriptors that are in use for other things.
const OTHERS: usize = 16;

/// The state that the channels of a ring share.
struct Ring {
    /// The sockets to which the channels send.
    senders: Vec<UnixStream>,
    /// Bytes that are still to be passed on.
    left: Cell<usize>,
    /// Bytes on their way.
    pending: Cell<usize>,
}

impl Ring {
    fn send_to(&self, index: usize) -> io::Result<()> {
        let sender = &self.senders[index % self.senders.len()];
        // There is room: at most as many bytes are pending as go round.
        (&mut &*sender).write_all(b".")?;
        self.pending.set(self.pending.get() + 1);
        Ok(())
    }
}

/// A channel of the ring.
struct Member {
    ring: Rc<Ring>,
    index: usize,
}

impl Handler for Member {
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }

    fn predicates(&self) -> Predicates {
        // An idle channel then costs only the work of the kernel.
        Predicates::OnChange
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let ring = &self.ring;
        let received = io.recv(&mut [0; 1])?;
        ring.pending.set(ring.pending.get() - received);
        if received > 0 && ring.left.get() > 0 {
            ring.left.set(ring.left.get() - 1);
            ring.send_to(self.index + 1)?;
        }
        if ring.pending.get() == 0 {
            io.event_loop().stop();
        }
        Ok(())
    }
}

/// Measures the nanoseconds per event with `fds` descriptors, of which `active` are active.
fn measure(backend: Backend, fds: usize, active: usize) -> Result<f64> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    let mut receivers = Vec::new();
    let mut senders = Vec::new();
    for _ in 0..fds {
        let (receiver, sender) = UnixStream::pair()?;
        receivers.push(receiver);
        senders.push(sender);
    }
    let ring = Rc::new(Ring {
        senders,
        left: Cell::new(0),
        pending: Cell::new(0),
    });
    for (index, receiver) in receivers.into_iter().enumerate() {
        let ring = Rc::clone(&ring);
        event_loop.add(Dispatcher::new(receiver, Member { ring, index })?)?;
    }
    // About as long for few descriptors as for many.
    let events = active * (300_000 / fds).clamp(30, 3_000);
    // Until the loop has adapted, and every cache is warm.
    go_round(&mut event_loop, &ring, active, events / 3)?;
    let start = Instant::now();
    go_round(&mut event_loop, &ring, active, events)?;
    Ok(start.elapsed().as_secs_f64() * 1e9 / events as f64)
}

fn go_round(event_loop: &mut EventLoop, ring: &Ring, active: usize, events: usize) -> Result<()> {
    ring.left.set(events.saturating_sub(active));
    for index in 0..active {
        ring.send_to(ring.senders.len() / 2 + index * (ring.senders.len() / active))?;
    }
    event_loop.run()
}

/// The measurements with one number of descriptors, one for each of [`Backend::ALL`].
struct Row {
    fds: usize,
    nanoseconds: Vec<f64>,
}

fn row(fds: usize, active: usize) -> Result<Row> {
    let mut measured = vec![Vec::new(); Backend::ALL.len()];
    for _ in 0..ROUNDS {
        for (&backend, measured) in Backend::ALL.iter().zip(&mut measured) {
            measured.push(measure(backend, fds, active)?);
        }
    }
    let median = |mut measured: Vec<f64>| {
        measured.sort_by(f64::total_cmp);
        measured[measured.len() / 2]
    };
    let nanoseconds = measured.into_iter().map(median).collect();
    Ok(Row { fds, nanoseconds })
}

fn main() -> ExitCode {
    common::main(USAGE, &["--fds", "--active", "--svg"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let fds = arguments.value("--fds");
    let active = arguments.value("--active");
    let svg = arguments.value("--svg");
    arguments.finish()?;
    let active = match active {
        Some(active) => count("--active", &active)?,
        None => 1,
    };
    let room = descriptors_for_us();
    let fds = match fds {
        Some(list) => {
            let fds = numbers(&list)?;
            if let Some(fds) = fds.iter().find(|fds| !fits(**fds, room)) {
                let message = format!(
                    "--fds {fds}: so many descriptors, and as many to send on, are more than \
                     this process may open; see `ulimit -n`"
                );
                return Err(Failure::operation(message));
            }
            fds
        }
        None => FDS
            .into_iter()
            .filter(|fds| fits(*fds, room) && *fds >= active)
            .collect(),
    };
    if let Some(fds) = fds.iter().find(|fds| **fds < active) {
        let message = format!("--active {active}: there are only {fds} descriptors");
        return Err(Failure::usage(message));
    }
    if fds.is_empty() {
        let message = format!(
            "--active {active}: there are fewer descriptors; give --fds, or see `ulimit -n`"
        );
        return Err(Failure::usage(message));
    }
    if let Some(path) = &svg {
        // An error is better reported before all the measurements.
        let opened = OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|error| cannot_write(path, &error))?;
    }

    let names: Vec<_> = Backend::ALL.iter().map(Backend::to_string).collect();
    common::print(&format!(
        "Built in: {}. Nanoseconds per event, {active} active:\n\n",
        names.join(", ")
    ))?;
    let columns: String = names.iter().map(|name| format!("{name:>12}")).collect();
    common::print(&format!("{:>12}{columns}\n", "descriptors"))?;
    let mut rows = Vec::new();
    for fds in fds {
        let row = row(fds, active)?;
        let columns: String = row
            .nanoseconds
            .iter()
            .map(|ns| format!("{ns:>12.0}"))
            .collect();
        common::print(&format!("{fds:>12}{columns}\n"))?;
        rows.push(row);
    }
    if let Some(path) = svg {
        draw(Path::new(&path), &rows).map_err(|error| cannot_write(&path, &*error))?;
        common::print(&format!("\nThe plot is in {}\n", common::shown(&path)))?;
    }
    Ok(())
}

fn cannot_write(path: &OsStr, error: &dyn std::error::Error) -> Failure {
    Failure::operation(format!("cannot write {}: {error}", common::shown(path)))
}

/// Parses a number that is not 0.
fn count(option: &str, text: &OsStr) -> Result<usize, Failure> {
    match text.to_str().map(str::parse) {
        Some(Ok(number)) if number > 0 => Ok(number),
        _ => Err(Failure::usage(format!(
            "{option}: {text:?} is not a number from 1 up"
        ))),
    }
}

fn numbers(list: &OsStr) -> Result<Vec<usize>, Failure> {
    let list = list.to_string_lossy();
    list.split(',')
        .map(|number| count("--fds", OsStr::new(number)))
        .collect()
}

/// Raises the limit of descriptors of this process, and returns it.
fn descriptors_for_us() -> usize {
    /// Some systems refuse more, although they set no limit.
    const ENOUGH: rlim_t = 10_240;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    let wanted = hard.min(ENOUGH);
    let got = match setrlimit(Resource::RLIMIT_NOFILE, wanted.max(soft), hard) {
        Ok(()) => wanted.max(soft),
        Err(_) => soft,
    };
    usize::try_from(got).unwrap_or(usize::MAX)
}

/// Checks whether so many pairs can be opened.
fn fits(pairs: usize, room: usize) -> bool {
    pairs.saturating_mul(2).saturating_add(OTHERS) <= room
}

/// A plot over two logarithmic scales.
fn draw(path: &Path, rows: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    let fds = || rows.iter().map(|row| row.fds as f64);
    let values = || rows.iter().flat_map(|row| row.nanoseconds.iter().copied());
    let (fewest, most) = (fds().fold(f64::MAX, f64::min), fds().fold(0.0, f64::max));
    let (lowest, highest) = (
        values().fold(f64::MAX, f64::min),
        values().fold(0.0, f64::max),
    );
    let ticks = ticks(lowest * 0.95, highest * 1.05);
    let (Some(&bottom), Some(&top)) = (ticks.first(), ticks.last()) else {
        return Ok(());
    };
    let x = (fewest * 0.9..most * 1.1).log_scale();
    let y = (bottom..top).log_scale();

    let area = SVGBackend::new(path, (720, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("What an event costs, by system call", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(x.with_key_points(fds().collect()), y.with_key_points(ticks))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("descriptors waited for")
        .y_desc("nanoseconds per event")
        .x_label_formatter(&|fds| format!("{fds:.0}"))
        .y_label_formatter(&|nanoseconds| format!("{nanoseconds:.0} ns"))
        .draw()?;
    for (index, backend) in Backend::ALL.iter().enumerate() {
        let colour = [RED, BLUE, GREEN][index % 3];
        let points = rows
            .iter()
            .map(|row| (row.fds as f64, row.nanoseconds[index]));
        let line = LineSeries::new(points, colour.stroke_width(2)).point_size(3);
        chart
            .draw_series(line)?
            .label(backend.to_string())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    area.present()?;
    Ok(())
}

/// 1, 2 and 5 of each decade, from the last that is not above `lowest` to the
/// first that is not below `highest`. (The library would show powers of ten, of
/// which there may be but one.)
fn ticks(lowest: f64, highest: f64) -> Vec<f64> {
    let decade = |value: f64| value.log10().floor() as i32;
    let all: Vec<f64> = (decade(lowest)..=decade(highest) + 1)
        .flat_map(|decade| [1.0, 2.0, 5.0].map(|tick| tick * 10f64.powi(decade)))
        .collect();
    let first = all.iter().rposition(|tick| *tick <= lowest);
    let last = all.iter().position(|tick| *tick >= highest);
    match (first, last) {
        (Some(first), Some(last)) => all[first..=last].to_vec(),
        _ => all,
    }
}
