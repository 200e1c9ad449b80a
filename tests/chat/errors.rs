//! Errors, panics and the exit error of a chat's handler, and the input after them.

use std::cell::RefCell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::chat::{Recorder, chat};
use crate::common::{on_every_backend, settle, turn_once, turn_until_empty, with_every_loop};
use fdloop::{ChatHandler, ChatIo, Error, EventLoop, Family, Result, Socket, SocketType};

type Ending = fn(&mut ChatIo<'_>) -> Result<()>;
type Failure = fn() -> Error;

#[test]
fn no_line_is_heard_after_an_end_in_found_terminator() {
    fn mine() -> Error {
        Error::other("mine")
    }
    let endings: [(&str, Ending, &[&str]); 5] = [
        (
            "close",
            |io| {
                io.close();
                Ok(())
            },
            &[],
        ),
        (
            "abort",
            |io| {
                io.abort();
                Ok(())
            },
            &[],
        ),
        (
            "fail",
            |io| {
                io.fail(mine());
                Ok(())
            },
            &["close"],
        ),
        ("an error", |_| Err(mine()), &["error: mine", "close"]),
        // Of another descriptor, this is an error like any other.
        (
            "a broken pipe",
            |_| Err(broken_pipe()),
            &["error: broken pipe", "close"],
        ),
    ];
    with_every_loop(|event_loop| {
        for (name, end, heard) in endings {
            let (recorder, records) = Recorder::new();
            let recorder = recorder.on_found(move |io, _| end(io));
            let (_, mut peer) = chat(event_loop, recorder, "\n");
            peer.say("one\ntwo\nthree\nand a tail");
            peer.end();
            turn_until_empty(event_loop);
            let expected = [&["\"one\""], heard].concat();
            assert_eq!(records.events(), expected, "{name}");
        }
    });
}

fn broken_pipe() -> Error {
    std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()
}

/// Fails to pass on what it collects and finds, says so, and goes on.
struct Forwards(Failure);

impl ChatHandler for Forwards {
    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, _: &[u8]) -> Result<()> {
        io.push("c")?;
        Err((self.0)())
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.push("f")?;
        Err((self.0)())
    }

    fn handle_error(&mut self, io: &mut ChatIo<'_>, _: Error) -> Result<()> {
        io.push("!")
    }
}

#[test]
fn a_lost_connection_of_another_descriptor_leaves_a_healthy_chat_alone() {
    let failures: [(&str, Failure); 2] = [
        ("a pipe of the handler's own", || {
            let (mut writer, reader) = UnixStream::pair().unwrap();
            drop(reader);
            writer.write_all(b"x").unwrap_err().into()
        }),
        ("another socket, which the error names", || {
            let unconnected = Socket::new(Family::Inet, SocketType::Stream).unwrap();
            unconnected.peer_addr().unwrap_err()
        }),
    ];
    with_every_loop(|event_loop| {
        for (name, failure) in failures {
            assert!(failure().is_disconnected(), "{name}");
            let (id, mut peer) = chat(event_loop, Forwards(failure), "\n");
            peer.say("one\ntwo\n");
            turn_once(event_loop);
            let heard = peer.hear(event_loop, 8);
            assert_eq!(heard.escape_ascii().to_string(), "c!f!c!f!", "{name}");
            assert!(event_loop.get(id).is_some(), "{name}");
            event_loop.close(id).unwrap();
        }
    });
}

#[test]
fn lines_behind_an_error_that_was_handled_need_no_more_input_to_be_heard() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder
            .on_found(|_, piece| match piece {
                b"bad" => Err(Error::other("a bad line")),
                _ => Ok(()),
            })
            .on_error(|_, _| Ok(()));
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("one\nbad\ntwo\nbad\nthree\n");
        turn_once(event_loop);
        settle(event_loop);
        let bad = "error: a bad line";
        let events = [
            "\"one\"",
            "\"bad\"",
            bad,
            "\"two\"",
            "\"bad\"",
            bad,
            "\"three\"",
        ];
        assert_eq!(records.events(), events);
        event_loop.close(id).unwrap();
    });
}

