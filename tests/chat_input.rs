//! The pieces of a chat's input: what changes between them, what
//! is too long for one, and what is left at the end.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod chat_support;
mod common;

use std::cell::RefCell;
use std::rc::Rc;

use chat_support::{Recorder, chat, pattern};
use common::{on_every_backend, settle, turn_once, turn_until_empty, with_every_loop};
use fdloop::{ChatHandler, ChatIo, Error, EventLoop, Result, RunOptions};

type Ending = fn(&mut ChatIo<'_>) -> Result<()>;

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
        ("a lost connection", |_| Err(broken_pipe()), &["close"]),
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

#[test]
fn a_terminator_set_in_found_terminator_acts_on_the_very_next_byte() {
    // A header that ends with an empty line says how long the body is.
    let said = b"3\r\n\r\nabc5\r\n\r\n\r\n\r\nx0\r\n\r\n2\r\n\r\nyz";
    let pieces = ["3", "abc", "5", "\\r\\n\\r\\nx", "0", "2", "yz"];
    with_every_loop(|event_loop| {
        for size in 1..=said.len() {
            let (recorder, records) = Recorder::new();
            let recorder = recorder.on_found({
                let mut in_body = false;
                move |io, piece| {
                    let len: Option<u64> = str::from_utf8(piece).ok().and_then(|n| n.parse().ok());
                    in_body = !in_body && len != Some(0);
                    match len {
                        Some(len) if in_body => io.set_terminator(len),
                        _ => io.set_terminator("\r\n\r\n"),
                    }
                    Ok(())
                }
            });
            let (_, mut peer) = chat(event_loop, recorder, "\r\n\r\n");
            peer.say_in_pieces(event_loop, said, size);
            peer.end();
            turn_until_empty(event_loop);
            assert_eq!(records.pieces(), pieces, "in pieces of {size}");
            assert_eq!(records.tail(), "");
        }
    });
}

#[test]
fn the_size_of_a_read_changes_nothing() {
    let lines = b"one\r\n\r\ntwo\r\r\nthree\r\n";
    with_every_loop(|event_loop| {
        for size in 0..=lines.len() {
            let (recorder, records) = Recorder::new();
            let (id, mut peer) = chat(event_loop, recorder, "\r\n");
            event_loop.get_mut(id).unwrap().set_in_buffer_size(size);
            peer.say(lines);
            peer.end();
            turn_until_empty(event_loop);
            let pieces = ["one", "", "two\\r", "three"];
            assert_eq!(records.pieces(), pieces, "reads of {size}");
        }
    });
}

/// A recorder that says what is too long, and goes on.
fn lenient(recorder: Recorder) -> Recorder {
    recorder.on_error(|io, error| match error {
        Error::LineTooLong(limit) => io.push(format!("at most {limit};")),
        error => {
            io.fail(error);
            Ok(())
        }
    })
}

const TOO_LONG: &str = "error: a piece of the input is longer than the 5 bytes allowed";

#[test]
fn a_piece_over_the_limit_is_one_error_and_the_next_piece_is_whole() {
    let said = b"12345\r\n123456\r\nabc\r\n\r\n1234567890123456789012345678\r\nlast\r\n";
    with_every_loop(|event_loop| {
        for size in 1..=said.len() {
            let (recorder, records) = Recorder::new();
            let (id, mut peer) = chat(event_loop, lenient(recorder), "\r\n");
            event_loop.get_mut(id).unwrap().set_limit(5);
            peer.say_in_pieces(event_loop, said, size);
            let events = [
                "\"12345\"",
                TOO_LONG,
                "\"abc\"",
                "\"\"",
                TOO_LONG,
                "\"last\"",
            ];
            assert_eq!(records.events(), events, "in pieces of {size}");
            peer.end();
            let heard = peer.hear_to_end(event_loop);
            assert_eq!(heard, b"at most 5;at most 5;");
        }
    });
}

#[test]
fn a_piece_over_the_limit_is_reported_before_its_end_comes() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, lenient(recorder), "\n");
        event_loop.get_mut(id).unwrap().set_limit(5);
        peer.say_in_pieces(event_loop, b"123456", 1);
        assert_eq!(records.events(), [TOO_LONG]);
        // However much more comes of it, nobody sees it.
        peer.say_in_pieces(event_loop, &[b'x'; 100_000], 10_000);
        assert!(records.bytes.get() <= 5);
        peer.say("still the same\nnext\n");
        turn_once(event_loop);
        assert_eq!(records.events(), [TOO_LONG, "\"next\""]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_piece_over_the_limit_ends_the_chat_unless_its_handler_says_otherwise() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        event_loop.get_mut(id).unwrap().set_limit(5);
        peer.say("123\n123456\n123\n");
        turn_until_empty(event_loop);
        assert_eq!(records.events(), ["\"123\"", TOO_LONG, "close"]);
    });
}

