//! Memory: bytes of user space per idle connection.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::mem::size_of;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use fdloop::{Backend, Dispatcher, DispatcherWithSend, EventLoop, Handler, Predicates};
use serde_json::json;

use crate::contest::Contest;
use crate::effort::Effort;
use crate::peers::tasks::Fill;
use crate::report::{Goal, Report, Table, number};

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Counting takes time, and so is only done for the memory.
static COUNTS: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Relaxed) {
            LIVE.fetch_add(layout.size(), Relaxed);
        }
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTS.load(Relaxed) {
            LIVE.fetch_sub(layout.size(), Relaxed);
        }
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The handler of a connection that is idle.
struct Idle;

impl Handler for Idle {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }
}

/// As many as the sum over them is to be divided by.
const CONNECTIONS: usize = 4_000;

/// Makes one channel of a connection, in the loop.
type Add = fn(&mut EventLoop, TcpStream) -> fdloop::Result<()>;

pub fn run(_: &Contest, _: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("memory", "Memory: bytes per idle connection");
    report.notes.push(format!(
        "User space, counted by the allocator: channel, map, watches and poller of {CONNECTIONS} \
         connections, with an empty handler whose predicates look at their own state."
    ));
    let mut table = Table::new(
        "",
        &["channel", "select", "poll", "epoll", "the channel itself"],
    );
    let kinds: [(&str, Add, usize); 2] = [
        (
            "Dispatcher",
            |event_loop, stream| event_loop.add(Dispatcher::new(stream, Idle)?).map(drop),
            size_of::<Dispatcher<Idle>>(),
        ),
        (
            "DispatcherWithSend",
            |event_loop, stream| {
                let channel = DispatcherWithSend::new(stream, Idle)?;
                event_loop.add(channel).map(drop)
            },
            size_of::<DispatcherWithSend<Idle>>(),
        ),
    ];
    for (name, add, size) in kinds {
        let mut row = vec![name.to_owned()];
        for backend in [Backend::Select, Backend::Poll, Backend::Epoll] {
            let bytes = measure(backend, add)?;
            row.push(number(bytes));
            report.data.push(json!({
                "channel": name,
                "backend": backend.to_string(),
                "bytes_per_connection": bytes,
                "size_of_channel": size,
            }));
            let what = format!("memory of a {name} in an idle connection, {backend}");
            report.goals.push(Goal::at_most(what, 512.0, Some(bytes)));
        }
        row.push(size.to_string());
        table.rows.push(row);
    }
    report.tables.push(table);
    Ok(report)
}

/// Returns the bytes for each of many streams that `fill` makes something of.
pub fn per_stream(fill: Fill) -> Result<f64, Box<dyn Error>> {
    let (_client, streams) = streams()?;
    let list = streams.capacity() * size_of::<TcpStream>();
    let before = LIVE.load(Relaxed);
    COUNTS.store(true, Relaxed);
    let filled = fill(streams);
    COUNTS.store(false, Relaxed);
    let bytes = LIVE.load(Relaxed).wrapping_add(list).wrapping_sub(before);
    drop(filled?);
    Ok(bytes as f64 / CONNECTIONS as f64)
}

/// Duplicates of one connection: the loop sees no difference, and the numbers are those of a
/// server's, without the clients' in between.
fn streams() -> Result<(TcpStream, Vec<TcpStream>), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (connection, _) = listener.accept()?;
    connection.set_nonblocking(true)?;
    let duplicates = (0..CONNECTIONS).map(|_| connection.try_clone());
    Ok((client, duplicates.collect::<Result<_, _>>()?))
}

fn measure(backend: Backend, add: Add) -> Result<f64, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let (connection, _) = listener.accept()?;
    // Duplicates of one connection: the loop sees no difference, and the numbers
    // are those of a server's, without the clients' in between.
    let duplicate = |_| connection.try_clone();
    let streams = (0..CONNECTIONS)
        .map(duplicate)
        .collect::<Result<Vec<_>, _>>()?;
    let mut event_loop = EventLoop::with_backend(backend)?;
    // The list of streams was there before, and goes.
    let list = streams.capacity() * size_of::<TcpStream>();
    let before = LIVE.load(Relaxed);
    COUNTS.store(true, Relaxed);
    for stream in streams {
        add(&mut event_loop, stream)?;
    }
    event_loop.turn(Some(Duration::ZERO))?;
    COUNTS.store(false, Relaxed);
    let bytes = LIVE.load(Relaxed).wrapping_add(list).wrapping_sub(before);
    Ok(bytes as f64 / CONNECTIONS as f64)
}
