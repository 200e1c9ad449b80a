//! Many idle connections on one loop: their own cost, and their cost for the one that is active.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::contest::{Contest, Server};
use crate::effort::Effort;
use crate::machine;
use crate::report::{Report, Table, median, number};

/// The servers that are measured.
const SERVERS: [&str; 3] = ["raw/epoll", "fdloop/epoll", "fdloop/poll"];

/// Connections from one address of the loopback interface, which has fewer than 2^16 ports.
const FROM_ONE_ADDRESS: usize = 20_000;

/// Bytes of a request, and of its reply.
const MESSAGE: usize = 64;

/// Descriptors that are in use for other things.
const OTHERS: usize = 100;

/// The measurements with some connections.
struct Costs {
    /// Seconds until the last of them was served.
    accepting: f64,
    /// Bytes that each adds to the memory of the server.
    memory: f64,
    /// Bytes that each adds to the memory of the kernel, its client's end included.
    kernel: f64,
    /// The share of a processor that the server takes while all are idle.
    at_rest: f64,
    /// Microseconds of a request and its reply over one of them, while the others are idle.
    round_trip: f64,
    /// Microseconds of processor time that the server takes for it.
    work: f64,
}

pub fn run(contest: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let (wanted, rest) = if effort.short {
        (5_000, Duration::from_secs(1))
    } else {
        (100_000, Duration::from_secs(5))
    };
    let room = machine::take_descriptors(wanted + OTHERS).saturating_sub(OTHERS);
    let many = wanted.min(room);
    let mut report = Report::new("idle", "Idle connections on one loop");
    report.notes.push(format!(
        "An echo server and its clients, over TCP on the loopback interface. `accepting` is the \
         time from the first connect to the reply over the last connection. `memory` is the \
         growth of the server's resident memory, and `kernel` that of the kernel's slabs, for \
         each connection; the latter is for both ends. `at rest` is the processor time of the \
         server in {} seconds without any request. A round trip is 64 bytes to and fro over one \
         connection, while all others are idle; `work` is the processor time of the server in it.",
        rest.as_secs()
    ));
    if many < wanted {
        report.notes.push(format!(
            "Not {wanted}: the process may not have so many descriptors (`ulimit -n`)."
        ));
    }
    let head = [
        "server",
        "connections",
        "accepting",
        "memory",
        "kernel",
        "at rest",
        "round trip",
        "work",
    ];
    let mut table = Table::new("", &head);
    for connections in [many / 10, many] {
        for name in SERVERS {
            eprintln!("  {name}, {connections} connections");
            let costs = match measure(contest, name, connections, rest) {
                Ok(costs) => costs,
                Err(error) => {
                    eprintln!("  {name}: {error}");
                    continue;
                }
            };
            table.rows.push(vec![
                name.to_owned(),
                connections.to_string(),
                format!("{} s", number(costs.accepting)),
                format!("{} B", number(costs.memory)),
                format!("{} B", number(costs.kernel)),
                format!("{:.3} %", costs.at_rest * 100.0),
                format!("{} µs", number(costs.round_trip)),
                format!("{} µs", number(costs.work)),
            ]);
            report.data.push(json!({
                "server": name,
                "connections": connections,
                "accepting_seconds": costs.accepting,
                "memory_bytes_each": costs.memory,
                "kernel_bytes_each": costs.kernel,
                "at_rest_share": costs.at_rest,
                "round_trip_microseconds": costs.round_trip,
                "work_microseconds": costs.work,
            }));
        }
    }
    report.tables.push(table);
    Ok(report)
}

