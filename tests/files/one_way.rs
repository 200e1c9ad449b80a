//! Channels over files that are only read, or only written.

use std::io::Read;

use crate::common::{Counting, Probe, on_every_backend, settle, turn_until_empty, with_every_loop};
use fdloop::{EventLoop, FileDispatcher, Handler, Interest, Io, Result};

/// A handler with the predicates that every handler has by default.
struct Plain;

impl Handler for Plain {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv(&mut [0; 64]).map(drop)
    }
}

#[test]
fn a_reader_never_waits_to_write_nor_a_writer_to_read() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (reader, writer) = os_pipe::pipe().unwrap();
        let channel = FileDispatcher::reader(reader, Plain).unwrap();
        let reads = event_loop.add(channel).unwrap();
        let channel = FileDispatcher::writer(writer, Plain).unwrap();
        let writes = event_loop.add(channel).unwrap();
        let for_input = Interest::READABLE | Interest::PRIORITY;
        settle(&mut event_loop);
        assert_eq!(heard.interest(reads.fd()), for_input);
        assert_eq!(heard.interest(writes.fd()), Interest::HANGUP);

        // More than the pipe holds.
        let channel = event_loop.get_mut(writes).unwrap();
        assert!(channel.input_ended() && channel.is_buffered());
        channel.send(&vec![b'x'; 1 << 20]).unwrap();
        assert!(channel.pending() > 0);
        channel.close_when_done();
        event_loop.turn(None).unwrap();
        assert_eq!(heard.interest(reads.fd()), for_input);
        assert_eq!(heard.interest(writes.fd()), Interest::WRITABLE);
        turn_until_empty(&mut event_loop);
    });
}

#[test]
fn a_writer_gives_all_and_ends_once() {
    with_every_loop(|event_loop| {
        let (mut reader, writer) = os_pipe::pipe().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = FileDispatcher::writer(writer, probe).unwrap();
        let data: Vec<u8> = (0..300_000_u32).map(|i| i as u8).collect();
        channel.send(&data).unwrap();
        channel.close_when_done();
        event_loop.add(channel).unwrap();
        let received = std::thread::spawn(move || {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            received
        });
        turn_until_empty(event_loop);
        assert!(received.join().unwrap() == data);
        assert_eq!((seen.count("read"), seen.count("eof")), (0, 0));
        assert_eq!(seen.count("close"), 1);
        assert!(seen.reason().is_none());
    });
}

#[test]
fn a_writer_whose_reader_is_gone_ends() {
    with_every_loop(|event_loop| {
        let (reader, writer) = os_pipe::pipe().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(FileDispatcher::writer(writer, probe).unwrap())
            .unwrap();
        drop(reader);
        // It has nothing to send.
        turn_until_empty(event_loop);
        assert_eq!(seen.count("read"), 0);
        assert_eq!(seen.count("close"), 1);
    });
}
