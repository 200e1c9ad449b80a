//! Code that the examples share: arguments, messages, servers.

// Every example compiles its own copy of this file, and none uses all of it.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};
use std::time::Duration;

use fdloop::{Address, Backend, Dispatcher, Error, EventLoop, Handler, ToAddresses};

/// The program, for its messages.
const NAME: &str = env!("CARGO_CRATE_NAME");

/// The signals that end a program.
pub const STOPPING: &[i32] = &[libc::SIGINT, libc::SIGTERM];

/// The failure of a program.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are invalid: the usage is shown, and the exit code is 2.
    Usage(String),
    /// A file of the user's is invalid; the exit code is 2.
    Input(String),
    /// The operation failed; the exit code is 1.
    Operation(String),
}

impl Failure {
    /// Makes the failure for invalid arguments.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Makes the failure for an invalid file.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    /// Makes the failure for an operation that failed.
    pub fn operation(message: impl Into<String>) -> Self {
        Self::Operation(message.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Operation(error.to_string())
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(match error {
            lexopt::Error::MissingValue {
                option: Some(option),
            } => format!("{option} needs a value"),
            error => error.to_string(),
        })
    }
}

/// Runs a program, prints on stderr why it failed, and returns its exit code. `options` are the
/// options that it knows, each of which takes a value.
pub fn main(
    usage: &str,
    options: &[&str],
    program: impl FnOnce(Arguments) -> Result<(), Failure>,
) -> ExitCode {
    main_with_flags(usage, options, &[], program)
}

/// Runs a program as `main` does, with options that take no value too. The exit code of one that
/// succeeds is what it returns, if that is not `()`.
pub fn main_with_flags<R: Termination>(
    usage: &str,
    options: &[&str],
    flags: &[&str],
    program: impl FnOnce(Arguments) -> Result<R, Failure>,
) -> ExitCode {
    log_to_stderr();
    let result = match Arguments::parse(options, flags) {
        Ok(Some(arguments)) => program(arguments).map(Termination::report),
        Ok(None) => {
            // An error means that the reader has gone.
            let _ = writeln!(io::stdout(), "{usage}");
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => Err(failure),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Usage(message)) => {
            complain(&message);
            let _ = writeln!(io::stderr(), "{usage}");
            ExitCode::from(2)
        }
        Err(Failure::Input(message)) => {
            complain(&message);
            ExitCode::from(2)
        }
        Err(Failure::Operation(message)) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to stderr. (`eprintln` panics when the reader has gone.)
pub fn complain(message: &(impl fmt::Display + ?Sized)) {
    let _ = writeln!(io::stderr(), "{NAME}: {message}");
}

/// Writes errors that the crate logs to stderr, and more if `RUST_LOG` asks for it.
fn log_to_stderr() {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Error)
        .parse_default_env()
        .format(|out, record| writeln!(out, "{NAME}: {}", record.args()))
        .init();
}

/// The arguments that are not taken yet. Options and operands may be mixed on the command line.
#[derive(Debug, Default)]
pub struct Arguments {
    options: Vec<(String, OsString)>,
    flags: Vec<String>,
    operands: VecDeque<OsString>,
}

impl Arguments {
    /// Reads the command line. Returns `None` if it asks for help.
    fn parse(known: &[&str], flags: &[&str]) -> Result<Option<Self>, Failure> {
        let mut arguments = Self::default();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            let option = match argument {
                lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(None),
                lexopt::Arg::Short(letter) => format!("-{letter}"),
                lexopt::Arg::Long(name) => format!("--{name}"),
                lexopt::Arg::Value(operand) => {
                    arguments.operands.push_back(operand);
                    continue;
                }
            };
            if flags.contains(&option.as_str()) {
                arguments.flags.push(option);
                continue;
            }
            if !known.contains(&option.as_str()) {
                return Err(unexpected(option.as_ref()));
            }
            arguments.options.push((option, parser.value()?));
        }
        Ok(Some(arguments))
    }

    /// Takes the value of an option.
    pub fn value(&mut self, name: &str) -> Option<OsString> {
        let at = self.options.iter().position(|(option, _)| option == name)?;
        Some(self.options.remove(at).1)
    }

    /// Checks whether an option without a value was given.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|flag| flag != name);
        self.flags.len() != before
    }

    /// Takes the value of `--backend`, or the default.
    pub fn backend(&mut self) -> Result<Backend, Failure> {
        let Some(name) = self.value("--backend") else {
            return Ok(Backend::default());
        };
        let backend = name.to_string_lossy().parse();
        backend.map_err(|error: Error| Failure::usage(format!("--backend: {error}")))
    }

