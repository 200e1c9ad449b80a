//! Fetches a URL with HTTP/1.0 and writes the body to stdout or to a file.
//!
//! The connection is one channel, the output another, whatever stdout is: a pipe,
//! a terminal, a file. The body passes from one to the other in pieces, and the
//! connection is not read while too much waits on the output, so that memory
//! stays small however long the body and however slow its reader.
//!
//! Redirects are not followed. The exit code is 1 for anything but a whole body
//! with a status of success (2xx); what came of the body is written even so. With
//! `-o` it goes to a hidden file beside FILE first, which takes FILE's name when
//! it is whole, so that FILE is never half of something (unless FILE is a device
//! or a FIFO, which is written to directly).
//!
//! Try it:
//!
//! ```text
//! python3 -m http.server 8000 &
//! cargo run --example http_client -- http://localhost:8000/ | head
//! cargo run --example http_client -- http+unix:/run/docker.sock:/version -o version.json
//! ```

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use common::{Arguments, Failure};
use fdloop::{
    Address, ChannelId, DispatcherWithSend, Error, EventLoop, FileDispatcher, Handler, Io,
    Predicates, Result, View,
};

const USAGE: &str = "\
usage: http_client [--backend select|poll] [-o FILE] URL
  URL is http://HOST[:PORT][/PATH] (HOST may be IPV4 or [IPV6]), or for a server
  on a Unix socket http+unix:SOCKET:/PATH";

/// How much may wait to be written to the output before no more is received.
const LIMIT: usize = 256 * 1024;

/// How much is received at once.
const CHUNK: usize = 64 * 1024;

/// The longest header that is taken for one.
const LONGEST_HEADER: usize = 64 * 1024;

fn main() -> ExitCode {
    common::main(USAGE, run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let file = arguments.value("-o")?;
    let url = Url::parse(&arguments.required("URL")?)?;
    arguments.finish()?;
    let addresses = common::addresses(&url.address)?;
    let target = match &file {
        Some(path) => Target::file(path.as_ref())?,
        None => Target::Stdout,
    };

    let mut event_loop = EventLoop::with_backend(backend)?;
    common::stop_on_signals(&mut event_loop)?;
    let (ending, ended) = mpsc::channel();
    fetch(&mut event_loop, &url, &addresses, &target, ending)?;
    event_loop.run()?;
    drop(event_loop); // puts the flags of stdout back
    match ended.try_recv() {
        Ok(result) => result.map_err(|m| Failure::operation(format!("{}: {m}", url.text)))?,
        // Nobody else stops the loop.
        Err(_) => return Err(Failure::operation("interrupted")),
    }
    target.complete()
}

/// Makes the two channels.
fn fetch(
    event_loop: &mut EventLoop,
    url: &Url,
    addresses: &[Address],
    target: &Target,
    ending: Sender<Result<(), String>>,
) -> Result<(), Failure> {
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
    // A descriptor that cannot be had is all that could fail here.
    let sink = event_loop.add(sink?)?;
    let fetch = Fetch {
        sink,
        request: url.request(),
        state: State::Header(Vec::new()),
        received: 0,
        progress: Progress::new(target.shows_body()),
    };
    event_loop.add(DispatcherWithSend::connect(addresses, fetch)?)?;
    Ok(())
}

// --- the connection --------------------------------------------------------------

/// The connection to the server.
struct Fetch {
    sink: ChannelId<FileDispatcher<Sink>>,
    request: String,
    state: State,
    /// How much of the body there was.
    received: u64,
    progress: Progress,
}

/// What is expected from the server.
enum State {
    /// The rest of the header, of which this has come.
    Header(Vec<u8>),
    /// The body, and as much of it; if that is not known, all until the end.
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
                State::Header(header) => {
                    // The end may have come in several pieces.
                    let seen = header.len().saturating_sub(3);
                    header.extend_from_slice(data);
                    self.take_header(io, seen)
                }
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

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        // Such as a refused connection; handle_close is the place for all ends.
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
    /// Looks whether the header is whole, and if so, what it says. In the first
    /// `seen` bytes it does not end.
    fn take_header(&mut self, io: &mut Io<'_>, seen: usize) -> Result<(), String> {
        let State::Header(received) = &self.state else {
            return Ok(());
        };
        let Some(end) = end_of_header(received, seen)? else {
            return Ok(());
        };
        let header = Header::parse(&received[..end])?;
        let body = received[end..].to_vec();
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
        // What is longer than the server said is not part of the body.
        let left = length.map_or(u64::MAX, |length| length - self.received);
        let piece = &piece[..usize::try_from(left).map_or(piece.len(), |l| l.min(piece.len()))];
        self.received += piece.len() as u64;
        self.progress.show(self.received, length);
        if let Some(sink) = io.event_loop().get_mut(self.sink)
            && let Err(error) = sink.send(piece)
        {
            // Such as a full disk: the sink's error, not this channel's.
            sink.fail(error);
        }
        if length == Some(self.received) {
            self.finish(io, Ok(()));
        }
    }

    /// What it means that the server has closed the connection.
    fn end_of_input(&self) -> Result<(), String> {
        match &self.state {
            State::Header(header) if header.is_empty() => {
                Err("the server closed the connection without an answer".to_owned())
            }
            State::Header(_) => {
                Err("the server closed the connection within the header of its answer".to_owned())
            }
            // An end within a body whose length is known; else that is its end.
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

    /// Closes the connection, and the output when all is written. The program ends
    /// with that.
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
    /// Where the program learns how it ended.
    ending: Sender<Result<(), String>>,
    /// What became of the connection.
    result: Result<(), String>,
}

impl Handler for Sink {
    fn readable(&self, _: &View<'_>) -> bool {
        false
    }

    fn predicates(&self) -> Predicates {
        Predicates::OwnState
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        // Such as a full disk.
        io.fail(error);
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        let result = match io.reason() {
            // Nobody reads it any more, or it could not be written.
            Some(reason) => Err(format!("cannot write the body: {reason}")),
            None => std::mem::replace(&mut self.result, Ok(())),
        };
        // The program takes it when the loop has stopped, and else it is over.
        let _ = self.ending.send(result);
        io.event_loop().stop();
        Ok(())
    }
}

/// Where the body goes.
enum Target {
    Stdout,
    /// To a device, a FIFO or the like.
    Directly(File),
    /// To a file that gets its name when it is whole.
    Beside {
        file: File,
        written: Temporary,
        path: PathBuf,
    },
}

/// A file that is removed unless it has been given its name.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It may be gone already, which is what is wanted.
            let _ = fs::remove_file(path);
        }
    }
}

