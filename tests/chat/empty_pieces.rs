//! Counts of 0: pieces without bytes, which need no input to be complete.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::Duration;

use crate::common::chat::{Recorder, chat};
use crate::common::{
    Simulated, TempDir, on_every_backend, settle, turn_once, turn_until_empty, with_every_loop,
};
use fdloop::{
    AsyncChat, ChatHandler, ChatIo, Error, EventLoop, Readiness, Result, Socket, Terminator,
};

/// The limit of counts of 0 set in a row, without input between them.
const MOST: usize = 1_000;

type Act = fn(&mut ChatIo<'_>) -> Result<()>;

fn set_0(io: &mut ChatIo<'_>) -> Result<()> {
    io.set_terminator(0);
    Ok(())
}

fn set_0_and_would_block(io: &mut ChatIo<'_>) -> Result<()> {
    io.set_terminator(0);
    Err(std::io::Error::from(ErrorKind::WouldBlock).into())
}

/// One that sets the length of a body in each header line, and after the body a line
/// again.
fn framed(recorder: Recorder) -> Recorder {
    let mut in_body = false;
    recorder.on_found(move |io, piece| {
        match std::str::from_utf8(piece).unwrap().parse::<usize>() {
            Ok(length) if !in_body => io.set_terminator(length),
            _ => io.set_terminator("\n"),
        }
        in_body = !in_body;
        Ok(())
    })
}

#[test]
fn a_body_of_length_0_is_a_piece_like_any_other() {
    let said = b"3\nabc0\n1\n00\n0\n2\nyz0\n";
    let pieces = [
        "3", "abc", "0", "", "1", "0", "0", "", "0", "", "2", "yz", "0", "",
    ];
    with_every_loop(|event_loop| {
        for size in 1..=said.len() {
            let (recorder, records) = Recorder::new();
            let (_, mut peer) = chat(event_loop, framed(recorder), "\n");
            peer.say_in_pieces(event_loop, said, size);
            // The last was complete before anything else could have come.
            assert_eq!(records.pieces(), pieces, "in pieces of {size}");
            peer.end();
            turn_until_empty(event_loop);
            assert_eq!(records.events()[pieces.len()..], ["eof", "close"]);
        }
    });
}

#[test]
fn after_a_count_of_0_there_is_no_terminator() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, recorder, 0);
        let terminator = event_loop.get(id).unwrap().get_terminator();
        assert_eq!(terminator.as_count(), Some(0));
        settle(event_loop);
        assert_eq!(records.events(), ["\"\""]);
        let terminator = event_loop.get(id).unwrap().get_terminator();
        assert_eq!(*terminator, Terminator::none());
        peer.say_in_pieces(event_loop, b"all the rest", 4);
        assert_eq!(records.tail(), "all the rest");
        assert_eq!(records.events(), ["\"\""]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_count_of_0_set_from_outside_is_found_before_the_loop_next_waits() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, _| {
            io.event_loop().stop();
            io.push("found;")
        });
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        settle(event_loop);
        event_loop.get_mut(id).unwrap().set_terminator(0);
        // This would wait for ever.
        event_loop.run().unwrap();
        assert_eq!(records.pieces(), [""]);
        assert_eq!(peer.hear(event_loop, 6), b"found;");

        let visited = event_loop.with(id, |chat, event_loop| {
            chat.enter(event_loop, |_, io| set_0(io))
        });
        visited.unwrap();
        assert_eq!(records.pieces(), ["", ""]);
        assert_eq!(peer.hear(event_loop, 6), b"found;");
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_piece_that_has_begun_is_ended_by_a_count_of_0() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let mut next = ["\n", "\n"].into_iter();
        let recorder = recorder.on_found(move |io, _| {
            io.set_terminator(next.next());
            Ok(())
        });
        let (id, mut peer) = chat(event_loop, recorder, "abc\n");
        peer.say("begun, ab");
        turn_once(event_loop);
        event_loop.get_mut(id).unwrap().set_terminator(0);
        settle(event_loop);
        // What may have begun the old terminator begins the next piece.
        assert_eq!(records.pieces(), ["begun, "]);
        assert_eq!(records.tail(), "ab");
        peer.say("solute\n");
        turn_once(event_loop);
        assert_eq!(records.pieces(), ["begun, ", "absolute"]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_count_of_0_that_is_replaced_at_once_is_no_piece() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, _| {
            io.set_terminator(0);
            io.set_terminator("\n");
            Ok(())
        });
        let (id, mut peer) = chat(event_loop, recorder, 0);
        event_loop.get_mut(id).unwrap().set_terminator("\n");
        peer.say("one\ntwo\n");
        turn_once(event_loop);
        assert_eq!(records.events(), ["\"one\"", "\"two\""]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn every_handler_can_set_a_count_of_0() {
    with_every_loop(|event_loop| {
        for set in [set_0 as Act, set_0_and_would_block] {
            let (recorder, records) = Recorder::new();
            let recorder = recorder
                .on_drain(set)
                .on_eof(set)
                .on_error(move |io, _| set(io));
            let recorder = recorder.on_found(|_, piece| match piece {
                b"bad" => Err(Error::other("a bad line")),
                _ => Ok(()),
            });
            let (id, mut peer) = chat(event_loop, recorder, "\n");
            peer.say("bad\n");
            turn_once(event_loop);
            let chat = event_loop.get_mut(id).unwrap();
            chat.push(vec![b'x'; 4 << 20]).unwrap();
            drop(peer.hear(event_loop, 4 << 20));
            settle(event_loop);
            let bad = "error: a bad line";
            let events = ["\"bad\"", bad, "\"\"", "drain", "\"\""];
            assert_eq!(records.events(), events);
            peer.end();
            turn_once(event_loop);
            assert_eq!(records.events()[events.len()..], ["eof", "\"\""]);
            event_loop.close(id).unwrap();
        }
    });
}

#[test]
fn handle_expt_can_set_a_count_of_0() {
    struct Urgent(Rc<Cell<usize>>);
    impl ChatHandler for Urgent {
        fn handle_expt(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            set_0(io)
        }

        fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }
    let (ours, _theirs) = Socket::pair().unwrap();
    let found = Rc::default();
    let chat = AsyncChat::new(ours, Urgent(Rc::clone(&found))).unwrap();
    let poller = Simulated::once(chat.as_raw_fd(), Readiness::PRIORITY);
    let mut event_loop = EventLoop::with_poller(poller);
    event_loop.add(chat).unwrap();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(found.get(), 1);
}

#[test]
fn a_tail_is_a_piece_if_a_count_of_0_is_set_with_it() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_collect(|io, data| match data {
            b"\r" => set_0(io),
            _ => Ok(()),
        });
        let (_, mut peer) = chat(event_loop, recorder, "\r\n");
        peer.say("one\r\ntail\r");
        peer.end();
        turn_until_empty(event_loop);
        assert_eq!(records.events(), ["\"one\"", "\"tail\\r\"", "eof", "close"]);
    });
}

