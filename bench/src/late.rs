//! The delay of an idle descriptor's event while other descriptors are busy, with and without the
//! shortcuts of the pollers.

use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fdloop::{
    Backend, Dispatcher, EventLoop, Handler, Io, PollPoller, Poller, Predicates, Remote,
    SelectPoller,
};
use serde_json::json;

use crate::contest::{Contest, thread_time};
use crate::effort::Effort;
use crate::machine;
use crate::report::{Goal, Report, Table, median, number};

/// A load: open connections, and those of them that are busy.
const CASES: [(usize, usize); 4] = [(450, 1), (450, 50), (4_000, 1), (4_000, 50)];

/// Upper bound on the time between two events of idle descriptors, in microseconds.
const APART: u64 = 2_000;

/// Upper bound on the 99.9th percentile, in microseconds more than without shortcuts.
const MOST: f64 = 2_000.0;

/// A poller, with a flag that says if it adapts.
const WAYS: [(&str, bool); 5] = [
    ("poll", true),
    ("poll", false),
    ("select", true),
    ("select", false),
    ("epoll", true),
];

/// The percentiles of a table.
const SHARES: [f64; 3] = [0.5, 0.99, 0.999];

/// The results of a way with a load, of all rounds.
#[derive(Default)]
struct Delays {
    samples: usize,
    /// Of each round, in microseconds, in the order of [`SHARES`].
    percentiles: Vec<[f64; SHARES.len()]>,
    messages: u64,
    seconds: f64,
    processor: f64,
}

impl Delays {
    fn add_round(&mut self, mut delays: Vec<f64>) {
        delays.sort_by(f64::total_cmp);
        let percentile = |share| {
            let index = (delays.len() as f64 * share) as usize;
            delays.get(index).copied().unwrap_or(f64::NAN)
        };
        self.samples += delays.len();
        self.percentiles.push(SHARES.map(percentile));
    }

    /// Returns the median of the rounds, of the percentile with that index in [`SHARES`].
    fn percentile(&self, index: usize) -> f64 {
        let rounds: Vec<_> = self.percentiles.iter().map(|round| round[index]).collect();
        median(&rounds).unwrap_or(f64::NAN)
    }
}

pub fn run(_: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("late", "The delay of an idle descriptor's event");
    report.notes.push(format!(
        "Socket pairs that a loop in one thread watches. Another thread, on a core of its own, \
         exchanges a byte with the busy ones without pause, and sends a time stamp to one of the \
         idle ones at random, every millisecond on average. The percentiles are of the \
         microseconds until the handler has it: the median of those of {} rounds. CPU is the \
         processor time of the loop for a byte of the busy ones. Without the shortcuts \
         (`set_adaptive(false)`), all are asked in each wait.",
        effort.rounds
    ));
    for (open, busy) in CASES {
        let mut all: Vec<_> = WAYS.iter().map(|_| Delays::default()).collect();
        for round in 0..effort.rounds {
            for turn in 0..WAYS.len() {
                let way = (turn + round) % WAYS.len();
                measure(WAYS[way], open, busy, effort.load_time * 10, &mut all[way])?;
            }
        }
        let title = format!("{busy} of {open} are busy");
        let head = ["poller", "p50", "p99", "p99.9", "bytes per second", "CPU"];
        let mut table = Table::new(&title, &head);
        for (way, delays) in WAYS.iter().zip(&all) {
            let name = match way {
                (call, true) => (*call).to_owned(),
                (call, false) => format!("{call}, all in each wait"),
            };
            let percentiles = [0, 1, 2].map(|index| delays.percentile(index));
            let rate = delays.messages as f64 / delays.seconds;
            let processor = delays.processor / delays.messages as f64 / 1_000.0;
            let mut row = vec![name.clone()];
            row.extend(percentiles.map(|delay| format!("{} µs", number(delay))));
            row.extend([number(rate), format!("{} µs", number(processor))]);
            table.rows.push(row);
            report.data.push(json!({
                "poller": name,
                "open": open,
                "busy": busy,
                "microseconds_p50_p99_p99.9": percentiles,
                "samples": delays.samples,
                "bytes_per_second": rate,
                "processor_microseconds_per_byte": processor,
            }));
        }
        report.tables.push(table);
        for (way, call) in [(0, "poll"), (2, "select")] {
            let more = all[way].percentile(2) - all[way + 1].percentile(2);
            let what = format!("late: {call}, {title}, µs at p99.9 more than without shortcuts");
            report.goals.push(Goal::at_most(what, MOST, Some(more)));
        }
    }
    Ok(report)
}

/// One side of a busy pair.
struct Busy;