#[test]
fn what_the_limit_cut_off_is_not_glued_to_the_next_line() {
    struct Echo;
    impl ChatHandler for Echo {
        fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            let line = io.take_data();
            io.push(line)
        }

        fn handle_error(&mut self, io: &mut ChatIo<'_>, _: Error) -> Result<()> {
            io.push("!")
        }
    }
    let said = b"1234567\nabc\n";
    with_every_loop(|event_loop| {
        for size in 1..=said.len() {
            let (id, mut peer) = chat(event_loop, Echo, "\n");
            event_loop.get_mut(id).unwrap().set_limit(5);
            peer.say_in_pieces(event_loop, said, size);
            peer.end();
            let heard = peer.hear_to_end(event_loop);
            assert_eq!(heard.escape_ascii().to_string(), "!abc", "pieces of {size}");
        }
    });
}

#[test]
fn a_limit_is_for_pieces_that_end_with_bytes() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, piece| {
            if piece == b"body" {
                io.set_terminator(1_000);
            } else {
                io.set_terminator("\n");
            }
            Ok(())
        });
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        event_loop.get_mut(id).unwrap().set_limit(5);
        peer.say("body\n");
        peer.say([b'x'; 1_000]);
        peer.say("next\n");
        turn_once(event_loop);
        assert_eq!(records.pieces(), ["body", &"x".repeat(1_000), "next"]);
        // And it can be lifted.
        event_loop.get_mut(id).unwrap().set_limit(None);
        peer.say("no longer limited\n");
        turn_once(event_loop);
        assert_eq!(records.pieces()[3], "no longer limited");
        event_loop.close(id).unwrap();
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

#[test]
fn lines_behind_a_panic_that_was_handled_are_heard() {
    on_every_backend(|backend| {
        let builder = EventLoop::builder().backend(backend).catch_panics(true);
        let event_loop = &mut builder.build().unwrap();
        let (recorder, records) = Recorder::new();
        let recorder = recorder
            .on_found(|_, piece| {
                assert_ne!(piece, b"bad");
                Ok(())
            })
            .on_error(|_, _| Ok(()));
        let (_, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("one\nbad\ntwo\nthree\n");
        turn_once(event_loop);
        peer.say("four\n");
        peer.end();
        turn_until_empty(event_loop);
        assert_eq!(records.pieces(), ["one", "bad", "two", "three", "four"]);
    });
}

#[test]
fn lines_behind_an_exit_are_heard_when_the_loop_is_run_again() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|_, piece| match piece {
            b"exit" => Err(Error::ExitNow),
            _ => Ok(()),
        });
        let (_, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("one\nexit\ntwo\ntail");
        let exit = event_loop.run().unwrap_err();
        assert!(matches!(exit, Error::ExitNow), "{exit}");
        assert_eq!(records.pieces(), ["one", "exit"]);
        peer.end();
        turn_until_empty(event_loop);
        let events = [
            "\"one\"", "\"exit\"", "\"two\"", "tail", "eof", "tail", "close",
        ];
        assert_eq!(records.events(), events);
    });
}

#[test]
fn at_the_end_of_the_input_its_tail_is_delivered() {
    with_every_loop(|event_loop| {
        // The last of what was said may be the beginning of a terminator.
        for (said, events) in [
            ("", &["eof", "close"][..]),
            ("one\r\n", &["\"one\"", "eof", "close"]),
            ("one\r\ntail", &["\"one\"", "tail", "eof", "tail", "close"]),
            ("one\r\n\r", &["\"one\"", "\\r", "eof", "\\r", "close"]),
            ("tail\r", &["tail\\r", "eof", "tail\\r", "close"]),
        ] {
            for size in [1, 100] {
                let (recorder, records) = Recorder::new();
                let (_, mut peer) = chat(event_loop, recorder, "\r\n");
                peer.say_in_pieces(event_loop, said.as_bytes(), size);
                peer.end();
                turn_until_empty(event_loop);
                assert_eq!(records.events(), events, "{said:?}");
            }
        }
    });
}

