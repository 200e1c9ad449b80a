//! The messages of dispatchers to the `log` facade. Nothing is printed.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{again, on_every_backend, this_test, turn_until_empty, with_every_loop};
use fdloop::{
    Backend, Dispatcher, DispatcherWithSend, Error, EventLoop, Handler, Io, Level, Result, View,
};

/// Returns the messages that are logged while `work` runs.
fn logged_by(work: impl FnOnce()) -> Vec<(Level, String)> {
    crate::logged_by(Level::Trace, work)
}

/// Handles nothing at all.
struct Deaf;
impl Handler for Deaf {}

/// Logs as a program would, and then fails.
struct Chatty;
impl Handler for Chatty {
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.log(io, "Lovely spam! Wonderful spam!")?;
        self.log_info(
            io,
            "Why can't she have egg bacon spam and sausage?",
            Level::Info,
        )?;
        Err(Error::other("I don't like spam!"))
    }
}

/// Performs every default there is on one loop.
fn perform(backend: Backend) {
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"spam").unwrap();
    event_loop
        .add(Dispatcher::new(ours, Chatty).unwrap())
        .unwrap();
    turn_until_empty(&mut event_loop);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"spam").unwrap();
    event_loop
        .add(Dispatcher::new(ours, Deaf).unwrap())
        .unwrap();
    event_loop.turn(None).unwrap();
}

#[test]
fn the_defaults_log_with_the_descriptor_in_front() {
    on_every_backend(|backend| {
        let logged = logged_by(|| perform(backend));
        let texts = |level| -> Vec<&str> {
            let of_level = logged.iter().filter(|(l, _)| *l == level);
            of_level.map(|(_, text)| text.as_str()).collect()
        };
        let infos = texts(Level::Info);
        assert_eq!(infos[0], "Lovely spam! Wonderful spam!", "log adds nothing");
        assert!(infos[1].starts_with("fd "), "{infos:?}");
        assert!(infos[1].ends_with(": Why can't she have egg bacon spam and sausage?"));
        let errors = texts(Level::Error);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("fd "), "{errors:?}");
        assert!(
            errors[0].contains("uncaptured error, closing channel"),
            "{errors:?}"
        );
        assert!(errors[0].contains("I don't like spam!"), "{errors:?}");
        assert_eq!(errors[0].matches("fd ").count(), 1, "{errors:?}");
        assert!(
            texts(Level::Warn).is_empty(),
            "asyncore shows no warnings by default"
        );
        for unhandled in [
            "unhandled close event",
            "unhandled read event",
            "unhandled write event",
        ] {
            let found = texts(Level::Debug)
                .iter()
                .any(|text| text.ends_with(unhandled));
            assert!(found, "{unhandled} is not in {logged:?}");
        }
    });
}

/// Takes what there is in every so many events, and lets a listener's clients wait.
struct Lazy {
    every: usize,
    events: usize,
}

impl Handler for Lazy {
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.events += 1;
        if self.events % self.every == 0 {
            io.recv(&mut [0; 1])?;
        }
        Ok(())
    }
    fn handle_accept(&mut self, _: &mut Io<'_>) -> Result<()> {
        Ok(())
    }
}

fn lazy(every: usize) -> Lazy {
    Lazy { every, events: 0 }
}

/// The warnings of 2,500 passes.
fn warned_by(event_loop: &mut EventLoop) -> Vec<String> {
    let logged = logged_by(|| {
        for _ in 0..2_500 {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
    });
    let warnings = logged.into_iter().filter(|(l, _)| *l == Level::Warn);
    warnings.map(|(_, text)| text).collect()
}

#[test]
fn a_handler_that_receives_nothing_of_what_it_is_told_is_warned_about_once() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"spam").unwrap();
        let channel = DispatcherWithSend::new(ours, lazy(usize::MAX)).unwrap();
        let id = event_loop.add(channel).unwrap();
        let warnings = warned_by(event_loop);
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}");
        };
        assert!(warning.starts_with(&format!("fd {}", id.fd())), "{warning}");
        assert!(warning.contains("1000 read events"), "{warning}");
        assert!(warning.contains("call `recv`"), "{warning}");
    });
}

#[test]
fn a_listener_that_accepts_nothing_is_warned_about_once() {
    with_every_loop(|event_loop| {
        let listener = Dispatcher::listen("127.0.0.1:0", lazy(1)).unwrap();
        let port = listener.local_addr().unwrap().port().unwrap();
        event_loop.add(listener).unwrap();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let warnings = warned_by(event_loop);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("call `accept`"), "{warnings:?}");
    });
}

#[test]
fn a_handler_that_receives_now_and_then_is_not_warned_about() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"spam").unwrap();
        let channel = DispatcherWithSend::new(ours, lazy(900)).unwrap();
        event_loop.add(channel).unwrap();
        let warnings = warned_by(event_loop);
        assert!(warnings.is_empty(), "{warnings:?}");
    });
}

/// Set for the process whose output is looked at.
const CHILD: &str = "FDLOOP_PRINTS_NOTHING";

#[test]
fn nothing_is_printed() {
    if std::env::var_os(CHILD).is_some() {
        return on_every_backend(perform);
    }
    let child = again(this_test!())
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success(), "{stdout}");
    assert!(stdout.contains("1 passed"), "{stdout}");
    let harness = |line: &&str| {
        line.is_empty()
            || line.starts_with("running ")
            || line.starts_with("test ")
            || *line == "ok"
    };
    let printed: Vec<_> = stdout.lines().filter(|line| !harness(line)).collect();
    assert!(printed.is_empty(), "{printed:?}");
    assert_eq!(String::from_utf8(child.stderr).unwrap(), "");
}
