//! The output of a chat: nothing that was pushed is lost, it
//! leaves in few system calls, and producers wait for the reader.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::chat::{Meter, Recorder, chat, metered_chat, pattern};
use crate::common::{
    on_every_backend, settle, turn_once, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{AsyncChat, ChatIo, Error, EventLoop, IterProducer, Producer, Result};

/// More than a socket holds.
const MUCH: usize = 4 << 20;

#[test]
fn a_thousand_pushes_of_one_handler_leave_in_a_few_writes() {
    with_every_loop(|event_loop| {
        let recorder = Recorder::silent().on_found(|io, _| {
            for i in 0..1_000 {
                io.push(format!("line {i:>40}\r\n"))?;
            }
            Ok(())
        });
        let (id, mut peer, meter) = metered_chat(event_loop, recorder, "\n");
        peer.say("go\n");
        let heard = peer.hear(event_loop, 1_000 * 47);
        assert!(heard.ends_with(b" 999\r\n"));
        assert!(meter.writes() <= 4, "{} writes", meter.writes());
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_thousand_pushes_from_outside_leave_in_a_few_writes() {
    with_every_loop(|event_loop| {
        let (id, mut peer, meter) = metered_chat(event_loop, Recorder::silent(), "\n");
        for i in 0..1_000 {
            let chat = event_loop.get_mut(id).unwrap();
            chat.push(format!("line {i:>40}\r\n")).unwrap();
        }
        assert_eq!(meter.writes(), 0, "they leave before the next wait");
        event_loop.get_mut(id).unwrap().close_when_done();
        let heard = peer.hear_to_end(event_loop);
        assert_eq!(heard.len(), 1_000 * 47);
        assert!(meter.writes() <= 4, "{} writes", meter.writes());
    });
}

#[test]
fn the_answers_to_many_lines_received_at_once_leave_in_one_write() {
    with_every_loop(|event_loop| {
        let recorder = Recorder::silent().on_found(|io, line| {
            io.push("you said ")?;
            io.push(line)?;
            io.push("\n")
        });
        let (id, mut peer, meter) = metered_chat(event_loop, recorder, "\n");
        peer.say("a\n".repeat(100));
        turn_once(event_loop);
        assert_eq!(peer.read(10_000), b"you said a\n".repeat(100));
        assert_eq!(meter.writes(), 1);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn close_when_done_waits_for_all_that_was_pushed_and_produced() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, _| {
            io.push(pattern(MUCH))?;
            io.push_with_producer(IterProducer::new((0..100).map(|i| vec![i; 10_000])))?;
            io.push("the end")?;
            io.close_when_done();
            Ok(())
        });
        let (_, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("go\n");
        turn_once(event_loop);
        // Nothing can be written for a while, and nothing is given up.
        settle(event_loop);
        assert_eq!(records.events(), ["\"go\""]);
        let heard = peer.hear_to_end(event_loop);
        let mut expected = pattern(MUCH);
        expected.extend((0..100).flat_map(|i| vec![i; 10_000]));
        expected.extend(b"the end");
        assert!(heard == expected, "{} bytes", heard.len());
        assert_eq!(records.events(), ["\"go\"", "drain", "close"]);
    });
}

#[test]
fn what_is_queued_is_delivered_after_the_peer_has_half_closed() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, _| {
            io.push(pattern(MUCH))?;
            io.push_with_producer(IterProducer::new((0..100).map(|i| vec![i; 10_000])))
        });
        let (_, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("go\n");
        peer.end();
        turn_until(event_loop, "the end is seen", || records.heard("eof"));
        settle(event_loop);
        assert!(!records.heard("close"), "much still waits");
        let heard = peer.hear_to_end(event_loop);
        assert_eq!(heard.len(), MUCH + 1_000_000);
        assert!(heard.starts_with(&pattern(MUCH)));
        assert_eq!(records.events(), ["\"go\"", "eof", "drain", "close"]);
    });
}

#[test]
fn a_chat_may_go_on_writing_after_the_end_of_its_input() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_eof(|_| Ok(()));
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.end();
        turn_until(event_loop, "the end is seen", || records.heard("eof"));
        settle(event_loop);
        let chat = event_loop.get_mut(id).unwrap();
        chat.push("still here").unwrap();
        assert_eq!(peer.hear(event_loop, 10), b"still here");
        event_loop.get_mut(id).unwrap().close_when_done();
        turn_until_empty(event_loop);
        assert_eq!(records.events(), ["eof", "close"]);
    });
}

#[test]
fn pushes_and_producers_keep_their_order() {
    with_every_loop(|event_loop| {
        let (id, mut peer) = chat(event_loop, Recorder::silent(), "\n");
        let mut expected = Vec::new();
        for round in 0..50_u8 {
            let chat = event_loop.get_mut(id).unwrap();
            let small = vec![round; 3];
            let large = vec![round ^ 0x80; 9_000];
            let pieces = vec![vec![round, 1], vec![round, 2], vec![round; 70_000]];
            chat.push(&small).unwrap();
            chat.push_with_producer(IterProducer::new(pieces.clone()))
                .unwrap();
            chat.push(large.clone()).unwrap();
            expected.extend([small, pieces.concat(), large].concat());
        }
        event_loop.get_mut(id).unwrap().close_when_done();
        assert!(peer.hear_to_end(event_loop) == expected);
    });
}

