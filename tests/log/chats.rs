//! The messages that a chat logs.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

use crate::common::chat::{Recorder, chat, chat_without_terminator};
use crate::common::{settle, turn_once, turn_until_empty, with_every_loop};
use fdloop::{AsyncChat, ChatHandler, ChatIo, Level, Result, Terminator};

/// The warnings and errors that are logged while `work` runs.
fn logged_by(work: impl FnOnce()) -> Vec<(Level, String)> {
    crate::logged_by(Level::Warn, work)
}

#[test]
fn input_without_a_terminator_ever_set_is_warned_of_once() {
    with_every_loop(|event_loop| {
        let mut fd = -1;
        let logged = logged_by(|| {
            let (recorder, records) = Recorder::new();
            let (id, mut peer) = chat_without_terminator(event_loop, recorder);
            fd = event_loop.get(id).unwrap().as_raw_fd();
            for line in ["one\n", "two\n", "three\n"] {
                peer.say(line);
                turn_once(event_loop);
            }
            assert_eq!(records.tail(), "one\\ntwo\\nthree\\n");
            // Now it is too late for another.
            event_loop.get_mut(id).unwrap().set_terminator("\n");
            peer.say("four\n");
            peer.end();
            turn_until_empty(event_loop);
        });
        let [(Level::Warn, warning)] = &logged[..] else {
            panic!("{logged:?}");
        };
        assert!(warning.starts_with(&format!("fd {fd}")), "{warning}");
        for advice in [
            "found_terminator is not called",
            "call set_terminator;",
            "set_terminator(Terminator::none()) collects everything",
        ] {
            assert!(warning.contains(advice), "{warning}");
        }
    });
}

#[test]
fn collecting_everything_on_purpose_is_not_warned_of() {
    with_every_loop(|event_loop| {
        let logged = logged_by(|| {
            let unset = AsyncChat::unconnected(Recorder::silent());
            for none in [
                Terminator::none(),
                None::<&str>.into(),
                "".into(),
                Terminator::default(),
                unset.get_terminator().clone(),
            ] {
                let (recorder, records) = Recorder::new();
                let (id, mut peer) = chat(event_loop, recorder, none);
                peer.say("all of it");
                turn_once(event_loop);
                assert_eq!(records.tail(), "all of it");
                event_loop.close(id).unwrap();
            }
            // A count that is used up has become none.
            let (id, mut peer) = chat(event_loop, Recorder::silent(), 3);
            peer.say_in_pieces(event_loop, b"abcdef", 3);
            event_loop.close(id).unwrap();
        });
        assert_eq!(logged, []);
    });
}

/// Sets its terminator no earlier than in one of its methods.
struct Late {
    in_collect: bool,
}

impl ChatHandler for Late {
    fn handle_connect(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        if !self.in_collect {
            io.set_terminator("\n");
        }
        Ok(())
    }

    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, _: &[u8]) -> Result<()> {
        if self.in_collect {
            io.set_terminator("\n");
        }
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_terminator_that_a_handler_sets_in_time_is_not_missed() {
    with_every_loop(|event_loop| {
        let logged = logged_by(|| {
            for in_collect in [false, true] {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap();
                let chat = AsyncChat::connect(address, Late { in_collect }).unwrap();
                event_loop.add(chat).unwrap();
                let (mut peer, _) = listener.accept().unwrap();
                peer.write_all(b"one\ntwo\n").unwrap();
                drop(peer);
                turn_until_empty(event_loop);
            }
        });
        assert_eq!(logged, []);
    });
}

#[test]
fn a_chat_that_ends_at_its_first_input_needs_no_terminator() {
    with_every_loop(|event_loop| {
        let logged = logged_by(|| {
            let recorder = Recorder::silent().on_collect(|io, _| {
                io.close();
                Ok(())
            });
            let (_, mut peer) = chat_without_terminator(event_loop, recorder);
            peer.say("all that is wanted");
            turn_until_empty(event_loop);
        });
        assert_eq!(logged, []);
    });
}

#[test]
fn a_chat_that_gets_no_input_needs_no_terminator() {
    with_every_loop(|event_loop| {
        let logged = logged_by(|| {
            let (id, mut peer) = chat_without_terminator(event_loop, Recorder::silent());
            event_loop.get_mut(id).unwrap().push("hello").unwrap();
            assert_eq!(peer.hear(event_loop, 5), b"hello");
            peer.end();
            turn_until_empty(event_loop);
            let listener = AsyncChat::listen("127.0.0.1:0", Recorder::silent()).unwrap();
            let id = event_loop.add(listener).unwrap();
            settle(event_loop);
            event_loop.close(id).unwrap();
        });
        assert_eq!(logged, []);
    });
}
