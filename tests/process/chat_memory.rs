//! A producer of far more than fits into memory costs next to none: it waits for
//! the reader. Runs in a process of its own, whose peak of memory it reads.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::common::{in_own_process, this_test};
use fdloop::{AsyncChat, Backend, ChatHandler, ChatIo, EventLoop, IterProducer, Result};

const PIECE: usize = 64 * 1024;
const GIBIBYTE: usize = 1 << 30;

struct Quiet;

impl ChatHandler for Quiet {
    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }
}

/// Runs a loop with a chat that sends so much, and reads that to its end.
type Reader = fn(EventLoop, UnixStream, usize);

#[test]
fn a_gibibyte_from_a_producer_takes_less_than_four_megabytes() {
    in_own_process(this_test!(), send_a_gibibyte);
}

fn send_a_gibibyte() {
    // In one process, whose peak is the highest of all.
    let readers: [(&str, Reader); 2] = [
        ("an eager", to_an_eager_reader),
        ("a slow", to_a_slow_reader),
    ];
    for (name, reader) in readers {
        for &backend in Backend::ALL {
            // What the first time costs anyway.
            run(backend, reader, 16 * PIECE);
            let before = peak_memory();
            run(backend, reader, GIBIBYTE);
            if let (Some(before), Some(after)) = (before, peak_memory()) {
                let grown = after - before;
                assert!(grown < 4 << 10, "{backend}, {name} reader: {grown} KiB");
            }
        }
    }
}

fn run(backend: Backend, reader: Reader, total: usize) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut chat = AsyncChat::new(ours, Quiet).unwrap();
    let pieces = (0..total / PIECE).map(|_| vec![b'x'; PIECE]);
    chat.push_with_producer(IterProducer::new(pieces)).unwrap();
    chat.close_when_done();
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    event_loop.add(chat).unwrap();
    reader(event_loop, theirs, total);
}

/// The reader never has more than it just took.
fn to_an_eager_reader(mut event_loop: EventLoop, mut theirs: UnixStream, total: usize) {
    let reader = thread::spawn(move || {
        let mut buf = [0; PIECE];
        let mut received = 0;
        while let n @ 1.. = read(&mut theirs, &mut buf) {
            received += n;
        }
        received
    });
    event_loop.run().unwrap();
    assert_eq!(reader.join().unwrap(), total);
}

/// The reader takes something only when there is no room for more, so that all the
/// time more could be made than is taken.
fn to_a_slow_reader(mut event_loop: EventLoop, mut theirs: UnixStream, total: usize) {
    let mut buf = [0; PIECE];
    let (mut received, mut stalls) = (0, 0);
    while !event_loop.is_empty() {
        while event_loop.turn(Some(Duration::ZERO)).unwrap() > 0 {}
        stalls += usize::from(!event_loop.is_empty());
        if received < total {
            received += read(&mut theirs, &mut buf);
        }
    }
    while let n @ 1.. = read(&mut theirs, &mut buf) {
        received += n;
    }
    assert_eq!(received, total);
    // Or it was not slow.
    assert!(total < GIBIBYTE || stalls > 1_000, "{stalls} times full");
}

fn read(theirs: &mut UnixStream, buf: &mut [u8]) -> usize {
    let n = theirs.read(buf).unwrap();
    assert!(n == 0 || (buf[0] == b'x' && buf[n - 1] == b'x'));
    n
}

/// The most memory that this program ever had, in KiB, where the system tells.
pub fn peak_memory() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib = peak.split_whitespace().next().unwrap();
    Some(kib.parse().unwrap())
}
