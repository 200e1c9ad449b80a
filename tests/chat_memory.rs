//! A producer of far more than fits into memory costs next to none: it waits for
//! the reader. Alone in its program, for it measures that.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;

use fdloop::{AsyncChat, Backend, ChatHandler, ChatIo, EventLoop, IterProducer, Result};

const PIECE: usize = 64 * 1024;
const GIBIBYTE: usize = 1 << 30;

struct Quiet;

impl ChatHandler for Quiet {
    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_gibibyte_from_a_producer_takes_less_than_four_megabytes() {
    for &backend in Backend::ALL {
        // What the first time costs anyway.
        send(backend, 16 * PIECE);
        let before = peak_memory();
        send(backend, GIBIBYTE);
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            let grown = after - before;
            assert!(grown < 4 << 10, "{backend}: {grown} KiB");
        }
    }
}

/// Sends `total` bytes to a reader that never has more than it just took.
fn send(backend: Backend, total: usize) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let reader = thread::spawn(move || {
        let mut buf = [0; PIECE];
        let mut received = 0;
        while let n @ 1.. = theirs.read(&mut buf).unwrap() {
            assert!(buf[0] == b'x' && buf[n - 1] == b'x');
            received += n;
        }
        received
    });
    let mut chat = AsyncChat::new(ours, Quiet).unwrap();
    let pieces = (0..total / PIECE).map(|_| vec![b'x'; PIECE]);
    chat.push_with_producer(IterProducer::new(pieces)).unwrap();
    chat.close_when_done();
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    event_loop.add(chat).unwrap();
    event_loop.run().unwrap();
    assert_eq!(reader.join().unwrap(), total);
}

/// The most memory that this program ever had, in KiB, where the system tells.
fn peak_memory() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib = peak.split_whitespace().next().unwrap();
    Some(kib.parse().unwrap())
}
