//! The pieces of a chat's input: what changes between them, and what is left at
//! the end.

use std::cell::RefCell;
use std::rc::Rc;

use crate::common::chat::{Recorder, chat, pattern};
use crate::common::{settle, turn_once, turn_until_empty, with_every_loop};
use fdloop::{ChatHandler, ChatIo, Error, Result, RunOptions};

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
                    let len: Option<usize> =
                        std::str::from_utf8(piece).ok().and_then(|n| n.parse().ok());
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
        event_loop.get_mut(id).unwrap().set_limit(None);
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
