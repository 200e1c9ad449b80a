//! Fetches a URL with HTTP/1.0 and writes the body to stdout or to a file.
//!
//! The connection is one channel. The output is another, whether stdout is a pipe, a terminal or a
//! file. The body passes from one to the other in pieces. While too much output is pending, the
//! connection is not read, so memory stays small however long the body is and however slow its
//! reader.
//!
//! Redirects are not followed. The exit code is 0 for a complete body with a status of success
//! (2xx), and 1 for anything else. The received part of an incomplete body is written. With `-o`,
//! the body goes to a hidden file beside FILE, which gets FILE's name when it is complete, so FILE
//! is never incomplete. (A device or a FIFO is written to directly.)
//!
//! Try it:
//!
//! ```text
//! python3 -m http.server 8000 &
//! cargo run --example http_client -- http://localhost:8000/ | head
//! cargo run --example http_client -- http+unix:/run/docker.sock:/version -o version.json
//! ```

#[path = "../common/mod.rs"]
mod common;
mod header;
mod progress;
mod target;
mod url;

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};

use common::{Arguments, Failure};
use fdloop::{
    ChannelId, DispatcherWithSend, Error, EventLoop, FileDispatcher, Handler, Io, Predicates,
    Resolver, Result, View,
};

use header::Incoming;
use progress::Progress;
use target::Target;
use url::Url;

const USAGE: &str = "\
usage: http_client [--backend select|poll|epoll] [-o FILE] [--timeout SECONDS] URL
  URL is http://HOST[:PORT][/PATH] (HOST may be IPV4 or [IPV6]), or for a server
  on a Unix socket http+unix:SOCKET:/PATH
  SECONDS is how long the server may be silent; for ever by default";

/// The limit of pending output, in bytes, at which no more is received.
const LIMIT: usize = 256 * 1024;

/// The limit of bytes received at once.
const CHUNK: usize = 64 * 1024;

fn main() -> ExitCode {
    common::main(USAGE, &["--backend", "-o", "--timeout"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let file = arguments.value("-o");
    let timeout = arguments.timeout()?;
    let url = Url::parse(&arguments.required("URL")?)?;
    arguments.finish()?;
    let target = match &file {
        Some(path) => Target::file(path.as_ref())?,
        None => Target::Stdout,
    };

    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.stop_on(common::STOPPING)?;
    let (ending, ended) = mpsc::channel();
    let mut connection = fetch(&mut event_loop, &url, &target, ending)?;
    connection.set_timeout(timeout);
    event_loop.add(connection)?;
    event_loop.run()?;
    drop(event_loop); // puts the flags of stdout back
    match ended.try_recv() {
        Ok(result) => result.map_err(|m| Failure::operation(format!("{}: {m}", url.text)))?,
        // Only a signal stops the loop otherwise.
        Err(_) => return Err(Failure::operation("interrupted")),
    }
    target.complete()
}

/// Makes the two channels, and returns that of the connection.
fn fetch(
    event_loop: &mut EventLoop,
    url: &Url,
    target: &Target,
    ending: Sender<Result<(), String>>,
) -> Result<DispatcherWithSend<Fetch>, Failure> {
    let sink = Sink {
        ending,
        result: Ok(()),
    };
    let sink = match target {
        Target::Stdout => FileDispatcher::with_send(io::stdout(), sink),
        Target::Directly(file) | Target::Beside { file, .. } => {
            FileDispatcher::with_send(file, sink)
        }
    };
    // This fails only for want of descriptors.
    let sink = event_loop.add(sink?)?;
    let fetch = Fetch {
        sink,
        request: url.request(),
        state: State::Header(Incoming::default()),
        received: 0,
        progress: Progress::new(target.shows_body()),
    };
    // A thread resolves the name, so that a signal ends the program meanwhile.
    let resolver = Resolver::start(event_loop, 1)?;
    DispatcherWithSend::connect_by_name(&resolver, &url.address, fetch).map_err(common::of_address)
}

// --- the connection --------------------------------------------------------------

/// The connection to the server.
struct Fetch {
    sink: ChannelId<FileDispatcher<Sink>>,
    request: String,
    state: State,
    /// The number of bytes of the body so far.
    received: u64,
    progress: Progress,
}

/// The part of the response that is expected next.
enum State {
    /// The header, or the rest of it.
    Header(Incoming),
    /// The rest of the body: its length, if that is known.
    Body { length: Option<u64> },
    /// Nothing more.
    Done,
}

impl Handler for Fetch {
    fn readable(&self, io: &View<'_>) -> bool {
        let sink = io.event_loop().get(self.sink);
        sink.is_none_or(|sink| sink.pending() < LIMIT)
    }

    fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.send(self.request.as_bytes())?;
        Ok(())
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(CHUNK, |io, data| {
            let result = match &mut self.state {
                State::Header(_) => self.take_header(io, data),
                State::Body { .. } => {
                    self.take_body(io, data);
                    Ok(())
                }
                State::Done => Ok(()),
            };
            if let Err(message) = result {
                self.finish(io, Err(message));
            }
            Ok(())
        })
    }

    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        let result = self.end_of_input();
        self.finish(io, result);
        Ok(())
    }

    fn handle_timeout(&mut self, io: &mut Io<'_>) -> Result<()> {
        // The server is not silent while the output holds it up.
        if !io.connected() {
            io.fail(Error::other(
                "the server could not be reached in the time of --timeout",
            ));
        } else if self.readable(&io.view()) {
            io.fail(Error::other(
                "the server was silent for the time of --timeout",
            ));
        }
        Ok(())
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        // Such as a refused connection. `handle_close` handles all ends.
        io.fail(error);
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        let reason = match io.reason() {
            Some(reason) => reason.to_string(),
            None => "the connection ended".to_owned(),
        };
        let where_in_it = match &self.state {
            State::Header(_) => String::new(),
            State::Body { length } => format!(", after {}", self.amount(*length)),
            State::Done => return Ok(()),
        };
        self.finish(io, Err(format!("{reason}{where_in_it}")));
        Ok(())
    }
}

