//! Records the output of a shell or another command on the terminal, and plays recordings.
//!
//! The command runs on a pseudo-terminal. Four kinds of descriptors are channels of one loop: the
//! keyboard, the screen, the pseudo-terminal, and those that report signals and the command's exit.
//! The recording is in the format of asciinema (asciicast, version 2 or 3).
//!
//! - The command's output goes to the screen byte for byte. The recording is text: bytes that are
//!   not UTF-8 become U+FFFD in it. A character that comes in two pieces is put together.
//! - Everything that the command shows until it exits is on the screen and in the recording. Later
//!   output of processes that outlive it is not.
//! - The terminal is as before on every way out, also if the program is killed by a signal (but
//!   for SIGKILL) or stopped.
//! - If the recording cannot be written, the command gets SIGHUP and the exit code is 1.
//!
//! Try it:
//!
//! ```text
//! cargo run --example record -- -o demo.cast -- sh -c 'for i in 1 2 3; do date; sleep 1; done'
//! cargo run --example record -- --speed 2 --play demo.cast
//! ```

mod cast;
#[path = "../common/mod.rs"]
mod common;
mod parse;
mod play;
mod session;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::process::{Command, ExitCode};

use cast::{Cast, Version};
use common::{Arguments, Failure};

const USAGE: &str = "\
usage: record [-o FILE] [--input] [--format 2|3] [--backend select|poll|epoll] [-- COMMAND …]
       record --play FILE [--speed FACTOR] [--idle-limit SECONDS] [--backend select|poll|epoll]
  records COMMAND, or the shell in $SHELL, until it exits, and exits with its code
  -o FILE               the recording; by default recording.cast, which is not overwritten
  --input               record the keys too, including those of passwords
  --format 2|3          the version of asciicast; 2 by default
  --play FILE           show a recording
  --speed FACTOR        play it faster, or slower below 1
  --idle-limit SECONDS  shorten longer pauses to this
  Without a terminal, or with a window of unknown size, the size is 80 x 24.";

/// The default name of the recording.
const DEFAULT: &str = "recording.cast";

fn main() -> ExitCode {
    let options = [
        "--backend",
        "-o",
        "--format",
        "--play",
        "--speed",
        "--idle-limit",
    ];
    common::main_with_flags(USAGE, &options, &["--input"], run)
}

fn run(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    let backend = arguments.backend()?;
    if let Some(recording) = arguments.value("--play") {
        let speed = factor(&mut arguments, "--speed")?.unwrap_or(1.0);
        let idle_limit = factor(&mut arguments, "--idle-limit")?;
        arguments.finish()?;
        play::play(backend, &recording, speed, idle_limit)?;
        return Ok(ExitCode::SUCCESS);
    }
    let version = match arguments.value("--format").as_deref().map(OsStr::to_str) {
        None | Some(Some("2")) => Version::Two,
        Some(Some("3")) => Version::Three,
        Some(_) => return Err(Failure::usage("--format: only 2 and 3 are known")),
    };
    let path = arguments.value("-o");
    let keys = arguments.flag("--input");
    let words = arguments.rest();
    arguments.finish()?;
    let file = create(path)?;
    let (command, shown) = command(words);
    let cast = Cast::new(file, version, keys);
    session::record(backend, command, shown.as_deref(), cast)
}

/// The value of an option that is a number above 0.
fn factor(arguments: &mut Arguments, option: &str) -> Result<Option<f64>, Failure> {
    let Some(text) = arguments.value(option) else {
        return Ok(None);
    };
    let number = text.to_str().and_then(|text| text.parse::<f64>().ok());
    match number {
        Some(number) if number > 0.0 && number.is_finite() => Ok(Some(number)),
        _ => Err(Failure::usage(format!(
            "{option}: {:?} is not a number above 0",
            common::shown(&text)
        ))),
    }
}

fn create(path: Option<OsString>) -> Result<File, Failure> {
    let created = match &path {
        Some(path) => File::create(path),
        None => File::create_new(DEFAULT),
    };
    created.map_err(|error| {
        let path = path.unwrap_or_else(|| DEFAULT.into());
        Failure::operation(format!("cannot create {}: {error}", common::shown(&path)))
    })
}

/// The command, and its text for the recording.
fn command(mut words: Vec<OsString>) -> (Command, Option<String>) {
    if words.is_empty() {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        return (Command::new(shell.unwrap_or_else(|| "sh".into())), None);
    }
    let shown: Vec<_> = words.iter().map(|word| common::shown(word)).collect();
    let mut command = Command::new(words.remove(0));
    command.args(words);
    (command, Some(shown.join(" ")))
}