/// Runs `test` with a loop over each backend that catches panics.
fn with_every_catching_loop(test: impl Fn(&mut EventLoop)) {
    on_every_backend(|backend| {
        let builder = EventLoop::builder().backend(backend).catch_panics(true);
        test(&mut builder.build().unwrap());
    });
}

#[test]
fn lines_behind_a_panic_that_was_handled_need_no_more_input_to_be_heard() {
    with_every_catching_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder
            .on_found(|_, piece| match piece {
                b"bad" => panic!("a bad line"),
                _ => Ok(()),
            })
            .on_error(|_, _| Ok(()));
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("one\nbad\ntwo\nbad\nthree\nfo");
        turn_once(event_loop);
        let bad = "error: a handler panicked: a bad line";
        let events = [
            "\"one\"",
            "\"bad\"",
            bad,
            "\"two\"",
            "\"bad\"",
            bad,
            "\"three\"",
        ];
        assert_eq!(records.events(), events);
        peer.say("ur\n");
        turn_once(event_loop);
        assert_eq!(records.pieces()[5..], ["four"]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn no_line_is_heard_after_a_panic_that_was_not_forgiven() {
    with_every_catching_loop(|event_loop| {
        let endings: [Ending; 3] = [
            |io| {
                io.close();
                Ok(())
            },
            |io| {
                io.fail(Error::other("mine"));
                Ok(())
            },
            |_| Err(Error::other("mine")),
        ];
        for end in endings {
            let (recorder, records) = Recorder::new();
            let recorder = recorder
                .on_found(|_, _| panic!("a bad line"))
                .on_error(move |io, _| end(io));
            let (_, mut peer) = chat(event_loop, recorder, "\n");
            peer.say("one\ntwo\nthree\nand a tail");
            turn_until_empty(event_loop);
            assert_eq!(records.pieces(), ["one"]);
        }
    });
}

#[test]
fn behind_a_panic_lines_may_fail_in_every_way() {
    with_every_catching_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder
            .on_found(|_, piece| match piece {
                b"panic" => panic!("a panic"),
                b"error" => Err(Error::other("an error")),
                b"not now" => Err(std::io::Error::from(std::io::ErrorKind::WouldBlock).into()),
                b"broken" => Err(broken_pipe()),
                _ => Ok(()),
            })
            .on_error(|_, _| Ok(()));
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("panic\nerror\nnot now\npanic\nbroken\nlast\n");
        turn_once(event_loop);
        let panic = "error: a handler panicked: a panic";
        let events = [
            "\"panic\"",
            panic,
            "\"error\"",
            "error: an error",
            "\"not now\"",
            "\"panic\"",
            panic,
            "\"broken\"",
            "error: broken pipe",
            "\"last\"",
        ];
        assert_eq!(records.events(), events);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn an_error_of_handle_error_that_is_forgiven_strands_no_line() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder
            .on_found(|_, piece| match piece {
                b"bad" => Err(Error::other("a bad line")),
                _ => Ok(()),
            })
            .on_error(|_, error| match error.to_string().as_str() {
                "a bad line" => Err(Error::other("worse")),
                _ => Ok(()),
            });
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("bad\ntwo\nbad\nthree\n");
        turn_once(event_loop);
        assert_eq!(records.pieces(), ["bad", "two", "bad", "three"]);
        assert_eq!(records.count("error: worse"), 2);
        event_loop.close(id).unwrap();
    });
}

/// Leaves the loop, or panics, with the bytes of the tail and at its end.
struct BreaksOff {
    heard: Rc<RefCell<Vec<String>>>,
    how: Ending,
}

impl BreaksOff {
    fn new(how: Ending) -> (Self, Rc<RefCell<Vec<String>>>) {
        let heard = Rc::default();
        let handler = Self {
            heard: Rc::clone(&heard),
            how,
        };
        (handler, heard)
    }
}

