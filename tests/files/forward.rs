//! Input that is passed on to another channel, within the kernel where possible.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    PATIENCE, Probe, TempDir, pattern, raw_pty, settle, turn_until, turn_until_empty,
    with_every_loop,
};
use fdloop::{
    AnyId, Dispatcher, DispatcherWithSend, EventLoop, FileDispatcher, Handler, Io, Result, View,
};

const WAIT: Option<Duration> = Some(Duration::from_millis(20));

/// Passes its input on, and ends the other channel with it.
struct Source {
    to: AnyId,
    moved: Rc<Cell<usize>>,
}

impl Handler for Source {
    fn readable(&self, io: &View<'_>) -> bool {
        let to = io.event_loop().endpoint(self.to);
        to.is_some_and(|to| !to.is_congested())
    }
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        if !io.event_loop().contains(self.to) {
            return Ok(()); // it has ended in this pass
        }
        let n = io.forward(self.to, 50_000)?;
        self.moved.set(self.moved.get() + n);
        Ok(())
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        assert!(io.reason().is_none(), "{:?}", io.reason());
        if let Some(to) = io.event_loop().endpoint_mut(self.to) {
            to.close_when_done();
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Pipe,
    File,
    Socket,
    SocketAsFile,
    Terminal,
}

const KINDS: [Kind; 5] = [
    Kind::Pipe,
    Kind::File,
    Kind::Socket,
    Kind::SocketAsFile,
    Kind::Terminal,
];

/// The input, which a thread writes.
fn input(event_loop: &mut EventLoop, kind: Kind, data: &[u8], dir: &TempDir, source: Source) {
    let write = |mut writer: Box<dyn Write + Send>| {
        let data = data.to_vec();
        thread::spawn(move || writer.write_all(&data).unwrap());
    };
    let channel = match kind {
        Kind::File => {
            let path = dir.join("input");
            fs::write(&path, data).unwrap();
            FileDispatcher::reader(File::open(&path).unwrap(), source).unwrap()
        }
        Kind::Pipe => {
            let (reader, writer) = os_pipe::pipe().unwrap();
            write(Box::new(writer));
            FileDispatcher::reader(reader, source).unwrap()
        }
        Kind::Terminal => {
            let (master, terminal) = raw_pty();
            write(Box::new(terminal));
            FileDispatcher::reader(master, source).unwrap()
        }
        Kind::SocketAsFile => {
            let (reader, writer) = UnixStream::pair().unwrap();
            write(Box::new(writer));
            FileDispatcher::reader(reader, source).unwrap()
        }
        Kind::Socket => {
            let (reader, writer) = UnixStream::pair().unwrap();
            write(Box::new(writer));
            event_loop
                .add(Dispatcher::new(reader, source).unwrap())
                .unwrap();
            return;
        }
    };
    event_loop.add(channel).unwrap();
}

type Output = Box<dyn FnOnce() -> Vec<u8>>;

/// The output, which a thread reads.
fn output(event_loop: &mut EventLoop, kind: Kind, len: usize, dir: &TempDir) -> (AnyId, Output) {
    let read = move |mut reader: Box<dyn Read + Send>| -> Output {
        let thread = thread::spawn(move || {
            let mut data = vec![0; len];
            // In pieces, so that the source is full at times. (A terminal's end is an error.)
            for piece in data.chunks_mut(3_000) {
                reader.read_exact(piece).unwrap();
            }
            // Open until the source has ended too.
            (data, reader)
        });
        Box::new(move || thread.join().unwrap().0)
    };
    let (file, output): (OwnedFd, Output) = match kind {
        Kind::File => {
            let path = dir.join("output");
            let file = File::create(&path).unwrap();
            (file.into(), Box::new(move || fs::read(&path).unwrap()))
        }
        Kind::Pipe => {
            let (reader, writer) = os_pipe::pipe().unwrap();
            (writer.into(), read(Box::new(reader)))
        }
        Kind::Terminal => {
            let (master, terminal) = raw_pty();
            (terminal.into(), read(Box::new(master)))
        }
        Kind::SocketAsFile => {
            let (reader, writer) = UnixStream::pair().unwrap();
            (writer.into(), read(Box::new(reader)))
        }
        Kind::Socket => {
            let (reader, writer) = UnixStream::pair().unwrap();
            let channel = DispatcherWithSend::new(writer, Probe::silent()).unwrap();
            let id = event_loop.add(channel).unwrap();
            return (id.into(), read(Box::new(reader)));
        }
    };
    let channel = FileDispatcher::writer(file, Probe::silent()).unwrap();
    (event_loop.add(channel).unwrap().into(), output)
}

#[test]
fn everything_arrives_from_any_kind_of_file_to_any_other() {
    let data = pattern(400_000);
    with_every_loop(|event_loop| {
        for from in KINDS {
            for to in KINDS {
                let dir = TempDir::new();
                let (id, output) = output(event_loop, to, data.len(), &dir);
                let moved = Rc::new(Cell::new(0));
                let source = Source {
                    to: id,
                    moved: Rc::clone(&moved),
                };
                input(event_loop, from, &data, &dir, source);
                turn_until_empty(event_loop);
                assert!(output() == data, "{from:?} to {to:?}");
                assert_eq!(moved.get(), data.len());
            }
        }
    });
}

/// A source and a sink that are pipes, with the other ends of both.
fn pipes(
    event_loop: &mut EventLoop,
    probe: Probe,
) -> (os_pipe::PipeWriter, os_pipe::PipeReader, AnyId, AnyId) {
    let (reader, input) = os_pipe::pipe().unwrap();
    let (output, writer) = os_pipe::pipe().unwrap();
    let sink = FileDispatcher::writer(writer, probe).unwrap();
    let sink = event_loop.add(sink).unwrap().into();
    let source = Source {
        to: sink,
        moved: Rc::default(),
    };
    let source = FileDispatcher::reader(reader, source).unwrap();
    let source = event_loop.add(source).unwrap().into();
    (input, output, source, sink)
}

#[test]
fn a_full_output_holds_the_input_back_without_spinning() {
    with_every_loop(|event_loop| {
        let (mut input, mut output, _, sink) = pipes(event_loop, Probe::silent());
        let writer = thread::spawn(move || input.write_all(&pattern(300_000)).unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !event_loop.endpoint(sink).unwrap().is_congested() {
            assert!(Instant::now() < deadline, "it is never full");
            event_loop.turn(WAIT).unwrap();
        }
        let served = event_loop.turn(WAIT);
        assert_eq!(served.unwrap(), 0, "it waits");
        let reader = thread::spawn(move || {
            let mut data = Vec::new();
            output.read_to_end(&mut data).unwrap();
            data
        });
        turn_until_empty(event_loop);
        assert!(reader.join().unwrap() == pattern(300_000));
        writer.join().unwrap();
    });
}

#[test]
fn output_that_is_pending_comes_first() {
    with_every_loop(|event_loop| {
        let (mut input, mut output, _, sink) = pipes(event_loop, Probe::silent());
        input.write_all(b" and forwarded").unwrap();
        drop(input);
        let much = vec![b'x'; 200_000];
        event_loop.endpoint_mut(sink).unwrap().send(&much).unwrap();
        let reader = thread::spawn(move || {
            let mut data = Vec::new();
            output.read_to_end(&mut data).unwrap();
            data
        });
        turn_until_empty(event_loop);
        let data = reader.join().unwrap();
        assert!(data.starts_with(&much) && data.ends_with(b"x and forwarded"));
        assert_eq!(data.len(), much.len() + 14);
    });
}

#[test]
fn a_reader_that_has_gone_ends_its_own_channel() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let (mut input, output, source, sink) = pipes(event_loop, probe);
        drop(output);
        input.write_all(b"for nobody").unwrap();
        turn_until(event_loop, "the sink ends", || seen.heard("close"));
        // If nothing was moved before the hang-up was found, nothing is lost.
        let errno = seen.reason().and_then(|(errno, _)| errno);
        assert!(matches!(errno, None | Some(libc::EPIPE)), "{errno:?}");
        settle(event_loop);
        assert!(!event_loop.contains(sink));
        assert!(event_loop.contains(source), "it decides for itself");
        event_loop.close(source).unwrap();
    });
}