impl Target {
    fn file(named: &Path) -> Result<Self, Failure> {
        // Named as the user did, not by the name of the hidden file.
        let failed = |error: io::Error| {
            Failure::operation(format!("cannot write {}: {error}", named.display()))
        };
        // A link stays one: the file that it names is replaced.
        let path = fs::canonicalize(named).unwrap_or_else(|_| named.to_owned());
        if fs::metadata(&path).is_ok_and(|is| !is.is_file()) {
            let file = OpenOptions::new().write(true).open(&path);
            return file.map(Self::Directly).map_err(failed);
        }
        let Some(name) = path.file_name() else {
            let message = format!("-o: {:?} is not the name of a file", path.display());
            return Err(Failure::usage(message));
        };
        let beside = format!(".{}.{}.part", common::shown(name), process::id());
        let beside = path.with_file_name(beside);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&beside);
        Ok(Self::Beside {
            file: file.map_err(failed)?,
            written: Temporary(Some(beside)),
            path,
        })
    }

    /// Whether the user sees the body itself.
    fn shows_body(&self) -> bool {
        matches!(self, Self::Stdout) && io::stdout().is_terminal()
    }

    /// The body is whole.
    fn complete(self) -> Result<(), Failure> {
        let Self::Beside {
            mut written, path, ..
        } = self
        else {
            return Ok(());
        };
        let Some(beside) = &written.0 else {
            return Ok(());
        };
        fs::rename(beside, &path).map_err(|error| {
            Failure::operation(format!("cannot write {}: {error}", path.display()))
        })?;
        written.0 = None;
        Ok(())
    }
}

/// Says on stderr how far it is, if that is a terminal (and the body is not in the
/// way of it).
struct Progress {
    shown: bool,
    next: Instant,
    line: String,
}

impl Progress {
    fn new(body_is_shown: bool) -> Self {
        Self {
            shown: !body_is_shown && io::stderr().is_terminal(),
            next: Instant::now(),
            line: String::new(),
        }
    }

    fn show(&mut self, received: u64, length: Option<u64>) {
        if !self.shown {
            return;
        }
        self.line = match length {
            Some(length) if length > 0 => {
                let percent = u128::from(received) * 100 / u128::from(length);
                format!("{received} of {length} bytes, {percent}%")
            }
            _ => format!("{received} bytes"),
        };
        if Instant::now() >= self.next {
            self.next = Instant::now() + Duration::from_millis(100);
            let _ = write!(io::stderr(), "\r{}", self.line);
        }
    }

    fn finish(&mut self) {
        if !self.line.is_empty() {
            let _ = writeln!(io::stderr(), "\r{}", self.line);
        }
    }
}

// --- HTTP ------------------------------------------------------------------------

/// Where to connect, and what to ask for.
struct Url {
    /// As the user wrote it.
    text: String,
    /// What the connection is made to, in the crate's notation.
    address: String,
    /// The value of the header field.
    host: String,
    path: String,
}

