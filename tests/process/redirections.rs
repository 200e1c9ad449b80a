//! A program that copies its standard input to its standard output through the
//! loop, with files, pipes and /dev/null as either. The program is this test,
//! started again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::thread;

use crate::common::{TempDir, again, on_every_backend};
use fdloop::{Backend, ChannelId, Error, EventLoop, FileDispatcher, Handler, Io, Result, View};
use nix::fcntl::{FcntlArg, fcntl};

/// Set for the program: the backend that it uses.
const PROGRAM: &str = "FDLOOP_REDIRECTED_BACKEND";

/// What the program writes first: the test harness it is in has written something,
/// too.
const BEGIN: &[u8] = b"the copy begins\n";

/// The limit of pending output, in bytes.
const LIMIT: usize = 64 * 1024;

/// The input.
struct Source {
    copy: ChannelId<FileDispatcher<Sink>>,
}

impl Handler for Source {
    fn readable(&self, io: &View<'_>) -> bool {
        let copy = io.event_loop().get(self.copy);
        copy.is_some_and(|copy| copy.pending() < LIMIT)
    }

    fn writable(&self, _: &View<'_>) -> bool {
        false
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 8192];
        let n = io.recv(&mut buf)?;
        if let Some(copy) = io.event_loop().get_mut(self.copy) {
            copy.send(&buf[..n])?;
        }
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        if let Some(copy) = io.event_loop().get_mut(self.copy) {
            copy.close_when_done();
        }
        Ok(())
    }

    fn handle_error(&mut self, _: &mut Io<'_>, error: Error) -> Result<()> {
        panic!("{error}");
    }
}

/// The output.
struct Sink;

impl Handler for Sink {
    fn readable(&self, _: &View<'_>) -> bool {
        false
    }

    fn handle_error(&mut self, _: &mut Io<'_>, error: Error) -> Result<()> {
        panic!("{error}");
    }
}

/// The program.
fn copy(backend: Backend) -> ! {
    io::stdout().write_all(BEGIN).unwrap();
    io::stdout().flush().unwrap();
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let sink = FileDispatcher::with_send(io::stdout(), Sink).unwrap();
    let copy = event_loop.add(sink).unwrap();
    let source = FileDispatcher::new(io::stdin(), Source { copy }).unwrap();
    event_loop.add(source).unwrap();
    event_loop.run().unwrap();
    // Before the harness has more to say.
    std::process::exit(0);
}

/// Runs the program, which must succeed and leave the flags of the open file
/// descriptions as they were. The caller has these, too.
#[track_caller]
fn run_redirected(backend: Backend, input: &OwnedFd, output: &OwnedFd) {
    let flags = |fd: &OwnedFd| fcntl(fd, FcntlArg::F_GETFL).unwrap();
    let before = [input, output].map(flags);
    let ended = again("redirections::a_program_copies_its_input_to_its_output")
        .env(PROGRAM, backend.to_string())
        .stdin(Stdio::from(input.try_clone().unwrap()))
        .stdout(Stdio::from(output.try_clone().unwrap()))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}: {complaints}", ended.status);
    assert_eq!([input, output].map(flags), before, "flags were changed");
}

/// The source of the program's input.
#[derive(Debug, Clone, Copy)]
enum Input {
    File,
    Pipe,
    Null,
}

/// The destination of its output.
#[derive(Debug, Clone, Copy)]
enum Output {
    File,
    Pipe,
    Null,
}

/// Data in which a piece that is missing or in the wrong place shows.
fn megabyte() -> Vec<u8> {
    (0..1_u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Copies a megabyte, or nothing, and looks at what came out.
#[track_caller]
fn assert_copied(backend: Backend, from: Input, to: Output) {
    let dir = TempDir::new();
    let (input, output) = (dir.join("input"), dir.join("output"));
    let sent = match from {
        Input::Null => Vec::new(),
        Input::File | Input::Pipe => megabyte(),
    };
    thread::scope(|scope| {
        let stdin: OwnedFd = match from {
            Input::File => {
                fs::write(&input, &sent).unwrap();
                File::open(&input).unwrap().into()
            }
            Input::Pipe => {
                let (reader, mut writer) = os_pipe::pipe().unwrap();
                let sent = &sent;
                scope.spawn(move || writer.write_all(sent).unwrap());
                reader.into()
            }
            Input::Null => File::open("/dev/null").unwrap().into(),
        };
        let (stdout, reader): (OwnedFd, _) = match to {
            Output::File => (File::create(&output).unwrap().into(), None),
            Output::Pipe => {
                let (mut reader, writer) = os_pipe::pipe().unwrap();
                let read = move || {
                    let mut got = Vec::new();
                    reader.read_to_end(&mut got).map(|_| got)
                };
                (writer.into(), Some(scope.spawn(read)))
            }
            Output::Null => (File::create("/dev/null").unwrap().into(), None),
        };
        run_redirected(backend, &stdin, &stdout);
        drop(stdout);
        let got = match (to, reader) {
            (Output::Null, _) => return,
            (_, Some(reader)) => reader.join().unwrap().unwrap(),
            (_, None) => fs::read(&output).unwrap(),
        };
        let begin = got.windows(BEGIN.len()).position(|at| at == BEGIN).unwrap();
        let got = &got[begin + BEGIN.len()..];
        let (n, all) = (got.len(), sent.len());
        assert!(got == sent, "{from:?} to {to:?}: {n} bytes of {all}");
    });
}

#[test]
fn a_program_copies_its_input_to_its_output() {
    if let Ok(backend) = std::env::var(PROGRAM) {
        copy(backend.parse().unwrap());
    }
    on_every_backend(|backend| {
        for from in [Input::File, Input::Pipe, Input::Null] {
            for to in [Output::File, Output::Pipe, Output::Null] {
                assert_copied(backend, from, to);
            }
        }
    });
}
