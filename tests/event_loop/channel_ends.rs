//! The end of a channel that is not a dispatcher, and the methods of the loop for such channels.

use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{turn_once, turn_until, turn_until_empty, with_every_loop};
use fdloop::{Channel, Error, EventLoop, Result};
use os_pipe::{PipeReader, pipe};

type Calls = Rc<RefCell<Vec<&'static str>>>;
type Act = Box<dyn FnMut(&mut EventLoop) -> Result<()>>;

/// Records its calls, and does at a read, an error and its end what the test says.
struct Plain {
    reader: PipeReader,
    calls: Calls,
    read: Act,
    error: Act,
    close: Act,
}

impl AsRawFd for Plain {
    fn as_raw_fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }
}

impl Channel for Plain {
    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.calls.borrow_mut().push("read");
        (self.read)(event_loop)
    }
    fn handle_error(&mut self, event_loop: &mut EventLoop, _: Error) -> Result<()> {
        self.calls.borrow_mut().push("error");
        (self.error)(event_loop)
    }
    fn handle_close(&mut self, event_loop: &mut EventLoop, _: Option<Error>) -> Result<()> {
        self.calls.borrow_mut().push("close");
        (self.close)(event_loop)
    }
}

/// Adds a channel that is readable, with what it does at a read, an error and its end.
fn add(
    event_loop: &mut EventLoop,
    read: impl FnMut(&mut EventLoop) -> Result<()> + 'static,
    error: impl FnMut(&mut EventLoop) -> Result<()> + 'static,
    close: impl FnMut(&mut EventLoop) -> Result<()> + 'static,
) -> Calls {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let calls = Calls::default();
    let (read, error, close) = (Box::new(read), Box::new(error), Box::new(close));
    let plain = Plain {
        reader,
        calls: Rc::clone(&calls),
        read,
        error,
        close,
    };
    event_loop.add(plain).unwrap();
    calls
}

fn disconnected() -> Error {
    std::io::Error::from(ErrorKind::BrokenPipe).into()
}

#[test]
fn nothing_is_called_after_a_channel_was_closed_by_its_id() {
    with_every_loop(|event_loop| {
        for error in [|| Error::other("late"), disconnected] {
            let close_itself = move |event_loop: &mut EventLoop| {
                let id = event_loop.serving::<Plain>().unwrap();
                assert!(event_loop.close(id)?);
                Err(error())
            };
            let calls = add(event_loop, close_itself, |_| Ok(()), |_| Ok(()));
            turn_once(event_loop);
            assert_eq!(*calls.borrow(), ["read"]);
            assert!(event_loop.is_empty());
        }
    });
}

#[test]
fn each_error_of_the_calls_that_an_error_leads_to_is_dealt_with_once() {
    let fails = |_: &mut EventLoop| Err(Error::other("spam"));
    let ends = |_: &mut EventLoop| Err(disconnected());
    with_every_loop(|event_loop| {
        // Unhandled: the channel is closed, and an error of that is logged.
        let calls = add(event_loop, fails, fails, fails);
        turn_once(event_loop);
        assert_eq!(*calls.borrow(), ["read", "error", "close"]);
        assert!(event_loop.is_empty());
        // An end whose handler fails: the error is handled.
        let calls = add(event_loop, ends, fails, fails);
        turn_once(event_loop);
        assert_eq!(*calls.borrow(), ["read", "close", "error"]);
        assert!(event_loop.is_empty());
    });
}

#[test]
fn an_error_handler_that_would_block_has_handled_the_error() {
    with_every_loop(|event_loop| {
        let fails = |_: &mut EventLoop| Err(Error::other("spam"));
        let blocks = |_: &mut EventLoop| Err(std::io::Error::from(ErrorKind::WouldBlock).into());
        let calls = add(event_loop, fails, blocks, |_| Ok(()));
        turn_once(event_loop);
        assert_eq!(*calls.borrow(), ["read", "error"]);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn a_channel_can_have_itself_settled_later() {
    struct Sleeper(PipeReader, Rc<RefCell<Vec<Instant>>>);
    impl AsRawFd for Sleeper {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }
    }
    impl Channel for Sleeper {
        fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
            self.1.borrow_mut().push(Instant::now());
            event_loop.settle_later(Duration::from_millis(5));
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let (reader, writer) = pipe().unwrap();
        let settled = Rc::default();
        let id = event_loop
            .add(Sleeper(reader, Rc::clone(&settled)))
            .unwrap();
        turn_until(event_loop, "it was settled thrice", || {
            settled.borrow().len() == 3
        });
        let times = settled.take();
        assert!(times[2] - times[0] >= Duration::from_millis(10));
        event_loop.close(id).unwrap();
        drop(writer);
        turn_until_empty(event_loop);
    });
}

#[test]
fn a_lent_buffer_is_the_same_for_all_and_a_second_one_is_made_meanwhile() {
    with_every_loop(|event_loop| {
        let first = event_loop.lend_buffer(100);
        assert!(first.len() >= 100);
        let second = event_loop.lend_buffer(10);
        assert_ne!(first.as_ptr(), second.as_ptr());
        let place = first.as_ptr();
        event_loop.return_buffer(first);
        event_loop.return_buffer(second);
        let longest = event_loop.lend_buffer(50);
        assert_eq!(longest.as_ptr(), place);
    });
}
