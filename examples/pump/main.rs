//! Copies standard input to standard output, with a rate limit and a progress line.
//!
//! Either may be a pipe, a terminal, a regular file, a device, a FIFO or a socket. On Linux the
//! kernel moves the bytes if one of them is a pipe: [`Io::forward`] does this. The input is not
//! read while the output has no room, so that at most a piece waits in memory.
//!
//! At the end of the input, the program ends when all is written. If the reader of the output goes,
//! as `head` does, the program also ends with success.
//!
//! Try it:
//!
//! ```text
//! cargo build --release --example pump
//! target/release/examples/pump --rate 10M </dev/zero | head -c 100M >/dev/null
//! ```

#[path = "../common/mod.rs"]
mod common;
mod counted;
mod progress;
mod rate;

use std::cell::Cell;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use common::{Arguments, Failure};
use counted::Counted;
use fdloop::{
    ChannelId, DispatcherWithSend, Error, EventLoop, FileDispatcher, FileWrapper, Handler, Io,
    Result, StateId, View, WindowSize, is_tty,
};
use progress::Progress;
use rate::Bucket;

const USAGE: &str = "\
usage: pump [--rate BYTES] [--size BYTES] [--count] [--backend select|poll|epoll] <INPUT >OUTPUT
  copies standard input to standard output, and shows the progress on stderr if that is a
  terminal
  --rate BYTES   copy at most so many bytes a second
  --size BYTES   the size of the input, for a percentage and the time that is left; known
                 already if it is a regular file
  --count        write the number of bytes that were copied to stderr at the end
  BYTES is a number with K, M, G or T for powers of 1024";

/// The most bytes moved at once.
const PIECE: usize = 256 * 1024;

/// The most pieces moved in one event, so that other channels have their turn.
const PIECES: usize = 16;

/// The time between additions to the bytes that the rate allows.
const TICK: Duration = Duration::from_millis(10);

/// The time between two lines of the progress.
const REFRESH: Duration = Duration::from_millis(200);

type SinkId = ChannelId<DispatcherWithSend<Sink>>;

/// The first error that ended the copying.
type Trouble = StateId<Option<String>>;

/// Standard input.
struct Source {
    sink: SinkId,
    trouble: Trouble,
    /// The bytes that have left.
    bytes: Rc<Cell<u64>>,
    bucket: Option<Bucket>,
}

impl Source {
    /// The bytes that may be moved now.
    fn allowance(&self) -> usize {
        let bucket = self.bucket.as_ref();
        bucket.map_or(PIECE, |bucket| bucket.available().min(PIECE))
    }

    /// Moves a piece. Returns its length.
    fn move_piece(&mut self, io: &mut Io<'_>) -> Result<usize> {
        let (bytes, pending) = (self.bytes.get(), self.pending(io));
        let n = io.forward(self.sink, self.allowance())?;
        // Bytes that pass through the program are written, which counts them, or pending, or
        // lost with the reader. Others were moved by the kernel.
        if self.bytes.get() == bytes && self.pending(io) == pending {
            self.bytes.set(bytes + n as u64);
        }
        Ok(n)
    }

    /// The bytes that wait in the program, unless the reader has gone.
    fn pending(&self, io: &mut Io<'_>) -> Option<usize> {
        let sink = io.event_loop().get(self.sink)?;
        sink.reason().is_none().then(|| sink.pending())
    }
}

impl Handler for Source {
    fn readable(&self, io: &View<'_>) -> bool {
        let sink = io.event_loop().get(self.sink);
        sink.is_some_and(|sink| !sink.is_congested()) && self.allowance() > 0
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        for _ in 0..PIECES {
            // The output may have ended in this pass.
            if self.allowance() == 0 || !io.event_loop().contains(self.sink) {
                break;
            }
            // WouldBlock means that there is nothing to read, or no room to write: another event
            // comes.
            let n = self.move_piece(io)?;
            if n == 0 {
                break;
            }
            if let Some(bucket) = &mut self.bucket {
                bucket.take(n);
            }
        }
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        if let Some(sink) = io.event_loop().get_mut(self.sink) {
            sink.close_when_done();
        }
        Ok(())
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        note(io, self.trouble, &error);
        io.event_loop().stop();
        Ok(())
    }
}

/// Standard output.
struct Sink {
    trouble: Trouble,
}

impl Handler for Sink {
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        if let Some(reason) = io.reason() {
            // The reader may have had enough. Anything else is an error.
            if reason.kind() != io::ErrorKind::BrokenPipe {
                let text = reason.to_string();
                note(io, self.trouble, &text);
            }
        }
        io.event_loop().stop();
        Ok(())
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        note(io, self.trouble, &error);
        io.event_loop().stop();
        Ok(())
    }
}

