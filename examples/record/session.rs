//! A session that is recorded.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use fdloop::{
    Backend, ChannelId, Error, EventLoop, FileDispatcher, Handler, Io, Pty, RawMode, Result,
    StateId, View, WindowSize, is_tty,
};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::cast::Cast;
use crate::common::{self, Failure};

/// The signals that end the session. The command gets SIGHUP then, as its terminal goes.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The size for a window of unknown size.
const SIZE: WindowSize = WindowSize::new(24, 80);

/// The time after which recorded events are written to the file.
const FLUSH: Duration = Duration::from_millis(500);

/// The most bytes that are taken at once from the command.
const PIECE: usize = 32 * 1024;

type ScreenId = ChannelId<FileDispatcher<Screen>>;
type CommandId = ChannelId<FileDispatcher<Shown>>;

/// Standard input: the keyboard, or a file of another kind.
struct Keyboard {
    command: CommandId,
    cast: StateId<Cast>,
    is_terminal: bool,
    /// True if the input so far ends within a line.
    within_line: bool,
}

impl Handler for Keyboard {
    fn readable(&self, io: &View<'_>) -> bool {
        let command = io.event_loop().get(self.command);
        command.is_some_and(|command| !command.is_congested())
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4096, |io, keys| {
            if let Some(key) = keys.last() {
                self.within_line = *key != b'\n';
            }
            if let Some(cast) = io.event_loop().state_mut(self.cast) {
                cast.input(keys).map_err(cannot_record)?;
            }
            match io.event_loop().get_mut(self.command) {
                Some(command) => command.send(keys).map(drop),
                None => Ok(()),
            }
        })
    }

    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        if self.is_terminal {
            // The terminal has hung up.
            io.event_loop().stop();
        } else if let Some(command) = io.event_loop().get_mut(self.command) {
            // A user would type Ctrl-D, which within a line only ends that piece of input.
            command.send(&b"\x04\x04"[..1 + usize::from(self.within_line)])?;
        }
        io.close();
        Ok(())
    }
}

/// The screen.
#[derive(Default)]
struct Screen {
    /// True if the screen closes because everything is shown.
    is_done: bool,
}

impl Handler for Screen {
    fn handle_error(&mut self, _: &mut Io<'_>, error: Error) -> Result<()> {
        Err(cannot_show(error))
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        if !self.is_done {
            // Without a screen the session ends, as in a terminal that is closed.
            io.event_loop().stop();
        }
        Ok(())
    }
}

/// The master of the command's terminal: the output of the command.
struct Shown {
    screen: ScreenId,
    cast: StateId<Cast>,
    buffer: Vec<u8>,
}

impl Handler for Shown {
    fn readable(&self, io: &View<'_>) -> bool {
        let screen = io.event_loop().get(self.screen);
        screen.is_some_and(|screen| !screen.is_congested())
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        // A terminal gives some hundred bytes at a time. A few of these make one event.
        let mut len = 0;
        while len < self.buffer.len() {
            match io.recv(&mut self.buffer[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) if error.would_block() => break,
                Err(error) => return Err(error),
            }
        }
        let data = &self.buffer[..len];
        if let Some(cast) = io.event_loop().state_mut(self.cast) {
            cast.output(data).map_err(cannot_record)?;
        }
        match io.event_loop().get_mut(self.screen) {
            Some(screen) => screen.send(data).map(drop).map_err(cannot_show),
            None => Ok(()),
        }
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        if let Some(screen) = io.event_loop().get_mut(self.screen) {
            screen.handler_mut().is_done = true;
            screen.close_when_done();
        }
        Ok(())
    }
}

/// The error of a screen that does not take the output, such as a file on a full disk.
fn cannot_show(error: Error) -> Error {
    Error::fatal(format!("cannot show the output: {error}"))
}

fn cannot_record(error: io::Error) -> Error {
    Error::fatal(format!("cannot write the recording: {error}"))
}

/// The end of the session.
#[derive(Default)]
struct Ended {
    command: Option<ExitStatus>,
    /// The signal that ended this program.
    signal: Option<i32>,
}

impl Ended {
    /// The exit code of the command, or 128 plus the signal that ended it, as in a shell.
    fn code(&self) -> Option<u8> {
        let signal = self.command.map_or(self.signal, |status| status.signal());
        let code = self.command.and_then(|status| status.code());
        let code = code.or(signal.map(|signal| 128 + signal))?;
        u8::try_from(code).ok()
    }
}

