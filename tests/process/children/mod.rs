//! Child processes and their exits. Each test runs in a process of its own, since signals and the
//! children themselves are the process's.
#![allow(unsafe_code, reason = "system calls on processes")]

mod exits;
mod forked;
mod limits;
mod others;
mod streams;
mod ways;

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::rc::Rc;

use fdloop::EventLoop;

/// Starts a shell with a script.
#[track_caller]
fn shell(script: &str) -> Child {
    Command::new("sh").args(["-c", script]).spawn().unwrap()
}

/// Starts a shell that exits with `code` when the other end is dropped.
#[track_caller]
fn waiting(code: i32) -> (Child, ChildStdin) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("read line; exit {code}")]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

/// The ends of children: under a name, the exit code or signal, or the `errno` of an error.
#[derive(Clone, Default)]
struct Exits(Rc<RefCell<Vec<(String, End)>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Code(i32),
    Signal(i32),
    Lost(Option<i32>),
}

impl End {
    fn of(status: fdloop::Result<ExitStatus>) -> Self {
        match status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), None) => Self::Code(code),
                (None, Some(signal)) => Self::Signal(signal),
                other => panic!("{status} is {other:?}"),
            },
            Err(error) => Self::Lost(error.raw_os_error()),
        }
    }
}

impl Exits {
    /// Returns a callback that records an exit under a name.
    fn recorder(
        &self,
        name: impl Into<String>,
    ) -> impl FnOnce(&mut EventLoop, fdloop::Result<ExitStatus>) -> fdloop::Result<()> + 'static
    {
        let (exits, name) = (self.clone(), name.into());
        move |_, status| {
            exits.0.borrow_mut().push((name, End::of(status)));
            Ok(())
        }
    }

    /// Takes what was recorded, in the order of the names.
    fn take(&self) -> Vec<(String, End)> {
        let mut exits = self.0.take();
        exits.sort();
        exits
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, End)]) {
        let exits = self.take();
        let exits: Vec<_> = exits
            .iter()
            .map(|(name, end)| (name.as_str(), *end))
            .collect();
        assert_eq!(exits, expected);
    }
}

/// Returns the number of descriptors that the process has.
fn open_descriptors() -> usize {
    std::fs::read_dir("/dev/fd").unwrap().count()
}