impl Handler for Busy {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn writable(&self, _: &fdloop::View<'_>) -> bool {
        false
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> fdloop::Result<()> {
        io.recv_with(64, |io, data| io.send(data).map(drop))
    }

    fn handle_close(&mut self, _: &mut Io<'_>) -> fdloop::Result<()> {
        Ok(())
    }
}

/// One side of an idle pair.
struct Idle {
    begin: Instant,
    delays: Rc<RefCell<Vec<f64>>>,
}

impl Handler for Idle {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn writable(&self, _: &fdloop::View<'_>) -> bool {
        false
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> fdloop::Result<()> {
        let mut stamp = [0; 8];
        if io.recv(&mut stamp)? == stamp.len() {
            let sent = Duration::from_nanos(u64::from_ne_bytes(stamp));
            let delay = self.begin.elapsed().saturating_sub(sent);
            self.delays.borrow_mut().push(delay.as_secs_f64() * 1e6);
        }
        Ok(())
    }

    fn handle_close(&mut self, _: &mut Io<'_>) -> fdloop::Result<()> {
        Ok(())
    }
}

fn poller(call: &str, adaptive: bool) -> io::Result<Box<dyn Poller>> {
    match call {
        "poll" => {
            let mut poller = PollPoller::new();
            poller.set_adaptive(adaptive);
            Ok(Box::new(poller))
        }
        "select" => {
            let mut poller = SelectPoller::new();
            poller.set_adaptive(adaptive);
            Ok(Box::new(poller))
        }
        _ => Ok(Backend::Epoll.poller()),
    }
}

fn measure(
    way: (&'static str, bool),
    open: usize,
    busy: usize,
    time: Duration,
    sum: &mut Delays,
) -> Result<(), Box<dyn Error>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..open {
        let (our, their) = UnixStream::pair()?;
        ours.push(our);
        theirs.push(their);
    }
    let begin = Instant::now();
    let (made, remote) = mpsc::channel();
    let looping = thread::spawn(move || serve(way, ours, busy, begin, &made));
    let remote: Remote = remote.recv()?;
    let (busy, idle) = theirs.split_at(busy);
    // The poller adapts, and its first delays are dropped.
    let messages = drive(busy, idle, begin, time);
    remote.stop()?;
    let (delays, processor) = looping.join().map_err(|_| "the loop panicked")??;
    sum.add_round(delays.into_iter().skip(10).collect());
    sum.messages += messages?;
    sum.seconds += time.as_secs_f64();
    sum.processor += processor;
    Ok(())
}

/// Runs the loop. Returns the delays, and the nanoseconds of processor time that it took.
fn serve(
    (call, adaptive): (&str, bool),
    ours: Vec<UnixStream>,
    busy: usize,
    begin: Instant,
    made: &mpsc::Sender<Remote>,
) -> io::Result<(Vec<f64>, f64)> {
    machine::pin(machine::cores().measured)?;
    let mut event_loop = EventLoop::with_poller(poller(call, adaptive)?);
    let delays = Rc::new(RefCell::new(Vec::new()));
    for (index, our) in ours.into_iter().enumerate() {
        if index < busy {
            event_loop.add(Dispatcher::new(our, Busy)?)?;
        } else {
            let delays = Rc::clone(&delays);
            event_loop.add(Dispatcher::new(our, Idle { begin, delays })?)?;
        }
    }
    let before = thread_time();
    // The other thread gives up, and says why, if it gets none.
    let _ = made.send(event_loop.remote()?);
    event_loop.run()?;
    let processor = thread_time() - before;
    let delays = delays.take();
    Ok((delays, processor))
}

/// Exchanges bytes with the busy ones, and sends time stamps to idle ones. Returns the number of
/// the exchanged bytes.
fn drive(
    busy: &[UnixStream],
    idle: &[UnixStream],
    begin: Instant,
    time: Duration,
) -> io::Result<u64> {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut entries: Vec<_> = busy
        .iter()
        .map(|stream| libc::pollfd {
            fd: stream.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    for mut stream in busy {
        stream.write_all(b".")?;
    }
    let mut messages = 0;
    let start = Instant::now();
    let mut next = start;
    while start.elapsed() < time {
        if Instant::now() >= next {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut stream = &idle[(random >> 32) as usize % idle.len()];
            let stamp = begin.elapsed().as_nanos() as u64;
            stream.write_all(&stamp.to_ne_bytes())?;
            next += Duration::from_micros(random % APART);
        }
        let rest = next.saturating_duration_since(Instant::now());
        let timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: rest.as_nanos() as libc::c_long,
        };
        let (first, count) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
        // SAFETY: the kernel writes to as many entries as there are, and reads the timeout.
        if unsafe { libc::ppoll(first, count, &raw const timeout, std::ptr::null()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        for (entry, mut stream) in entries.iter().zip(busy) {
            if entry.revents != 0 {
                stream.read_exact(&mut [0])?;
                stream.write_all(b".")?;
                messages += 1;
            }
        }
    }
    Ok(messages)
}
