//! Which event calls which method, and what becomes of errors: the tests of
//! asyncore's helper functions (`readwrite`, `read`, `write`, `_exception`,
//! `close_all`), with a poller that makes the events up.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use crate::common::Simulated;
use fdloop::{Channel, Error, EventLoop, Readiness, Result};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Content,
    Exiting,
    Crashing,
}

/// A channel on a number that is not a descriptor: asyncore's `testobj`,
/// `exitingdummy` and `crashingdummy`.
struct Dummy {
    mood: Mood,
    calls: Rc<RefCell<Vec<&'static str>>>,
}

const NUMBER: RawFd = 42;

impl Dummy {
    fn called(&mut self, name: &'static str) -> Result<()> {
        self.calls.borrow_mut().push(name);
        match self.mood {
            Mood::Content => Ok(()),
            Mood::Exiting => Err(Error::ExitNow),
            Mood::Crashing => Err(Error::other("crash")),
        }
    }
}

impl AsRawFd for Dummy {
    fn as_raw_fd(&self) -> RawFd {
        NUMBER
    }
}

impl Channel for Dummy {
    fn handle_read_event(&mut self, _: &mut EventLoop) -> Result<()> {
        self.called("read")
    }
    fn handle_write_event(&mut self, _: &mut EventLoop) -> Result<()> {
        self.called("write")
    }
    fn handle_expt_event(&mut self, _: &mut EventLoop) -> Result<()> {
        self.called("expt")
    }
    fn handle_close(&mut self, _: &mut EventLoop, _: Option<Error>) -> Result<()> {
        self.called("closed")
    }
    fn handle_error(&mut self, _: &mut EventLoop, error: Error) -> Result<()> {
        assert_eq!(error.to_string(), "crash");
        self.calls.borrow_mut().push("error_handled");
        Ok(())
    }
}

const EXPECTED: [(Readiness, &str); 6] = [
    (Readiness::READABLE, "read"),
    (Readiness::PRIORITY, "expt"),
    (Readiness::WRITABLE, "write"),
    (Readiness::ERROR, "closed"),
    (Readiness::HANGUP, "closed"),
    (Readiness::INVALID, "closed"),
];

/// A loop that finds `readiness` on a dummy, once.
fn loop_with(mood: Mood, readiness: Readiness) -> (EventLoop, Rc<RefCell<Vec<&'static str>>>) {
    let calls = Rc::default();
    let mut event_loop = EventLoop::with_poller(Simulated::once(NUMBER, readiness));
    let dummy = Dummy {
        mood,
        calls: Rc::clone(&calls),
    };
    event_loop.add(dummy).unwrap();
    (event_loop, calls)
}

#[test]
fn each_flag_calls_its_own_method_and_no_other() {
    for (readiness, expected) in EXPECTED {
        let (mut event_loop, calls) = loop_with(Mood::Content, readiness);
        assert_eq!(event_loop.turn(None).unwrap(), 1);
        assert_eq!(*calls.borrow(), [expected], "{readiness:?}");
        let gone = expected == "closed";
        assert_eq!(event_loop.is_empty(), gone, "{readiness:?}");
    }
}

#[test]
fn the_exit_error_passes_through_each_method_and_out_of_turn() {
    for (readiness, expected) in EXPECTED {
        let (mut event_loop, calls) = loop_with(Mood::Exiting, readiness);
        let error = event_loop.turn(None).unwrap_err();
        assert!(matches!(error, Error::ExitNow), "{readiness:?}: {error}");
        assert_eq!(*calls.borrow(), [expected], "{readiness:?}");
    }
}

#[test]
fn the_exit_error_passes_through_each_method_and_out_of_run() {
    for (readiness, expected) in EXPECTED {
        let (mut event_loop, calls) = loop_with(Mood::Exiting, readiness);
        let error = event_loop.run().unwrap_err();
        assert!(matches!(error, Error::ExitNow), "{readiness:?}: {error}");
        assert_eq!(*calls.borrow(), [expected], "{readiness:?}");
    }
}

