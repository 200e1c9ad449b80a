//! Scripts that talk to a program on a terminal: they wait for its output, and type input.

mod interact;
mod pattern;
mod received;

pub use pattern::{Match, Pattern};

use std::fmt;
use std::io;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::event_loop::{ChannelId, EventLoop, StateId};
use crate::file::FileDispatcher;
use crate::poller::{Backend, Deadline};
use crate::tty::{Pty, WindowSize};
use received::Received;

/// The limit of bytes that are kept while a pattern is waited for.
const LIMIT: usize = 1 << 20;

/// The time that a pattern is waited for, unless set.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A program on a pseudo-terminal that a script talks to, as with Expect and pexpect.
///
/// It has a loop of its own, which each method runs until it is done. Output of the program that
/// arrives while no method runs waits in its terminal.
///
/// ```
/// use fdloop::{Expect, Pattern};
/// use std::process::Command;
///
/// let script = "printf 'name: '; read name; printf 'id of %s? ' $name; read id; echo $((id + 1))";
/// let mut program = Expect::spawn(Command::new("sh").args(["-c", script]))?;
/// program.expect("name: ")?;
/// program.send_line("guido")?;
/// let found = program.expect(Pattern::regex(r"id of (\w+)\? ")?)?;
/// assert_eq!(found.group(1), Some(&b"guido"[..]));
/// program.send_line("41")?;
/// program.expect("42")?;
/// assert!(program.wait()?.success());
/// # Ok::<(), fdloop::Error>(())
/// ```
///
/// A terminal echoes what is sent to it, unless the program has switched that off, as for a
/// password. So the echo is the first thing that comes after a send.
///
/// Dropping the value closes the terminal, and the program gets SIGHUP. Only
/// [`wait`](Expect::wait) reaps it.
pub struct Expect {
    event_loop: EventLoop,
    program: ChannelId<FileDispatcher<Received>>,
    exit: StateId<Option<Result<ExitStatus>>>,
    timeout: Option<Duration>,
}

impl Expect {
    /// Starts a program on a terminal of 24 lines of 80 characters. See [`Pty::spawn`].
    ///
    /// # Errors
    ///
    /// Those of [`Pty::with_size`] and [`Pty::spawn`]: `NotFound` if the program does not exist.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        Self::spawn_with(Backend::default(), WindowSize::new(24, 80), command)
    }

    /// Starts a program on a terminal of another size, with a loop over `backend`.
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Expect::spawn).
    pub fn spawn_with(backend: Backend, size: WindowSize, command: &mut Command) -> Result<Self> {
        let mut event_loop = EventLoop::with_backend(backend)?;
        let (child, master) = Pty::with_size(size)?.spawn(command)?;
        let channel = FileDispatcher::with_send(master, Received::new(LIMIT))?;
        let program = event_loop.add(channel)?;
        let exit = event_loop.keep(None);
        event_loop.on_child_exit(child, move |event_loop, status| {
            if let Some(exit) = event_loop.state_mut(exit) {
                *exit = Some(status);
            }
            // Processes that outlive the program are not waited for.
            match event_loop.get_mut(program) {
                Some(program) => program.end_input_when_empty(),
                None => Ok(()),
            }
        })?;
        Ok(Self {
            event_loop,
            program,
            exit,
            timeout: Some(TIMEOUT),
        })
    }

    /// Sets the time that [`expect`](Expect::expect) and [`expect_any`](Expect::expect_any) wait at
    /// most; 30 seconds unless set. `None` for no limit.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Types `keys`. They wait until the program reads them.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the program has ended; else those of
    /// [`Endpoint::send`](crate::Endpoint::send).
    pub fn send(&mut self, keys: impl AsRef<[u8]>) -> Result<()> {
        match self.event_loop.get_mut(self.program) {
            Some(program) => program.send(keys.as_ref()).map(drop),
            None => Err(ended("nothing can be sent to it")),
        }
    }

    /// Types `line`, and the end of a line.
    ///
    /// # Errors
    ///
    /// As for [`send`](Expect::send).
    pub fn send_line(&mut self, line: impl AsRef<[u8]>) -> Result<()> {
        self.send([line.as_ref(), b"\n"].concat())
    }

    /// Waits until the program's output has a match of `pattern`. The output up to the end of the
    /// match is then taken: the next call begins after it.
    ///
    /// # Errors
    ///
    /// As for [`expect_any`](Expect::expect_any).
    pub fn expect(&mut self, pattern: impl Into<Pattern>) -> Result<Match> {
        self.expect_any([pattern.into()])
    }

    /// Waits until the program's output has a match of one of `patterns`. [`Match::index`] returns
    /// the index of the pattern: the one that matches first in the output, or of several at one
    /// place the first of the list.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `patterns` is empty; `TimedOut` if none matches within the
    /// [time](Expect::set_timeout); `UnexpectedEof` if the program ends before; `InvalidData` if
    /// more than 1,048,576 bytes were shown without a match. The message has the end of the output,
    /// which is not taken.
    pub fn expect_any(&mut self, patterns: impl IntoIterator<Item = Pattern>) -> Result<Match> {
        let patterns: Vec<Pattern> = patterns.into_iter().collect();
        if patterns.is_empty() {
            let message = "no pattern to wait for: the list is empty; pass at least one";
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        }
        let deadline = Deadline::after(self.timeout);
        // The length of the output that is known to have no match.
        let mut searched = 0;
        let mut is_first = true;
        loop {
            let Some(program) = self.event_loop.get_mut(self.program) else {
                return Err(ended("no more output arrives"));
            };
            let received = program.handler_mut();
            // A search is repeated only if there is more to be searched.
            if received.len() > searched || is_first {
                if let Some(found) = received.take_match(&patterns, searched) {
                    return Ok(found);
                }
                searched = received.len();
                is_first = false;
            }
            let (kind, what) = if received.has_ended() {
                (io::ErrorKind::UnexpectedEof, "the program ended before")
            } else if received.is_full() {
                (io::ErrorKind::InvalidData, "too much output without")
            } else if deadline.has_passed() {
                (io::ErrorKind::TimedOut, "timed out waiting for")
            } else {
                self.event_loop.turn_until(deadline)?;
                continue;
            };
            let wanted: Vec<_> = patterns.iter().map(Pattern::to_string).collect();
            let message = format!("{what} {}; {}", wanted.join(" or "), received.tail());
            return Err(Error::misuse(kind, message));
        }
    }

    /// Waits until the program has exited and all its output was read. Returns its status. Output
    /// that was not expected is dropped.
    ///
    /// # Errors
    ///
    /// The `errno` ECHILD if other code has reaped the program; else those of
    /// [`EventLoop::run`].
    pub fn wait(mut self) -> Result<ExitStatus> {
        loop {
            if let Some(program) = self.event_loop.get_mut(self.program) {
                let received = program.handler_mut();
                received.clear();
                if received.has_ended() {
                    self.event_loop.close(self.program)?;
                }
            }
            let exit = self.event_loop.state_mut(self.exit);
            match exit.and_then(Option::take) {
                Some(status) => return status,
                None => self.event_loop.turn(None)?,
            };
        }
    }
}

fn ended(consequence: &str) -> Error {
    let message = format!("the program has ended: {consequence}");
    Error::misuse(io::ErrorKind::UnexpectedEof, message)
}

impl fmt::Debug for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expect")
            .field("program", &self.program)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