    /// Takes the value of `--timeout`, in seconds, if it was given.
    pub fn timeout(&mut self) -> Result<Option<Duration>, Failure> {
        let Some(text) = self.value("--timeout") else {
            return Ok(None);
        };
        let seconds = text.to_str().and_then(|text| text.parse::<f64>().ok());
        match seconds.map(Duration::try_from_secs_f64) {
            Some(Ok(timeout)) if !timeout.is_zero() => Ok(Some(timeout)),
            _ => Err(Failure::usage(format!(
                "--timeout: {:?} is not a number of seconds above 0",
                shown(&text)
            ))),
        }
    }

    /// Takes the next operand.
    pub fn operand(&mut self) -> Result<Option<String>, Failure> {
        let operand = self.operands.pop_front().map(OsString::into_string);
        operand
            .transpose()
            .map_err(|text| Failure::usage(format!("{text:?} is not UTF-8")))
    }

    /// Takes the next operand, and fails without one; `what` is its name in the usage.
    pub fn required(&mut self, what: &str) -> Result<String, Failure> {
        self.operand()?
            .ok_or_else(|| Failure::usage(format!("{what} is missing")))
    }

    /// Takes the operands that are left.
    pub fn rest(&mut self) -> Vec<OsString> {
        self.operands.drain(..).collect()
    }

    /// Refuses options and operands that were not taken.
    pub fn finish(self) -> Result<(), Failure> {
        if let Some((option, _)) = self.options.first() {
            return Err(unexpected(option.as_ref()));
        }
        if let Some(flag) = self.flags.first() {
            return Err(unexpected(flag.as_ref()));
        }
        match self.operands.front() {
            Some(operand) => Err(unexpected(operand)),
            None => Ok(()),
        }
    }
}

fn unexpected(argument: &OsStr) -> Failure {
    Failure::usage(format!("unexpected argument {:?}", shown(argument)))
}

/// Resolves `text` to addresses.
pub fn addresses(text: &str) -> Result<Vec<Address>, Failure> {
    text.to_addresses().map_err(of_address)
}

/// Makes the failure for an address. A malformed one is a mistake in the arguments; a name that
/// cannot be resolved may be a failure of the network.
pub fn of_address(error: Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidInput => Failure::usage(error.to_string()),
        _ => Failure::operation(error.to_string()),
    }
}

/// Removes the file of a Unix socket at the end.
#[derive(Debug)]
pub struct SocketFile(Option<PathBuf>);

impl SocketFile {
    pub fn of(address: &Address) -> Self {
        Self(match address {
            Address::Path(path) => Some(path.clone()),
            _ => None,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Some(path) = &self.0 else {
            return;
        };
        if let Err(error) = fs::remove_file(path) {
            complain(&format!("cannot remove {}: {error}", path.display()));
        }
    }
}

/// Runs a server: listens, says where as the first line of stdout, and serves
/// until SIGINT or SIGTERM.
pub fn serve(
    backend: Backend,
    on: &[Address],
    server: impl Handler + 'static,
) -> Result<(), Failure> {
    serve_with(backend, on, |_| Ok(server))
}

/// Runs the server that `make` returns for the loop: see [`serve`].
pub fn serve_with<H: Handler + 'static>(
    backend: Backend,
    on: &[Address],
    make: impl FnOnce(&mut EventLoop) -> Result<H, Failure>,
) -> Result<(), Failure> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.stop_on(STOPPING)?;
    let server = make(&mut event_loop)?;
    let listener = event_loop.add(Dispatcher::listen(on, server)?)?;
    let Some(channel) = event_loop.get(listener) else {
        return Err(Failure::operation("the listener has closed"));
    };
    let address = channel.local_addr()?;
    let _file = SocketFile::of(&address);
    // The program that started the server reads the port from this line.
    print(&format!("listening on {address}\n"))?;
    // Until a signal comes. Not `run`: while connections last, it would go on without the
    // listener.
    while !event_loop.is_stopping() {
        if event_loop.get(listener).is_none() {
            let message = format!("stopped listening on {address}");
            return Err(Failure::operation(message));
        }
        event_loop.turn(None)?;
    }
    Ok(())
}

/// Writes to stdout and flushes, so that a reader need not wait until a buffer is full.
/// (`println` panics when the reader has gone.)
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::operation(format!("cannot write to stdout: {error}")))
}

/// Returns text from a peer in a form that is safe to show on a terminal. Control characters,
/// characters that reorder what is shown, and bytes that are not UTF-8 are escaped; backslashes
/// stay.
pub fn escaped(text: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\0'..='\x1f' | '\x7f' => shown.push_str(&[c as u8].escape_ascii().to_string()),
                '\u{80}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    shown.extend(c.escape_unicode())
                }
                _ => shown.push(c),
            }
        }
        shown.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    shown
}

/// Returns a path in the form used in messages.
pub fn shown(path: &OsStr) -> String {
    Path::new(path).display().to_string()
}