#[test]
fn a_channel_that_cannot_be_forwarded_to_is_named() {
    struct Wrong(AnyId, ErrorKind, &'static str);
    impl Handler for Wrong {
        fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
            let error = io.forward(self.0, 10).unwrap_err();
            assert_eq!(error.kind(), self.1);
            let message = error.to_string();
            assert!(message.contains(self.2), "{message}");
            io.close();
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let (reader, _writer) = os_pipe::pipe().unwrap();
        let unbuffered = FileDispatcher::reader(reader, Probe::silent()).unwrap();
        let unbuffered = event_loop.add_background(unbuffered).unwrap();
        let (_reader, writer) = os_pipe::pipe().unwrap();
        let gone = FileDispatcher::writer(writer, Probe::silent()).unwrap();
        let gone = event_loop.add(gone).unwrap();
        event_loop.close(gone).unwrap();
        for (to, kind, message) in [
            (unbuffered.into(), ErrorKind::Unsupported, "has no buffer"),
            (gone.into(), ErrorKind::NotFound, "is gone"),
        ] {
            let (reader, mut writer) = os_pipe::pipe().unwrap();
            writer.write_all(b"x").unwrap();
            let wrong = FileDispatcher::reader(reader, Wrong(to, kind, message)).unwrap();
            event_loop.add(wrong).unwrap();
            event_loop.run().unwrap();
        }
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let wrong = Wrong(unbuffered.into(), ErrorKind::NotFound, "to itself");
        let wrong = event_loop.add(DispatcherWithSend::new(ours, wrong).unwrap());
        let wrong = wrong.unwrap();
        event_loop.get_mut(wrong).unwrap().handler_mut().0 = wrong.into();
        event_loop.run().unwrap();
        event_loop.close_all(false).unwrap();
    });
}

#[test]
fn a_file_that_is_appended_to_is_written_by_the_program() {
    // splice(2) refuses it.
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        let path = dir.join("log");
        fs::write(&path, "first ").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        let sink = FileDispatcher::writer(file, Probe::silent()).unwrap();
        let sink = event_loop.add(sink).unwrap();
        let (reader, mut writer) = os_pipe::pipe().unwrap();
        writer.write_all(b"second").unwrap();
        drop(writer);
        let source = Source {
            to: sink.into(),
            moved: Rc::default(),
        };
        event_loop
            .add(FileDispatcher::reader(reader, source).unwrap())
            .unwrap();
        turn_until_empty(event_loop);
        assert_eq!(fs::read(&path).unwrap(), b"first second");
    });
}
