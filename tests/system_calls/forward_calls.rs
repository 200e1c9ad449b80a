//! The system calls that move a mebibyte from one pipe to another: the kernel does it, and the
//! program neither reads nor writes.

use std::io::{Read, Write};
use std::thread;

use crate::common::{this_test, traced_on_every_backend};
use fdloop::{Backend, ChannelId, EventLoop, FileDispatcher, Handler, Io, Result, View};

const BYTES: usize = 1 << 20;

/// Distinguishes its calls from others in a trace.
const WORD: &[u8] = b"moved by the kernel ";

struct Source(ChannelId<FileDispatcher<Sink>>);

impl Handler for Source {
    fn readable(&self, io: &View<'_>) -> bool {
        let sink = io.event_loop().get(self.0);
        sink.is_some_and(|sink| !sink.is_congested())
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.forward(self.0, BYTES).map(drop)
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        if let Some(sink) = io.event_loop().get_mut(self.0) {
            sink.close_when_done();
        }
        Ok(())
    }
}

struct Sink;

impl Handler for Sink {}

fn forward(backend: Backend) {
    let (source, mut input) = os_pipe::pipe().unwrap();
    let (mut output, sink) = os_pipe::pipe().unwrap();
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let sink = FileDispatcher::writer(sink, Sink).unwrap();
    let sink = event_loop.add(sink).unwrap();
    let source = FileDispatcher::reader(source, Source(sink)).unwrap();
    event_loop.add(source).unwrap();
    let data = WORD.repeat(BYTES / WORD.len());
    let len = data.len();
    let writer = thread::spawn(move || input.write_all(&data).unwrap());
    let reader = thread::spawn(move || {
        let mut received = 0;
        let mut buf = [0; 30_000];
        while let n @ 1.. = output.read(&mut buf).unwrap() {
            received += n;
        }
        received
    });
    event_loop.run().unwrap();
    writer.join().unwrap();
    assert_eq!(reader.join().unwrap(), len);
}

#[test]
fn bytes_between_pipes_do_not_pass_through_the_program() {
    traced_on_every_backend(this_test!(), "read,write,writev,splice", forward, |trace| {
        let is_move = |call: &&str| call.contains("splice(") && !call.contains("EAGAIN");
        let moves = trace.lines().filter(is_move).count();
        // A pipe holds 65,536 bytes, and may be found with less.
        assert!(moves >= 2, "{trace}");
        // The loop would ask for 1,048,576 bytes, as it does at the end of the input. The writer of
        // the test makes one call, which a trace may show in two parts.
        let by_the_loop = |call: &&str| {
            let reads = call.contains("read(") && call.contains(", 1048576");
            let writes = call.contains("write") && call.contains("moved by");
            reads || writes
        };
        let calls: Vec<_> = trace.lines().filter(by_the_loop).collect();
        assert!(calls.len() <= 3, "{calls:?}");
    });
}