#[test]
fn no_piece_comes_before_the_connection_or_after_the_end() {
    with_every_loop(|event_loop| {
        for set in [set_0 as Act, set_0_and_would_block] {
            // A connection of this kind is established at once.
            let directory = TempDir::new();
            let path = directory.join("socket");
            let _listener = UnixListener::bind(&path).unwrap();
            let (recorder, records) = Recorder::new();
            let mut found = 0;
            let recorder = recorder.on_connect(set).on_found(move |io, _| {
                found += 1;
                if found == 2 {
                    io.set_terminator(0);
                    io.close();
                }
                set_0(io)
            });
            let mut chat = AsyncChat::connect(path, recorder).unwrap();
            chat.set_terminator(0);
            event_loop.add(chat).unwrap();
            turn_until_empty(event_loop);
            assert_eq!(records.events(), ["connect", "\"\"", "\"\""]);
        }
        // Nor without one.
        let (recorder, records) = Recorder::new();
        let mut chat = AsyncChat::listen("127.0.0.1:0", recorder).unwrap();
        chat.set_terminator(0);
        let id = event_loop.add(chat).unwrap();
        settle(event_loop);
        assert_eq!(records.events(), [""; 0]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn an_exit_in_a_piece_after_handle_connect_does_not_repeat_that() {
    with_every_loop(|event_loop| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_connect(set_0).on_found(|io, piece| {
            io.set_terminator("\n");
            match piece {
                b"" => Err(Error::ExitNow),
                _ => Ok(()),
            }
        });
        let chat = AsyncChat::connect(listener.local_addr().unwrap(), recorder).unwrap();
        event_loop.add(chat).unwrap();
        let exit = event_loop.run().unwrap_err();
        assert!(matches!(exit, Error::ExitNow), "{exit}");
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"one\n").unwrap();
        drop(peer);
        turn_until_empty(event_loop);
        assert_eq!(
            records.events(),
            ["connect", "\"\"", "\"one\"", "eof", "close"]
        );
    });
}

#[test]
fn what_came_after_a_header_can_be_discarded_for_a_count_of_0() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, piece| match piece {
            b"header" => {
                io.discard_buffers();
                set_0(io)
            }
            _ => {
                io.set_terminator("\n");
                Ok(())
            }
        });
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("header\nnever heard\n");
        turn_once(event_loop);
        assert_eq!(records.events(), ["\"header\"", "\"\""]);
        peer.say("next\n");
        turn_once(event_loop);
        assert_eq!(records.events()[2..], ["\"next\""]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_handler_that_goes_on_setting_a_count_of_0_ends_its_chat() {
    with_every_loop(|event_loop| {
        for act in [set_0 as Act, |io| {
            io.set_terminator(0);
            Err(Error::other("a bad piece"))
        }] {
            let reason = Rc::new(Cell::new(None));
            let (recorder, records) = Recorder::new();
            let recorder = recorder
                .on_found(move |io, _| act(io))
                .on_error(|_, _| Ok(()))
                .on_close({
                    let reason = Rc::clone(&reason);
                    move |io| {
                        let error = io.reason().unwrap();
                        reason.set(Some((error.kind(), error.to_string())));
                        Ok(())
                    }
                });
            let (_, mut peer) = chat(event_loop, recorder, "\n");
            peer.say("line\nnever heard\n");
            turn_until_empty(event_loop);
            assert_eq!(records.pieces().len(), 1 + MOST);
            assert_eq!(records.count("close"), 1);
            let (kind, text) = reason.take().unwrap();
            assert_eq!(kind, ErrorKind::InvalidInput);
            assert!(
                text.starts_with("a count of 0 was set 1000 times in a row"),
                "{text}"
            );
        }
    });
}

#[test]
fn a_handler_that_panics_at_each_count_of_0_and_is_forgiven_ends_its_chat() {
    on_every_backend(|backend| {
        let builder = EventLoop::builder().backend(backend).catch_panics(true);
        let mut event_loop = builder.build().unwrap();
        let (recorder, records) = Recorder::new();
        let recorder = recorder
            .on_found(|io, _| {
                io.set_terminator(0);
                std::panic::resume_unwind(Box::new("a panic"))
            })
            .on_error(|_, _| Ok(()));
        let (_, mut peer) = chat(&mut event_loop, recorder, "\n");
        peer.say("line\nnever heard\n");
        turn_until_empty(&mut event_loop);
        assert_eq!(records.pieces().len(), 1 + MOST);
        assert_eq!(records.count("close"), 1);
    });
}

#[test]
fn counts_of_0_with_input_between_them_may_be_many() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, framed(recorder), "\n");
        // In one read.
        peer.say("0\n".repeat(3 * MOST));
        event_loop.turn(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(records.pieces().len(), 6 * MOST);
        event_loop.close(id).unwrap();
    });
}