/// Measures a server. `rest` is the time for which it is watched without work, and the time before
/// that.
fn measure(
    contest: &Contest,
    name: &str,
    connections: usize,
    rest: Duration,
) -> Result<Costs, Box<dyn Error>> {
    let mut command = contest.peer(name).ok_or("it is not here")?.command();
    command.args(["serve-echo", name]);
    let server = Server::start(command)?;
    let process = server.process();
    // What it allocates for its first connection is not that connection's.
    let mut first = connect(0, server.port)?;
    exchange(&mut first)?;
    let (memory, kernel) = (memory(process)?, kernel_memory()?);

    let begin = Instant::now();
    let mut streams = Vec::with_capacity(connections);
    for index in 0..connections {
        streams.push(connect(index, server.port)?);
    }
    exchange(streams.last_mut().ok_or("no connections")?)?;
    let accepting = begin.elapsed().as_secs_f64();
    let each = |before: f64, after: f64| (after - before) / connections as f64;
    let memory = each(memory, self::memory(process)?);
    let kernel = each(kernel, kernel_memory()?);

    thread::sleep(rest);
    let before = processor_time(process)?;
    thread::sleep(rest);
    let at_rest = (processor_time(process)? - before) / rest.as_secs_f64();

    let middle = &mut streams[connections / 2];
    let mut trips = Vec::new();
    let before = processor_time(process)?;
    let begin = Instant::now();
    while trips.len() < 100 || begin.elapsed() < Duration::from_secs(1) {
        let start = Instant::now();
        exchange(middle)?;
        trips.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let work = (processor_time(process)? - before) * 1e6 / trips.len() as f64;
    let round_trip = median(&trips).ok_or("no round trip")?;
    // Closing so many takes a while, in which the next server would be measured.
    drop(server);
    drop(streams);
    Ok(Costs {
        accepting,
        memory,
        kernel,
        at_rest,
        round_trip,
        work,
    })
}

/// Connects to a server from an address of the loopback interface that has ports left. Closing
/// the connection resets it, so that its port is free at once.
fn connect(index: usize, port: u16) -> io::Result<TcpStream> {
    let check = |result: libc::c_int| match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes numbers.
    let socket = check(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
    // SAFETY: the descriptor is new, and no other code has its number.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let fd = socket.as_raw_fd();
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the kernel reads an option of that size.
    check(unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            mem::size_of_val(&linger) as libc::socklen_t,
        )
    })?;
    let own = Ipv4Addr::new(127, 0, 1, 1 + (index / FROM_ONE_ADDRESS) as u8);
    let (own, server) = (address(own, 0), address(Ipv4Addr::LOCALHOST, port));
    let length = mem::size_of_val(&own) as libc::socklen_t;
    // SAFETY: the kernel reads an address of that length.
    check(unsafe { libc::bind(fd, (&raw const own).cast(), length) })?;
    // SAFETY: as above.
    check(unsafe { libc::connect(fd, (&raw const server).cast(), length) })?;
    Ok(TcpStream::from(socket))
}

fn address(host: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    // SAFETY: plain data, of which all zeros is a value.
    let mut address: libc::sockaddr_in = unsafe { mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from(host).to_be();
    address
}

/// Sends a request, and receives the reply.
fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&[b'.'; MESSAGE])?;
    stream.read_exact(&mut [0; MESSAGE])
}

/// Returns the bytes of a process that are in memory.
fn memory(process: u32) -> Result<f64, Box<dyn Error>> {
    field(
        &fs::read_to_string(format!("/proc/{process}/status"))?,
        "VmRSS:",
    )
}

/// Returns the bytes of the kernel's slabs, where its sockets are.
fn kernel_memory() -> Result<f64, Box<dyn Error>> {
    field(&fs::read_to_string("/proc/meminfo")?, "SUnreclaim:")
}

fn field(text: &str, name: &str) -> Result<f64, Box<dyn Error>> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or(name)?.parse::<f64>()? * 1024.0)
}

/// Returns the seconds that a process has run on a processor.
fn processor_time(process: u32) -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let nanoseconds = text.split_whitespace().next().ok_or("no schedstat")?;
    Ok(nanoseconds.parse::<f64>()? * 1e-9)
}