impl ChatHandler for BreaksOff {
    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        self.heard
            .borrow_mut()
            .push(data.escape_ascii().to_string());
        (self.how)(io)
    }

    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        self.heard.borrow_mut().push("found".to_owned());
        Ok(())
    }

    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.heard.borrow_mut().push("eof".to_owned());
        io.close_after_eof();
        Ok(())
    }

    fn handle_error(&mut self, _: &mut ChatIo<'_>, _: Error) -> Result<()> {
        self.heard.borrow_mut().push("error".to_owned());
        Ok(())
    }
}

#[test]
fn the_end_of_the_input_is_heard_after_a_panic_with_its_tail() {
    with_every_catching_loop(|event_loop| {
        let (handler, heard) = BreaksOff::new(|_| panic!("a panic"));
        let (_, mut peer) = chat(event_loop, handler, "\r\n");
        peer.say("one\r\ntail\r");
        peer.end();
        turn_until_empty(event_loop);
        let expected = [
            "one", "error", "found", "tail", "error", "\\r", "error", "eof",
        ];
        assert_eq!(*heard.borrow(), expected);
    });
}

#[test]
fn lines_behind_an_exit_need_no_more_input_to_be_heard() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, piece| match piece {
            b"exit" => Err(Error::ExitNow),
            b"stop" => {
                io.event_loop().stop();
                Ok(())
            }
            _ => Ok(()),
        });
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("one\nexit\ntwo\nexit\nstop\n");
        for heard in [2, 4] {
            let exit = event_loop.run().unwrap_err();
            assert!(matches!(exit, Error::ExitNow), "{exit}");
            assert_eq!(records.pieces().len(), heard);
        }
        event_loop.run().unwrap();
        assert_eq!(records.pieces(), ["one", "exit", "two", "exit", "stop"]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn an_exit_with_the_tail_of_the_input_puts_off_its_end() {
    with_every_loop(|event_loop| {
        let (handler, heard) = BreaksOff::new(|_| Err(Error::ExitNow));
        let (_, mut peer) = chat(event_loop, handler, "\r\n");
        peer.say("tail\r");
        peer.end();
        for _ in 0..2 {
            let exit = event_loop.run().unwrap_err();
            assert!(matches!(exit, Error::ExitNow), "{exit}");
        }
        turn_until_empty(event_loop);
        assert_eq!(*heard.borrow(), ["tail", "\\r", "eof"]);
    });
}

#[test]
fn what_was_discarded_is_not_heard_after_an_exit_either() {
    with_every_loop(|event_loop| {
        for from_outside in [false, true] {
            let (recorder, records) = Recorder::new();
            let recorder = recorder.on_found(move |io, piece| {
                if piece != b"exit" {
                    return Ok(());
                }
                if !from_outside {
                    io.discard_buffers();
                }
                Err(Error::ExitNow)
            });
            let (id, mut peer) = chat(event_loop, recorder, "\n");
            peer.say("exit\ntwo\nth");
            event_loop.run().unwrap_err();
            let chat = event_loop.get_mut(id).unwrap();
            if from_outside {
                chat.discard_buffers();
            }
            settle(event_loop);
            peer.say("ree\n");
            turn_once(event_loop);
            assert_eq!(records.pieces(), ["exit", "ree"]);
            event_loop.close(id).unwrap();
        }
    });
}

#[test]
fn the_end_of_a_piece_that_was_discarded_from_outside_is_not_heard() {
    with_every_loop(|event_loop| {
        let (handler, heard) = BreaksOff::new(|_| Err(Error::ExitNow));
        let (id, mut peer) = chat(event_loop, handler, "\n");
        peer.say("one\n");
        event_loop.run().unwrap_err();
        event_loop.get_mut(id).unwrap().discard_buffers();
        settle(event_loop);
        assert_eq!(*heard.borrow(), ["one"]);
        event_loop.close(id).unwrap();
    });
}
