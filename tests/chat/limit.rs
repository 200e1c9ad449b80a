//! A limit on the length of a chat's pieces, and what becomes of one that is longer.

use std::cell::RefCell;
use std::rc::Rc;

use crate::common::chat::{Recorder, chat};
use crate::common::{turn_once, turn_until_empty, with_every_loop};
use fdloop::{ChatHandler, ChatIo, Error, Result, Terminator};

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
fn unless_set_the_limit_is_64_kib() {
    const LIMIT: usize = 64 * 1024;
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (_, mut peer) = chat(event_loop, recorder, "\n");
        peer.say_in_pieces(event_loop, &[b'x'; LIMIT], 30_000);
        peer.say_in_pieces(event_loop, b"\n", 1);
        assert_eq!(records.pieces(), ["x".repeat(LIMIT)]);
        // One byte more, and its terminator never comes.
        peer.say_in_pieces(event_loop, &[b'x'; LIMIT + 1], 30_000);
        turn_until_empty(event_loop);
        let too_long = "error: a piece of the input is longer than the 65536 bytes allowed";
        assert_eq!(records.events()[1..], [too_long, "close"]);
    });
}

#[test]
fn without_a_limit_a_piece_may_have_any_length() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        event_loop.get_mut(id).unwrap().set_limit(None);
        for _ in 0..10 {
            peer.say_in_pieces(event_loop, &[b'x'; 20_000], 20_000);
        }
        peer.say_in_pieces(event_loop, b"\n", 1);
        assert_eq!(records.pieces(), ["x".repeat(200_000)]);
        event_loop.close(id).unwrap();
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
        // The rest of the piece is dropped.
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
fn after_the_buffers_were_discarded_the_count_begins_anew() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, lenient(recorder), "\n");
        event_loop.get_mut(id).unwrap().set_limit(5);
        peer.say("1234");
        turn_once(event_loop);
        event_loop.get_mut(id).unwrap().discard_buffers();
        peer.say("abcd\n");
        turn_once(event_loop);
        assert_eq!(records.events(), ["\"1234abcd\""]);
        // A piece that is too long is dropped up to its end nevertheless.
        peer.say("123456");
        turn_once(event_loop);
        event_loop.get_mut(id).unwrap().discard_buffers();
        peer.say("78\nnext\n");
        turn_once(event_loop);
        assert_eq!(records.events()[1..], [TOO_LONG, "\"next\""]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn the_count_begins_anew_with_a_terminator_of_another_kind() {
    with_every_loop(|event_loop| {
        for before in [Terminator::none(), Terminator::count(1_000)] {
            let (recorder, records) = Recorder::new();
            let (id, mut peer) = chat(event_loop, lenient(recorder), before);
            event_loop.get_mut(id).unwrap().set_limit(5);
            peer.say([b'x'; 30]);
            turn_once(event_loop);
            event_loop.get_mut(id).unwrap().set_terminator("\n");
            peer.say("abc\n");
            turn_once(event_loop);
            // Another of the same kind changes nothing.
            peer.say("123");
            turn_once(event_loop);
            event_loop.get_mut(id).unwrap().set_terminator("\r\n");
            peer.say("456");
            turn_once(event_loop);
            let piece = format!("\"{}abc\"", "x".repeat(30));
            assert_eq!(records.events(), [&piece, TOO_LONG]);
            event_loop.close(id).unwrap();
        }
    });
}

#[test]
fn a_count_set_when_a_piece_was_too_long_is_a_piece_of_its_own() {
    /// Echoes pieces; after one that was too long comes one of 4 bytes.
    struct Counts;
    impl ChatHandler for Counts {
        fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            io.set_terminator("\n");
            let piece = io.take_data();
            io.push(piece)?;
            io.push(";")
        }

        fn handle_error(&mut self, io: &mut ChatIo<'_>, _: Error) -> Result<()> {
            io.set_terminator(4);
            io.push("!")
        }
    }
    with_every_loop(|event_loop| {
        for (said, answer) in [
            // The end of the long piece was not seen.
            (&["1234567890", "wxyz", "next\n"][..], "!wxyz;next;"),
            (&["123", "4567890", "wx", "yznext\n"], "!wxyz;next;"),
            // It was.
            (&["1234567890\nwxyznext\n"], "!wxyz;next;"),
            (&["123", "4567890\nwxyz", "next\n"], "!wxyz;next;"),
        ] {
            let (id, mut peer) = chat(event_loop, Counts, "\n");
            event_loop.get_mut(id).unwrap().set_limit(5);
            for piece in said {
                peer.say(piece);
                turn_once(event_loop);
            }
            let heard = peer.hear(event_loop, answer.len());
            assert_eq!(heard.escape_ascii().to_string(), answer, "{said:?}");
            event_loop.close(id).unwrap();
        }
    });
}

#[test]
fn what_the_limit_cut_off_is_no_tail() {
    struct Tail(Rc<RefCell<Vec<String>>>);
    impl Tail {
        fn note(&self, event: &str, data: &[u8]) {
            let note = format!("{event} {}", data.escape_ascii());
            self.0.borrow_mut().push(note);
        }
    }
    impl ChatHandler for Tail {
        fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
            Ok(())
        }

        fn handle_error(&mut self, io: &mut ChatIo<'_>, _: Error) -> Result<()> {
            // Here it can be seen, for a log.
            self.note("error", io.data());
            Ok(())
        }

        fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            self.note("eof", io.data());
            io.close_after_eof();
            Ok(())
        }

        fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            self.note("close", &io.take_data());
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let heard = Rc::default();
        let (id, mut peer) = chat(event_loop, Tail(Rc::clone(&heard)), "\r\n");
        event_loop.get_mut(id).unwrap().set_limit(5);
        peer.say_in_pieces(event_loop, b"1234567890\r", 4);
        peer.end();
        turn_until_empty(event_loop);
        assert_eq!(*heard.borrow(), ["error 1234", "eof ", "close "]);
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