fn note(io: &mut Io<'_>, trouble: Trouble, error: &dyn fmt::Display) {
    if let Some(trouble) = io.event_loop().state_mut(trouble) {
        trouble.get_or_insert_with(|| error.to_string());
    }
}

/// Standard error, with the progress line. It is a channel too: a terminal that is slow or
/// stopped (Ctrl-S) does not hold up the copying.
struct Screen;

impl Handler for Screen {
    // Without its terminal, the copying goes on.
    fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
        Ok(())
    }
}

/// Shows the progress from time to time.
fn show_progress(
    event_loop: &mut EventLoop,
    bytes: Rc<Cell<u64>>,
    mut progress: Progress,
) -> Result<()> {
    let screen = event_loop.add_background(FileDispatcher::writer(io::stderr(), Screen)?)?;
    event_loop.call_every(REFRESH, move |event_loop| {
        // Output that the terminal has not taken yet is out of date.
        if let Some(screen) = event_loop
            .get_mut(screen)
            .filter(|screen| screen.pending() == 0)
        {
            let line = progress.line(bytes.get(), columns());
            screen.send(format!("\r{line}\x1b[K").as_bytes())?;
        }
        Ok(())
    });
    Ok(())
}

/// The width that the line has at most.
fn columns() -> usize {
    let size = WindowSize::of(io::stderr()).unwrap_or_default();
    usize::from(size.or(WindowSize::new(24, 80)).columns) - 1
}

/// The bytes from the position of standard input to its end, if it is a regular file.
fn size_of_input() -> Option<u64> {
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok()?;
    let position = file.stream_position().ok()?;
    (metadata.is_file()).then(|| metadata.len().saturating_sub(position))
}

/// Reads a number of bytes, with a letter for a power of 1024.
fn number_of_bytes(option: &str, text: &OsStr) -> Result<u64, Failure> {
    let parse = |text: &str| {
        let (digits, power) = match text.char_indices().last()? {
            (at, letter) if letter.is_ascii_alphabetic() => {
                let power = "KMGT".find(letter.to_ascii_uppercase())? + 1;
                (&text[..at], power)
            }
            _ => (text, 0),
        };
        let number: u64 = digits.parse().ok()?;
        number.checked_mul(1 << (10 * power))
    };
    text.to_str().and_then(parse).ok_or_else(|| {
        let shown = common::shown(text);
        Failure::usage(format!(
            "{option}: {shown:?} is not a number of bytes such as 500K"
        ))
    })
}

fn main() -> ExitCode {
    let options = ["--backend", "--rate", "--size"];
    common::main_with_flags(USAGE, &options, &["--count"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let mut number = |option: &str| {
        let text = arguments.value(option);
        text.map(|text| number_of_bytes(option, &text)).transpose()
    };
    let rate = number("--rate")?;
    if rate == Some(0) {
        return Err(Failure::usage("--rate: nothing moves at 0 bytes a second"));
    }
    let size = number("--size")?.or_else(size_of_input);
    let counts = arguments.flag("--count");
    arguments.finish()?;

    let mut event_loop = EventLoop::with_backend(backend)?;
    let trouble = event_loop.keep(None);
    let (output, bytes) = Counted::new(FileWrapper::new(io::stdout())?);
    let mut sink = DispatcherWithSend::over(output, Sink { trouble });
    // If standard output is a terminal, its input may belong to another program.
    sink.set_write_only();
    // At most a piece waits in the program.
    sink.set_watermarks(0, 1);
    let sink = event_loop.add(sink)?;
    let source = Source {
        sink,
        trouble,
        bytes: Rc::clone(&bytes),
        bucket: rate.map(Bucket::new),
    };
    let source = event_loop.add(FileDispatcher::reader(io::stdin(), source)?)?;
    if rate.is_some() {
        event_loop.call_every(TICK, move |event_loop| {
            let source = event_loop.get_mut(source);
            if let Some(bucket) = source.and_then(|source| source.handler_mut().bucket.as_mut()) {
                bucket.fill();
            }
            Ok(())
        });
    }
    let progress = Progress::new(size);
    let shows = is_tty(io::stderr());
    if shows {
        show_progress(&mut event_loop, Rc::clone(&bytes), progress.clone())?;
    }
    let ended = event_loop.run();
    let trouble = event_loop.take(trouble).flatten();
    // The progress line is the last one's now.
    drop(event_loop);
    let bytes = bytes.get();
    if shows {
        let _ = write!(
            io::stderr(),
            "\r{}\x1b[K\n",
            progress.summary(bytes, columns())
        );
    }
    if counts {
        common::complain(&format!("{bytes} bytes"));
    }
    ended?;
    match trouble {
        Some(trouble) => Err(Failure::operation(trouble)),
        None => Ok(()),
    }
}
