//! Bulk data: streams from clients to remotes, as fast as the forwarder takes them.

use std::error::Error;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::load::{Pair, Way};
use crate::forward::{PAGES, discard, pages};
use crate::program::{Cost, PATIENCE};

/// Upper bound on the bytes sent over a stream before the next has its turn.
const TURN: usize = 256 * 1024;

/// Sends over all streams for some time. A unit of the work is a byte.
///
/// The price of a byte has two levels, for every forwarder alike, with a factor of 2.5 in between.
/// The queues of the kernel either fit into the caches, or each byte is written to memory and read
/// from there. With many streams it is mostly the latter. (With `SO_SNDBUF` set to 64 KiB on the
/// senders, the queues stay short, and the price low.)
///
/// The receiver does not wait for a least amount (`SO_RCVLOWAT`): it would delay acknowledgements,
/// and so stall forwarders that send small pieces.
pub fn run(way: &mut Way, streams: usize, time: Duration) -> Result<Cost, Box<dyn Error>> {
    let pairs = way.connect_idle(streams)?;
    for pair in &pairs {
        pair.client.set_nonblocking(true)?;
        pair.remote.set_nonblocking(true)?;
    }
    let pages = pages()?;
    let stops = AtomicBool::new(false);
    thread::scope(|scope| {
        // If the forwarder fails, the receiver notices.
        scope.spawn(|| send(&pairs, &pages, &stops));
        let cost = measure(way, &pairs, time);
        stops.store(true, Relaxed);
        cost
    })
}

fn measure(way: &Way, pairs: &[Pair], time: Duration) -> Result<Cost, Box<dyn Error>> {
    // Warms up: the buffers of all streams fill, and their windows grow.
    receive(pairs, time)?;
    // Found now, since the forwarder goes on while they are looked for.
    let processes = way.program.processes()?;
    let clock = || way.program.processor_time_with(&processes);
    let before = clock()?;
    let begin = Instant::now();
    let bytes = receive(pairs, time)?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Cost {
        rate: bytes / seconds,
        processor: (clock()? - before) / bytes,
    })
}

/// Sends the same pages over each stream that has room, without copying them.
fn send(pairs: &[Pair], pages: &OwnedFd, stops: &AtomicBool) -> io::Result<()> {
    let mut ready = Ready::new(pairs.iter().map(|pair| &pair.client), libc::POLLOUT);
    let mut offset = 0;
    // The wait is short, so that the end is noticed.
    while !stops.load(Relaxed) {
        for fd in ready.wait(Duration::from_millis(10))? {
            offset %= (PAGES - TURN) as libc::off_t;
            // SAFETY: both are open, and the kernel changes the offset.
            let sent = unsafe { libc::sendfile(fd, pages.as_raw_fd(), &mut offset, TURN) };
            if sent < 0 && io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Receives and discards for some time. Returns the bytes.
fn receive(pairs: &[Pair], time: Duration) -> Result<f64, Box<dyn Error>> {
    let mut ready = Ready::new(pairs.iter().map(|pair| &pair.remote), libc::POLLIN);
    let begin = Instant::now();
    let mut received = 0.0;
    let mut last = begin;
    while begin.elapsed() < time {
        for fd in ready.wait(PATIENCE)? {
            received += match discard(fd) {
                Ok(0) => return Err("the forwarder has closed a connection".into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0.0,
                bytes => bytes? as f64,
            };
            last = Instant::now();
        }
        if last.elapsed() >= PATIENCE {
            return Err("the forwarder does not respond".into());
        }
    }
    Ok(received)
}

/// Streams that are waited for.
struct Ready(Vec<libc::pollfd>);

impl Ready {
    fn new<'a>(streams: impl Iterator<Item = &'a TcpStream>, events: libc::c_short) -> Self {
        let entries = streams.map(|stream| libc::pollfd {
            fd: stream.as_raw_fd(),
            events,
            revents: 0,
        });
        Self(entries.collect())
    }

    /// Waits until some are ready, or the time is over.
    fn wait(&mut self, time: Duration) -> io::Result<impl Iterator<Item = libc::c_int> + '_> {
        let (entries, count) = (self.0.as_mut_ptr(), self.0.len() as libc::nfds_t);
        // SAFETY: the kernel writes to as many entries as there are.
        if unsafe { libc::poll(entries, count, time.as_millis() as libc::c_int) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let ready = self.0.iter().filter(|entry| entry.revents != 0);
        Ok(ready.map(|entry| entry.fd))
    }
}