#[test]
fn output_over_the_high_watermark_is_congested_until_the_low_one() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_drain(|io| {
            assert!(!io.is_congested());
            assert!(io.pending() <= 100_000, "{} bytes wait", io.pending());
            Ok(())
        });
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        let chat = event_loop.get_mut(id).unwrap();
        chat.set_watermarks(100_000, 1_000_000);
        chat.push(vec![1; 999_999]).unwrap();
        assert!(!chat.is_congested());
        chat.push(vec![2; MUCH]).unwrap();
        assert!(chat.is_congested());
        settle(event_loop);
        assert!(event_loop.get(id).unwrap().is_congested());
        assert_eq!(records.count("drain"), 0, "the peer has not read yet");

        peer.hear(event_loop, MUCH + 999_999);
        assert_eq!(records.count("drain"), 1);
        settle(event_loop);
        assert_eq!(records.events(), ["drain"]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn output_that_was_discarded_congests_nothing() {
    with_every_loop(|event_loop| {
        let (id, _peer) = chat(event_loop, Recorder::silent(), "\n");
        let chat = event_loop.get_mut(id).unwrap();
        chat.push(vec![0; MUCH]).unwrap();
        assert!(chat.is_congested());
        chat.discard_buffers();
        assert_eq!(chat.pending(), 0);
        // Otherwise the handler would never push again.
        assert!(!chat.is_congested());
        event_loop.close(id).unwrap();
    });
}

#[test]
fn handle_drain_can_keep_the_output_flowing_in_bounded_memory() {
    with_every_loop(|event_loop| {
        let (left, peak) = (Rc::new(Cell::new(20_u8)), Rc::new(Cell::new(0)));
        let fill = {
            let (left, peak) = (Rc::clone(&left), Rc::clone(&peak));
            move |io: &mut ChatIo<'_>| {
                while left.get() > 0 && !io.is_congested() {
                    left.set(left.get() - 1);
                    io.push(vec![left.get(); 100_000])?;
                }
                peak.set(peak.get().max(io.pending()));
                if left.get() == 0 {
                    io.close_when_done();
                }
                Ok(())
            }
        };
        let refill = fill.clone();
        let recorder = Recorder::silent()
            .on_found(move |io, _| {
                io.set_watermarks(0, 150_000);
                fill(io)
            })
            .on_drain(refill);
        let (_, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("go\n");
        turn_once(event_loop);
        let heard = peer.hear_to_end(event_loop);
        assert_eq!(heard.len(), 2_000_000);
        assert!(peak.get() <= 250_000, "{} bytes waited", peak.get());
    });
}

/// Makes pieces for as long as it is asked to, and looks how far it is ahead.
struct Watched {
    piece: usize,
    left: usize,
    made: Rc<Cell<usize>>,
    meter: Meter,
    most_ahead: Rc<Cell<usize>>,
}

impl Producer for Watched {
    fn more(&mut self) -> Result<Vec<u8>> {
        let ahead = self.made.get() - self.meter.written();
        self.most_ahead.set(self.most_ahead.get().max(ahead));
        let len = self.piece.min(self.left);
        self.left -= len;
        self.made.set(self.made.get() + len);
        Ok(vec![b'x'; len])
    }
}

#[test]
fn a_producer_is_pulled_only_as_fast_as_the_peer_reads() {
    with_every_loop(|event_loop| {
        for (out_buffer_size, piece) in [(65_536, 512), (65_536, 100_000), (1, 64), (10_000, 700)] {
            let total = 100_000.max(piece * 30);
            let (id, mut peer, meter) = metered_chat(event_loop, Recorder::silent(), "\n");
            let producer = Watched {
                piece,
                left: total,
                made: Rc::default(),
                meter: meter.clone(),
                most_ahead: Rc::default(),
            };
            let made = Rc::clone(&producer.made);
            let most_ahead = Rc::clone(&producer.most_ahead);
            let chat = event_loop.get_mut(id).unwrap();
            chat.set_out_buffer_size(out_buffer_size);
            assert_eq!(chat.out_buffer_size(), out_buffer_size);
            chat.push_with_producer(producer).unwrap();
            chat.close_when_done();
            settle(event_loop);
            if made.get() == total {
                assert!(total < 1 << 20, "a socket that holds everything");
            }
            let heard = peer.hear_to_end(event_loop);
            assert_eq!((heard.len(), made.get()), (total, total));
            // It is asked for more only while less than that waits.
            let most = most_ahead.get();
            assert!(most < out_buffer_size, "{most} ahead of {out_buffer_size}");
        }
    });
}

#[test]
fn a_producer_is_not_asked_while_the_peer_does_not_read() {
    with_every_loop(|event_loop| {
        let (id, mut peer, meter) = metered_chat(event_loop, Recorder::silent(), "\n");
        let made = Rc::new(Cell::new(0));
        let producer = {
            let made = Rc::clone(&made);
            IterProducer::new((0..500).map(move |_| {
                made.set(made.get() + 1);
                vec![b'x'; 10_000]
            }))
        };
        let chat = event_loop.get_mut(id).unwrap();
        chat.push_with_producer(producer).unwrap();
        chat.close_when_done();
        settle(event_loop);
        let (made_so_far, written) = (made.get() * 10_000, meter.written());
        assert!(made_so_far < 2_000_000, "{made_so_far}");
        assert!(made_so_far - written <= 65_536 + 10_000);
        settle(event_loop);
        assert_eq!(made.get() * 10_000, made_so_far, "the peer has not read");
        assert_eq!(peer.hear_to_end(event_loop).len(), 5_000_000);
    });
}

/// Makes one piece, and then fails.
struct Failing(bool);

impl Producer for Failing {
    fn more(&mut self) -> Result<Vec<u8>> {
        if self.0 {
            return Err(Error::other("no more"));
        }
        self.0 = true;
        Ok(b"made; ".to_vec())
    }
}

#[test]
fn a_producer_that_fails_is_an_error_of_the_chat() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        let chat = event_loop.get_mut(id).unwrap();
        chat.push_with_producer(Failing(false)).unwrap();
        chat.push("never sent").unwrap();
        peer.hear_to_end(event_loop);
        assert_eq!(records.events(), ["error: no more", "close"]);
    });
}