#[test]
fn the_tail_can_be_taken_when_the_input_ends_and_when_the_chat_closes() {
    struct Tail {
        at_eof: bool,
        tail: Rc<RefCell<Vec<u8>>>,
    }
    impl ChatHandler for Tail {
        fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            drop(io.take_data());
            Ok(())
        }

        fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            if self.at_eof {
                self.tail.replace(io.take_data());
            }
            io.close_after_eof();
            Ok(())
        }

        fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            if !self.at_eof {
                self.tail.replace(io.take_data());
            }
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        for at_eof in [true, false] {
            let tail = Rc::default();
            let handler = Tail {
                at_eof,
                tail: Rc::clone(&tail),
            };
            let (_, mut peer) = chat(event_loop, handler, "\r\n");
            peer.say("a line\r\na tail\r");
            drop(peer);
            turn_until_empty(event_loop);
            assert_eq!(*tail.borrow(), b"a tail\r");
        }
    });
}

#[test]
fn a_tail_over_the_limit_is_an_error_too() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, lenient(recorder), "abc");
        event_loop.get_mut(id).unwrap().set_limit(5);
        // The last two are held back: only the end shows that they belong to it.
        peer.say("1234ab");
        turn_once(event_loop);
        assert_eq!(records.tail(), "1234");
        peer.end();
        turn_until_empty(event_loop);
        assert_eq!(records.events(), [TOO_LONG, "eof", "close"]);
    });
}

#[test]
fn a_terminator_changed_from_outside_acts_on_what_was_held_back_when_more_comes() {
    // At the end of the input nothing more comes, and what was held back is its
    // tail, as it is in asynchat.
    let cases = [("", &[][..], "xab"), ("c", &["xa"][..], "c")];
    with_every_loop(|event_loop| {
        for (more, pieces, tail) in cases {
            let (recorder, records) = Recorder::new();
            let (id, mut peer) = chat(event_loop, recorder, "abc");
            peer.say("xab");
            turn_once(event_loop);
            assert_eq!(records.tail(), "x");
            event_loop.get_mut(id).unwrap().set_terminator("b");
            peer.say(more);
            peer.end();
            turn_until_empty(event_loop);
            assert_eq!(records.pieces(), pieces);
            assert_eq!(records.tail(), tail);
        }
    });
}

#[test]
fn a_chat_that_wants_no_input_gets_none_and_loses_none() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        records.wants_read.set(false);
        let (_, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("one\ntwo\ntail");
        peer.end();
        settle(event_loop);
        assert_eq!(records.events(), [""; 0]);
        records.wants_read.set(true);
        turn_until_empty(event_loop);
        let events = ["\"one\"", "\"two\"", "tail", "eof", "tail", "close"];
        assert_eq!(records.events(), events);
    });
}

#[test]
fn a_terminator_may_be_long_and_a_piece_longer() {
    // Longer than what is received at once, and full of its own beginning.
    let terminator = [b"ab".repeat(50_000), b"c".to_vec()].concat();
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, recorder, &terminator);
        let said = [b"abab", &terminator[..], &pattern(300_000), &terminator].concat();
        for piece in said.chunks(30_000) {
            peer.say(piece);
            event_loop.run_with(RunOptions::new().count(1)).unwrap();
        }
        let found: Vec<_> = records.pieces().iter().map(String::len).collect();
        let body = pattern(300_000).escape_ascii().to_string();
        assert_eq!(found, [4, body.len()]);
        assert!(records.pieces()[1] == body);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn after_a_close_at_the_tail_the_end_is_not_heard() {
    struct Closes {
        heard: Rc<RefCell<Vec<&'static str>>>,
        in_handle_error: bool,
    }
    impl ChatHandler for Closes {
        fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
            if data == b"\r" {
                self.heard.borrow_mut().push("tail");
                if self.in_handle_error {
                    return Err(Error::other("a bad tail"));
                }
                io.close();
            }
            Ok(())
        }

        fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
            Ok(())
        }

        fn handle_error(&mut self, io: &mut ChatIo<'_>, _: Error) -> Result<()> {
            self.heard.borrow_mut().push("error");
            io.close();
            Ok(())
        }

        fn handle_eof(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
            self.heard.borrow_mut().push("eof");
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        for (in_handle_error, events) in [(false, &["tail"][..]), (true, &["tail", "error"])] {
            let heard = Rc::default();
            let handler = Closes {
                heard: Rc::clone(&heard),
                in_handle_error,
            };
            let (_, mut peer) = chat(event_loop, handler, "\r\n");
            peer.say("tail\r");
            peer.end();
            turn_until_empty(event_loop);
            assert_eq!(*heard.borrow(), events);
        }
    });
}
