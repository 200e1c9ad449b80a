//! A program that runs on a pseudo-terminal, and the settings of that terminal.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use crate::common::{PATIENCE, Probe, Seen, Settings, again, settings_of, turn_until};
use fdloop::{ChannelId, EventLoop, FileDispatcher, Pty, WindowSize};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

/// Set for the program.
pub const PROGRAM: &str = "FDLOOP_ON_A_TERMINAL";

/// The part of a test that this process is to play, if it is the program.
pub fn part() -> Option<String> {
    std::env::var(PROGRAM).ok()
}

/// A program, and the terminal that it runs on.
pub struct OnATerminal {
    pub child: Child,
    /// Kept open, so that its settings remain when the program has ended.
    terminal: OwnedFd,
    before: Settings,
    event_loop: EventLoop,
    screen: ChannelId<FileDispatcher<Probe>>,
    seen: Rc<Seen>,
}

impl OnATerminal {
    /// Starts `test` again, to play a part.
    #[track_caller]
    pub fn test(test: &str, part: &str) -> Self {
        Self::start(again(test).env(PROGRAM, part))
    }

    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let pty = Pty::open().unwrap();
        let terminal = pty.terminal().try_clone_to_owned().unwrap();
        let before = settings_of(&terminal);
        let (child, master) = pty.spawn(command).unwrap();
        let (probe, seen) = Probe::new();
        let mut event_loop = EventLoop::new().unwrap();
        let screen = FileDispatcher::with_send(master, probe).unwrap();
        let screen = event_loop.add(screen).unwrap();
        Self {
            child,
            terminal,
            before,
            event_loop,
            screen,
            seen,
        }
    }

    /// Makes the shell `script` run `test` in a part of it.
    #[track_caller]
    pub fn shell(script: &str, test: &str, part: &str) -> Self {
        let program = again(test);
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).env(PROGRAM, part);
        command.arg(program.get_program()).args(program.get_args());
        Self::start(&mut command)
    }

    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.seen.received()).into_owned()
    }

    /// Waits until `text` is shown.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let seen = Rc::clone(&self.seen);
        turn_until(&mut self.event_loop, text, || {
            String::from_utf8_lossy(&seen.received()).contains(text)
        });
    }

    /// Waits until the terminal is in raw mode, or is not.
    #[track_caller]
    pub fn wait_until_raw(&mut self, raw: bool) {
        let terminal = &self.terminal;
        turn_until(&mut self.event_loop, "the mode changes", || {
            is_raw(&tcgetattr(terminal).unwrap()) == raw
        });
    }

    pub fn is_raw(&self) -> bool {
        is_raw(&tcgetattr(&self.terminal).unwrap())
    }

    /// Checks whether the terminal is exactly as it was.
    #[track_caller]
    pub fn assert_as_before(&self) {
        let settings = settings_of(&self.terminal);
        assert_eq!(settings, self.before, "after: {}", self.shown());
    }

    #[track_caller]
    pub fn resize(&self, size: WindowSize) {
        size.set(&self.terminal).unwrap();
    }

    pub fn type_in(&mut self, keys: &str) {
        let screen = self.event_loop.get_mut(self.screen).unwrap();
        screen.send(keys.as_bytes()).unwrap();
    }

    /// Sends a signal to the process that has shown `pid N.`
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let shown = self.shown();
        let (_, pid) = shown.split_once("pid ").expect("a number");
        let (pid, _) = pid.split_once('.').unwrap();
        let status = Command::new("kill").args(["-s", name, pid]).status();
        assert!(status.unwrap().success(), "kill -s {name} {pid}");
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        turn_until(&mut self.event_loop, "it ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    #[track_caller]
    pub fn assert_killed_by(&mut self, signal: i32) {
        let status = self.wait();
        assert_eq!(status.signal(), Some(signal), "{status}: {}", self.shown());
    }
}

impl Drop for OnATerminal {
    fn drop(&mut self) {
        // Both fail if it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_raw(settings: &Termios) -> bool {
    !settings.local_flags.contains(LocalFlags::ICANON)
}

/// In the program: prints the id of the process.
#[allow(clippy::print_stdout, reason = "it is the program's output")]
pub fn say(text: &str) {
    println!("pid {}. {text}\r", std::process::id());
}

/// In the program: waits for what the test does to it, for as long as a test waits.
pub fn wait_for_the_end() -> ! {
    std::thread::sleep(PATIENCE + Duration::from_secs(10));
    panic!("nothing has ended it");
}