/// Runs `command` on a terminal, and records it.
pub fn record(
    backend: Backend,
    mut command: Command,
    shown: Option<&str>,
    mut cast: Cast,
) -> Result<ExitCode, Failure> {
    let size = window_size();
    let recorded = cast.begin(size, shown);
    recorded.map_err(|error| Failure::operation(cannot_record(error).to_string()))?;
    let pty = Pty::with_size(size)?;
    if !is_tty(io::stdin()) {
        without_echo(&pty).map_err(|error| Failure::operation(error.to_string()))?;
    }
    let (child, master) = match pty.spawn(&mut command) {
        Ok(spawned) => spawned,
        Err(error) => {
            common::complain(&error);
            // As in a shell.
            let code = match error.kind() {
                io::ErrorKind::NotFound => 127,
                _ => 126,
            };
            return Ok(ExitCode::from(code));
        }
    };

    let mut event_loop = EventLoop::with_backend(backend)?;
    let cast = event_loop.keep(cast);
    let ended = event_loop.keep(Ended::default());
    let screen = event_loop.add(FileDispatcher::writer(io::stdout(), Screen::default())?)?;
    let shown = Shown {
        screen,
        cast,
        buffer: vec![0; PIECE],
    };
    let command = event_loop.add(FileDispatcher::with_send(master, shown)?)?;
    let keyboard = Keyboard {
        command,
        cast,
        is_terminal: is_tty(io::stdin()),
        within_line: false,
    };
    let keyboard = FileDispatcher::reader(io::stdin(), keyboard)?;
    // The session does not wait for keys.
    event_loop.add_background(keyboard)?;
    event_loop.on_child_exit(child, move |event_loop, status| {
        if let Some(ended) = event_loop.state_mut(ended) {
            ended.command = Some(status?);
        }
        match event_loop.get_mut(command) {
            Some(command) => command.end_input_when_empty(),
            None => Ok(()),
        }
    })?;
    for signal in ENDING {
        event_loop.on_signal(signal, move |event_loop, _| {
            if let Some(ended) = event_loop.state_mut(ended) {
                ended.signal = Some(signal);
            }
            event_loop.stop();
            Ok(())
        })?;
    }
    follow_size(&mut event_loop, command, cast, size)?;
    event_loop.call_every(FLUSH, move |event_loop| match event_loop.state_mut(cast) {
        Some(cast) => cast.flush().map_err(cannot_record),
        None => Ok(()),
    });

    let raw = match is_tty(io::stdin()) {
        true => Some(RawMode::new(io::stdin())?),
        false => None,
    };
    let result = event_loop.run();
    let cast = event_loop.take(cast);
    let ended = event_loop.take(ended).unwrap_or_default();
    // Hangs up the command, if it runs.
    drop(event_loop);
    // Before anything else is written to the terminal.
    drop(raw);
    let finished = cast.map_or(Ok(()), |cast| cast.finish(ended.code()));
    result?;
    finished.map_err(|error| Failure::operation(cannot_record(error).to_string()))?;
    Ok(ended.code().map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Switches the echo off, so that input from a file and the Ctrl-D at its end are not shown.
fn without_echo(pty: &Pty) -> io::Result<()> {
    let mut settings = tcgetattr(pty.terminal())?;
    settings.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(pty.terminal(), SetArg::TCSANOW, &settings)?;
    Ok(())
}

/// The size of the user's window.
fn window_size() -> WindowSize {
    let size = WindowSize::of(io::stdin()).or_else(|_| WindowSize::of(io::stdout()));
    size.unwrap_or_default().or(SIZE)
}

/// Sets the size of the command's terminal to that of the user's terminal, each time that it
/// changes. `known` is the size that the command's terminal has.
fn follow_size(
    event_loop: &mut EventLoop,
    command: CommandId,
    cast: StateId<Cast>,
    known: WindowSize,
) -> Result<()> {
    if !is_tty(io::stdin()) {
        return Ok(());
    }
    event_loop.on_resize(io::stdin(), move |event_loop, size| {
        resize(event_loop, command, cast, size.or(SIZE))
    })?;
    // A change before that was not reported.
    let size = window_size();
    if size == known {
        return Ok(());
    }
    resize(event_loop, command, cast, size)
}

/// Gives the command's terminal a size, and records it.
fn resize(
    event_loop: &mut EventLoop,
    command: CommandId,
    cast: StateId<Cast>,
    size: WindowSize,
) -> Result<()> {
    if let Some(terminal) = event_loop.get(command).and_then(|command| command.as_fd()) {
        size.set(terminal)?;
    }
    match event_loop.state_mut(cast) {
        Some(cast) => cast.resize(size).map_err(cannot_record),
        None => Ok(()),
    }
}