impl Fetch {
    /// Takes a piece of input that begins within the header.
    fn take_header(&mut self, io: &mut Io<'_>, piece: &[u8]) -> Result<(), String> {
        let State::Header(incoming) = &mut self.state else {
            return Ok(());
        };
        let Some((header, body)) = incoming.take(piece)? else {
            return Ok(());
        };
        let length = header.body_length()?;
        self.state = State::Body { length };
        // With an empty piece as well: the body may be empty and so complete.
        self.take_body(io, &body);
        Ok(())
    }

    /// Passes a piece of the body on.
    fn take_body(&mut self, io: &mut Io<'_>, piece: &[u8]) {
        let State::Body { length } = self.state else {
            return;
        };
        // Input beyond the announced length is not part of the body.
        let left = length.map_or(u64::MAX, |length| length - self.received);
        let piece = &piece[..usize::try_from(left).map_or(piece.len(), |l| l.min(piece.len()))];
        self.received += piece.len() as u64;
        self.progress.show(self.received, length);
        if let Some(sink) = io.event_loop().get_mut(self.sink) {
            if let Err(error) = sink.send(piece) {
                // Such as a full disk: the sink's error, not this channel's.
                sink.fail(error);
            }
        }
        if length == Some(self.received) {
            self.finish(io, Ok(()));
        }
    }

    /// Returns the result of a connection that the server has closed.
    fn end_of_input(&self) -> Result<(), String> {
        match &self.state {
            State::Header(header) if header.is_empty() => {
                Err("the server closed the connection before it sent a response".to_owned())
            }
            State::Header(_) => {
                Err("the server closed the connection within the header of its response".to_owned())
            }
            // If the length of the body is not known, the end of the connection is its end.
            State::Body {
                length: Some(length),
            } => {
                let amount = self.amount(Some(*length));
                Err(format!(
                    "the body is truncated: the server closed after {amount}"
                ))
            }
            State::Body { length: None } | State::Done => Ok(()),
        }
    }

    fn amount(&self, length: Option<u64>) -> String {
        match length {
            Some(length) => format!("{} of {length} bytes", self.received),
            None => format!("{} bytes", self.received),
        }
    }

    /// Closes the connection, and the output when all is written, which ends the program.
    fn finish(&mut self, io: &mut Io<'_>, result: Result<(), String>) {
        if !matches!(self.state, State::Done) {
            self.state = State::Done;
            self.progress.finish();
            if let Some(sink) = io.event_loop().get_mut(self.sink) {
                sink.handler_mut().result = result;
                sink.close_when_done();
            }
        }
        io.close();
    }
}

// --- the output ------------------------------------------------------------------

/// Stdout or the file.
struct Sink {
    /// The place of the result, which the program reads.
    ending: Sender<Result<(), String>>,
    /// The result of the connection.
    result: Result<(), String>,
}

impl Handler for Sink {
    fn readable(&self, _: &View<'_>) -> bool {
        false
    }

    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        // Such as a full disk.
        io.fail(error);
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        let result = match io.reason() {
            // The reader has gone, or a write failed.
            Some(reason) => Err(format!("cannot write the body: {reason}")),
            None => std::mem::replace(&mut self.result, Ok(())),
        };
        // The program takes it when the loop has stopped, and else it is over.
        let _ = self.ending.send(result);
        io.event_loop().stop();
        Ok(())
    }
}