#[test]
fn any_other_error_of_each_method_is_given_to_handle_error() {
    for (readiness, expected) in EXPECTED {
        let (mut event_loop, calls) = loop_with(Mood::Crashing, readiness);
        event_loop.turn(None).unwrap();
        assert_eq!(
            *calls.borrow(),
            [expected, "error_handled"],
            "{readiness:?}"
        );
    }
}

#[test]
fn one_event_of_all_flags_is_delivered_as_read_write_priority_and_closed_by_its_reader() {
    // What is readable is read to its end, and the reader finds the hang-up.
    let all = Readiness::all() - Readiness::INVALID - Readiness::REFUSED;
    let (mut event_loop, calls) = loop_with(Mood::Content, all);
    event_loop.turn(None).unwrap();
    assert_eq!(*calls.borrow(), ["read", "write", "expt"]);
    assert_eq!(event_loop.len(), 1);

    let all_but_reading = all - Readiness::READABLE;
    let (mut event_loop, calls) = loop_with(Mood::Content, all_but_reading);
    event_loop.turn(None).unwrap();
    assert_eq!(*calls.borrow(), ["write", "expt", "closed"]);
    assert!(event_loop.is_empty());
}

/// A channel that says how often it was closed, and can fail to.
struct Closing {
    number: RawFd,
    answer: Option<i32>,
    closed: Rc<RefCell<Vec<RawFd>>>,
}

impl AsRawFd for Closing {
    fn as_raw_fd(&self) -> RawFd {
        self.number
    }
}

impl Channel for Closing {
    fn close_descriptor(&mut self) -> Result<()> {
        self.closed.borrow_mut().push(self.number);
        match self.answer {
            Some(errno) => Err(io::Error::from_raw_os_error(errno).into()),
            None => Ok(()),
        }
    }
    fn handle_close(&mut self, _: &mut EventLoop, _: Option<Error>) -> Result<()> {
        panic!("close_all calls no handle_close");
    }
}

/// A loop of ten such channels, the one numbered 104 of which fails with `answer`.
fn ten_channels(answer: Option<i32>) -> (EventLoop, Rc<RefCell<Vec<RawFd>>>) {
    let (poller, _, heard) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let closed = Rc::default();
    for number in 100..110 {
        let channel = Closing {
            number,
            answer: answer.filter(|_| number == 104),
            closed: Rc::clone(&closed),
        };
        event_loop.add(channel).unwrap();
    }
    assert_eq!(heard.interests.borrow().len(), 10);
    (event_loop, closed)
}

#[track_caller]
fn assert_all_closed_once(event_loop: &EventLoop, closed: &RefCell<Vec<RawFd>>) {
    assert!(event_loop.is_empty());
    let mut closed = closed.take();
    closed.sort_unstable();
    assert_eq!(closed, (100..110).collect::<Vec<_>>());
}

#[test]
fn close_all_closes_everything() {
    for ignore_all in [false, true] {
        let (mut event_loop, closed) = ten_channels(None);
        event_loop.close_all(ignore_all).unwrap();
        assert_all_closed_once(&event_loop, &closed);
    }
}

#[test]
fn close_all_forgets_no_channel_because_another_could_not_be_closed() {
    let (mut event_loop, closed) = ten_channels(Some(libc::EIO));
    let error = event_loop.close_all(false).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert_all_closed_once(&event_loop, &closed);

    let (mut event_loop, closed) = ten_channels(Some(libc::EIO));
    event_loop.close_all(true).unwrap();
    assert_all_closed_once(&event_loop, &closed);
}

#[test]
fn close_all_takes_a_descriptor_that_was_closed_already_for_closed() {
    let (mut event_loop, closed) = ten_channels(Some(libc::EBADF));
    event_loop.close_all(false).unwrap();
    assert_all_closed_once(&event_loop, &closed);
}

#[test]
fn close_all_makes_the_poller_forget_every_number() {
    let (poller, _, heard) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let closed = Rc::default();
    for number in 100..110 {
        let closed = Rc::clone(&closed);
        let channel = Closing {
            number,
            answer: None,
            closed,
        };
        event_loop.add(channel).unwrap();
    }
    event_loop.close_all(false).unwrap();
    assert!(heard.interests.borrow().is_empty());
}