impl Url {
    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::usage(format!("{text:?}: {what}"));
        // These could smuggle lines into the request.
        if text.contains(|c: char| c.is_control() || c == ' ') {
            return Err(wrong("a URL has no blanks; write %20"));
        }
        let without_fragment = text.split('#').next().unwrap_or(text);
        if let Some(rest) = without_fragment.strip_prefix("http+unix:") {
            // The path of the socket ends where that of the resource begins.
            let (socket, path) = match rest.find(":/") {
                Some(at) => (&rest[..at], &rest[at + 1..]),
                None => (rest.trim_end_matches(':'), "/"),
            };
            if socket.is_empty() {
                return Err(wrong("expected http+unix:SOCKET:/PATH"));
            }
            return Ok(Self {
                text: text.to_owned(),
                address: format!("unix:{socket}"),
                host: "localhost".to_owned(),
                path: path.to_owned(),
            });
        }
        let Some(rest) = without_fragment.strip_prefix("http://") else {
            return Err(wrong("only http:// and http+unix: are spoken here"));
        };
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if host.contains('@') {
            return Err(wrong("user names are not sent"));
        }
        let (name, port) = match host.rsplit_once(':') {
            // In brackets it is part of an IPv6 address.
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (host, ""),
        };
        if name.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()) {
            return Err(wrong("expected http://HOST[:PORT][/PATH]"));
        }
        let port = if port.is_empty() { "80" } else { port };
        Ok(Self {
            text: text.to_owned(),
            // In a URL, the scope of an IPv6 address stands behind a %25.
            address: format!("{}:{port}", name.replacen("%25", "%", 1)),
            host: host.to_owned(),
            path: match path.strip_prefix('?') {
                Some(query) => format!("/?{query}"),
                None if path.is_empty() => "/".to_owned(),
                None => path.to_owned(),
            },
        })
    }

    fn request(&self) -> String {
        let Self { host, path, .. } = self;
        format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: fdloop-http-client\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        )
    }
}

/// Where the body begins, if all of the header has come. In the first `seen` bytes
/// it does not end.
fn end_of_header(received: &[u8], seen: usize) -> Result<Option<usize>, String> {
    let magic = b"HTTP/";
    let len = received.len().min(magic.len());
    if received[..len] != magic[..len] {
        let shown = received[..received.len().min(40)].escape_ascii();
        return Err(format!(
            "the server does not speak HTTP; it said \"{shown}\""
        ));
    }
    // An empty line, ended by CR LF or, from old servers, LF.
    let header = &received[..received.len().min(LONGEST_HEADER)];
    for at in seen..header.len() {
        match &header[at..] {
            [b'\n', b'\n', ..] => return Ok(Some(at + 2)),
            [b'\n', b'\r', b'\n', ..] => return Ok(Some(at + 3)),
            _ => {}
        }
    }
    if received.len() >= LONGEST_HEADER {
        return Err(format!("the header is longer than {LONGEST_HEADER} bytes"));
    }
    Ok(None)
}

/// What a server says before the body.
struct Header {
    code: u16,
    reason: String,
    fields: Vec<(String, String)>,
}

impl Header {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.lines();
        let status = lines.next().unwrap_or_default();
        let mut words = status.splitn(3, ' ');
        let (_, code, reason) = (words.next(), words.next(), words.next());
        let code = code.filter(|code| code.len() == 3);
        let Some(code) = code.and_then(|code| code.parse().ok()) else {
            return Err(format!(
                "the server does not speak HTTP; it said {status:?}"
            ));
        };
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Self {
            code,
            reason: reason.unwrap_or_default().to_owned(),
            fields,
        })
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.fields.iter().filter(move |(n, _)| n == name);
        named.map(|(_, value)| value.as_str())
    }

    /// How long the body is, if it is one that was asked for.
    fn body_length(&self) -> Result<Option<u64>, String> {
        let Self { code, reason, .. } = self;
        match (code, self.all("location").next()) {
            (200..300, _) => {}
            (300..400, Some(to)) => {
                return Err(format!(
                    "the server answered {code} {reason}: it is at {to}"
                ));
            }
            _ => return Err(format!("the server answered {code} {reason}")),
        }
        if self
            .all("transfer-encoding")
            .any(|coding| coding != "identity")
        {
            // It must not, to a client that speaks HTTP/1.0.
            return Err("the server encoded the body for HTTP/1.1".to_owned());
        }
        if matches!(code, 204 | 205) {
            return Ok(Some(0));
        }
        let mut lengths = self.all("content-length");
        let Some(length) = lengths.next() else {
            return Ok(None);
        };
        if lengths.any(|other| other != length) {
            return Err("the server gave two lengths for the body".to_owned());
        }
        let digits = !length.is_empty() && length.bytes().all(|c| c.is_ascii_digit());
        match length.parse() {
            Ok(length) if digits => Ok(Some(length)),
            _ => Err(format!(
                "the server gave {length:?} as the length of the body"
            )),
        }
    }
}