#[test]
fn a_chat_may_go_on_after_a_producer_that_failed() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_error(|_, _| Ok(()));
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        let chat = event_loop.get_mut(id).unwrap();
        chat.push("before; ").unwrap();
        chat.push_with_producer(Failing(false)).unwrap();
        chat.push_with_producer(Failing(true)).unwrap();
        chat.push("after").unwrap();
        chat.close_when_done();
        let heard = peer.hear_to_end(event_loop);
        assert_eq!(heard.escape_ascii().to_string(), "before; made; after");
        let error = "error: no more";
        assert_eq!(records.events(), [error, error, "close"]);
    });
}

/// Makes two pieces, and then panics.
struct Panicking(u8);

impl Producer for Panicking {
    fn more(&mut self) -> Result<Vec<u8>> {
        self.0 += 1;
        match self.0 {
            1 => Ok(b"one; ".to_vec()),
            2 => Ok(b"two; ".to_vec()),
            _ => panic!("no third"),
        }
    }
}

#[test]
fn what_a_producer_made_before_it_panicked_is_sent() {
    on_every_backend(|backend| {
        let builder = EventLoop::builder().backend(backend).catch_panics(true);
        let event_loop = &mut builder.build().unwrap();
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_error(|_, _| Ok(()));
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        let chat = event_loop.get_mut(id).unwrap();
        chat.push("before; ").unwrap();
        chat.push_with_producer(Panicking(0)).unwrap();
        chat.push("after").unwrap();
        chat.close_when_done();
        let heard = peer.hear_to_end(event_loop);
        assert_eq!(heard.escape_ascii().to_string(), "before; one; two; after");
        let error = "error: a handler panicked: no third";
        assert_eq!(records.events(), [error, "close"]);
    });
}

#[test]
fn the_out_buffer_size_is_how_much_is_taken_from_a_producer_at_once() {
    with_every_loop(|event_loop| {
        for (out_buffer_size, pieces) in [(None, 7), (Some(1), 1), (Some(25_000), 3)] {
            let made = Rc::new(Cell::new(0));
            let producer = {
                let made = Rc::clone(&made);
                IterProducer::new((0..100).map(move |_| {
                    made.set(made.get() + 1);
                    vec![b'x'; 10_000]
                }))
            };
            let (ours, _theirs) = full_stream();
            let mut chat = AsyncChat::new(ours, Recorder::silent()).unwrap();
            if let Some(bytes) = out_buffer_size {
                chat.set_out_buffer_size(bytes);
            }
            chat.push_with_producer(producer).unwrap();
            let id = event_loop.add(chat).unwrap();
            settle(event_loop);
            // So much was asked for, to be written; and no more, as nothing was.
            assert_eq!(made.get(), pieces, "{out_buffer_size:?}");
            assert_eq!(event_loop.get(id).unwrap().pending(), pieces * 10_000);
            event_loop.close(id).unwrap();
        }
    });
}

/// A socket that takes no byte more, and its other side.
fn full_stream() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    for size in [4096, 1] {
        while (&ours).write(&[b'x'; 4096][..size]).is_ok() {}
    }
    (ours, theirs)
}

#[test]
fn output_for_a_peer_that_is_gone_is_one_close_and_no_error() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, peer) = chat(event_loop, recorder, "\n");
        drop(peer);
        let chat = event_loop.get_mut(id).unwrap();
        chat.push(vec![0; MUCH]).unwrap();
        chat.push_with_producer(Failing(false)).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(records.events(), ["close"]);
    });
}
