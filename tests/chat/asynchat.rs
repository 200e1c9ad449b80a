//! asynchat's own tests, on every backend.

use std::cell::Cell;
use std::io::{Cursor, ErrorKind};
use std::rc::Rc;

use crate::common::chat::{Recorder, chat};
use crate::common::{Simulated, settle, turn_once, turn_until, turn_until_empty, with_every_loop};
use fdloop::{
    Address, AsyncChat, ChatHandler, ChatIo, EventLoop, IterProducer, Producer, ReadProducer,
    Readiness, Result, SimpleProducer, Socket, Terminator,
};

#[test]
fn terminators_of_one_two_and_three_bytes_are_found_however_the_input_is_chopped() {
    with_every_loop(|event_loop| {
        for terminator in ["\n", "\r\n", "qqq"] {
            for size in [1, 2, 3] {
                let (recorder, records) = Recorder::new();
                let (id, mut peer) = chat(event_loop, recorder, terminator);
                let chat = event_loop.get_mut(id).unwrap();
                chat.push("hello ").unwrap();
                chat.push(format!("world{terminator}")).unwrap();
                chat.push(format!("I'm not dead yet!{terminator}")).unwrap();
                let said = format!("hello world{terminator}I'm not dead yet!{terminator}");
                let heard = peer.hear(event_loop, said.len());
                assert_eq!(heard, said.as_bytes());

                peer.say_in_pieces(event_loop, &heard, size);
                assert_eq!(records.pieces(), ["hello world", "I\\'m not dead yet!"]);
                drop(peer);
                turn_until_empty(event_loop);
            }
        }
    });
}

#[test]
fn a_count_ends_one_piece_and_then_there_is_no_terminator() {
    with_every_loop(|event_loop| {
        for count in [1, 6] {
            let said = b"hello world, I'm not dead yet!\n";
            let (recorder, records) = Recorder::new();
            let (id, mut peer) = chat(event_loop, recorder, count);
            peer.say_in_pieces(event_loop, said, 4);
            let (piece, rest) = said.split_at(count);
            assert_eq!(records.pieces(), [piece.escape_ascii().to_string()]);
            assert_eq!(records.tail(), rest.escape_ascii().to_string());
            let terminator = event_loop.get(id).unwrap().get_terminator();
            assert_eq!(*terminator, Terminator::none());
            drop(peer);
            turn_until_empty(event_loop);
        }
    });
}

#[test]
fn what_is_left_of_a_count_can_be_asked_for() {
    with_every_loop(|event_loop| {
        let (id, mut peer) = chat(event_loop, Recorder::silent(), 10);
        peer.say_in_pieces(event_loop, b"1234567", 3);
        let terminator = event_loop.get(id).unwrap().get_terminator();
        assert_eq!(terminator.as_count(), Some(3));
        event_loop.close(id).unwrap();
    });
}

#[test]
fn without_a_terminator_everything_is_collected() {
    with_every_loop(|event_loop| {
        for none in [Terminator::none(), "".into(), None::<&str>.into()] {
            let (recorder, records) = Recorder::new();
            let (_, mut peer) = chat(event_loop, recorder, none);
            peer.say_in_pieces(event_loop, b"hello world\nI'm not dead yet!\n", 7);
            peer.end();
            turn_until_empty(event_loop);
            let all = "hello world\\nI\\'m not dead yet!\\n";
            assert_eq!(records.events(), [all, "eof", all, "close"]);
        }
    });
}

/// A producer of a test's own.
struct Countdown(u32);

impl Producer for Countdown {
    fn more(&mut self) -> Result<Vec<u8>> {
        if self.0 == 0 {
            return Ok(Vec::new());
        }
        self.0 -= 1;
        Ok(format!("{} ", self.0).into_bytes())
    }
}

#[test]
fn producers_of_every_kind_are_pushed() {
    let data = "hello world\nI'm not dead yet!\n";
    with_every_loop(|event_loop| {
        let (id, mut peer) = chat(event_loop, Recorder::silent(), "\n");
        let chat = event_loop.get_mut(id).unwrap();
        let simple = SimpleProducer::new(data).buffer_size(8);
        chat.push_with_producer(simple).unwrap();
        chat.push_with_producer(SimpleProducer::new(data)).unwrap();
        let lines = ["hello ", "", "world\n", "I'm not dead yet!\n"];
        chat.push_with_producer(IterProducer::new(lines)).unwrap();
        let reader = ReadProducer::new(Cursor::new(data)).buffer_size(5);
        chat.push_with_producer(reader).unwrap();
        chat.push_with_producer(Countdown(10)).unwrap();
        chat.push_with_producer(SimpleProducer::new("")).unwrap();
        chat.push("the end").unwrap();
        chat.close_when_done();
        let heard = peer.hear_to_end(event_loop);
        let expected = data.repeat(4) + "9 8 7 6 5 4 3 2 1 0 the end";
        assert_eq!(String::from_utf8(heard).unwrap(), expected);
    });
}

#[test]
fn an_empty_line_is_a_piece() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("hello world\n\nI'm not dead yet!\n");
        turn_once(event_loop);
        assert_eq!(records.pieces(), ["hello world", "", "I\\'m not dead yet!"]);
        peer.say("\n");
        turn_once(event_loop);
        peer.say("\n\n");
        turn_once(event_loop);
        assert_eq!(records.pieces()[3..], ["", "", ""]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn close_when_done_closes_behind_what_was_pushed() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        let chat = event_loop.get_mut(id).unwrap();
        chat.push("hello world\nI'm not dead yet!\n").unwrap();
        chat.close_when_done();
        assert!(!chat.is_closed());
        let heard = peer.hear_to_end(event_loop);
        assert_eq!(heard, b"hello world\nI'm not dead yet!\n");
        assert_eq!(records.events(), ["close"]);
    });
}

#[test]
fn another_channel_can_go_on_where_a_chat_ended() {
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, piece| {
            if piece == b"upgrade" {
                io.set_terminator("\0\0\0");
            }
            io.event_loop().stop();
            Ok(())
        });
        let (id, mut peer) = chat(event_loop, recorder, "\n");
        peer.say("upgrade\n\0\0");
        event_loop.run().unwrap();
        let mut chat = event_loop.remove(id).unwrap();
        // Held back, for it may be the beginning of a terminator.
        assert_eq!(chat.take_input(), b"\0\0");
        assert_eq!(chat.take_input(), b"");
        let (socket, _) = chat.into_parts();
        assert_eq!(records.events(), ["\"upgrade\""]);

        let (recorder, records) = Recorder::new();
        let mut chat = AsyncChat::new(socket.unwrap(), recorder).unwrap();
        chat.set_terminator("\n");
        let id = event_loop.add(chat).unwrap();
        peer.say("next\n");
        turn_once(event_loop);
        assert_eq!(records.events(), ["\"next\""]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_chat_may_listen() {
    /// Is the listener, and each connection.
    struct Both(Rc<Cell<usize>>);
    impl ChatHandler for Both {
        fn handle_accepted(
            &mut self,
            io: &mut ChatIo<'_>,
            socket: Socket,
            _: Address,
        ) -> Result<()> {
            let mut chat = AsyncChat::new(socket, Self(Rc::clone(&self.0)))?;
            chat.set_terminator("\n");
            io.event_loop().add(chat)?;
            io.close();
            Ok(())
        }

        fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let lines = Rc::default();
        let mut listener = AsyncChat::listen("127.0.0.1:0", Both(Rc::clone(&lines))).unwrap();
        assert!(listener.accepting());
        assert_eq!(
            listener.push("to nobody").unwrap_err().kind(),
            ErrorKind::NotConnected
        );
        let port = listener.local_addr().unwrap().port().unwrap();
        event_loop.add(listener).unwrap();
        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::io::Write::write_all(&mut client, b"one\ntwo\n").unwrap();
        drop(client);
        turn_until_empty(event_loop);
        assert_eq!(lines.get(), 2);
    });
}

#[test]
fn nothing_can_be_pushed() {
    with_every_loop(|event_loop| {
        let (id, mut peer) = chat(event_loop, Recorder::silent(), "\n");
        for _ in 0..2 {
            let chat = event_loop.get_mut(id).unwrap();
            chat.push("").unwrap();
            chat.push(Vec::new()).unwrap();
            assert_eq!(chat.pending(), 0);
            assert!(!chat.writable(), "nothing waits");
            settle(event_loop);
        }
        let chat = event_loop.get_mut(id).unwrap();
        chat.push("some").unwrap();
        chat.push("").unwrap();
        chat.push("thing").unwrap();
        chat.close_when_done();
        assert_eq!(peer.hear_to_end(event_loop), b"something");
    });
}

#[test]
fn what_may_begin_a_terminator_is_held_back_and_nothing_else() {
    with_every_loop(|event_loop| {
        for (terminator, said, collected) in [
            ("\r\n", "qwerty\r", "qwerty"),
            ("\r\n", "qwertydkjf", "qwertydkjf"),
            ("\r\n", "\r", ""),
            ("\r\n", "\r\r", "\r"),
            ("aab", "aaaa", "aa"),
            ("abab", "xaba", "x"),
            ("abab", "xabb", "xabb"),
            ("abcabd", "abcabcab", "abc"),
        ] {
            let (recorder, records) = Recorder::new();
            let (id, mut peer) = chat(event_loop, recorder, terminator);
            peer.say(said);
            turn_once(event_loop);
            let collected = collected.escape_default().to_string();
            assert_eq!(records.tail(), collected, "{said:?} {terminator:?}");
            // The rest of it is all that lacks.
            let held = said.len() - records.bytes.get();
            assert!(terminator.starts_with(&said[said.len() - held..]));
            peer.say(&terminator[held..]);
            turn_once(event_loop);
            assert_eq!(records.pieces(), [collected], "{said:?} {terminator:?}");
            event_loop.close(id).unwrap();
        }
    });
}

#[test]
fn readiness_that_was_only_a_hint_is_no_error() {
    let (ours, _theirs) = Socket::pair().unwrap();
    let (recorder, records) = Recorder::new();
    let chat = AsyncChat::new(ours, recorder).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&chat);
    let poller = Simulated::once(fd, Readiness::READABLE | Readiness::WRITABLE);
    let mut event_loop = EventLoop::with_poller(poller);
    event_loop.add(chat).unwrap();
    settle(&mut event_loop);
    assert_eq!(records.events(), [""; 0]);
    assert_eq!(event_loop.len(), 1);
}

#[test]
fn discard_buffers_forgets_input_and_output_and_the_chat_goes_on() {
    with_every_loop(|event_loop| {
        struct Discards;
        impl ChatHandler for Discards {
            fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
                let line = io.take_data();
                io.push(line)?;
                io.push(";")
            }
        }
        let (id, mut peer) = chat(event_loop, Discards, "\r\n");
        peer.say("begun\r");
        turn_once(event_loop);
        let chat = event_loop.get_mut(id).unwrap();
        // More than there is room for.
        chat.push(vec![b'x'; 16 << 20]).unwrap();
        chat.push_with_producer(SimpleProducer::new("nor this"))
            .unwrap();
        chat.close_when_done();
        chat.discard_buffers();
        assert_eq!(chat.pending(), 0);
        // Neither what was collected nor what was held back is left.
        peer.say("\nwhole\r\n");
        let mut heard = Vec::new();
        while !heard.ends_with(b";") {
            heard.extend(peer.hear(event_loop, 1));
        }
        assert!(heard.len() < 16 << 20);
        let heard = String::from_utf8(heard).unwrap();
        assert_eq!(heard.trim_start_matches('x'), "\nwhole;");
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_chat_can_connect_and_push_before_the_connection_stands() {
    with_every_loop(|event_loop| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_connect(|io| io.push("world\n"));
        let address = listener.local_addr().unwrap();
        let mut chat = AsyncChat::connect(address, recorder).unwrap();
        chat.set_terminator("\n");
        chat.push("hello ").unwrap();
        let id = event_loop.add(chat).unwrap();
        turn_until(event_loop, "it connects", || records.heard("connect"));
        turn_until(event_loop, "all is sent", || true);
        let (mut server, _) = listener.accept().unwrap();
        let mut heard = [0; 12];
        settle(event_loop);
        std::io::Read::read_exact(&mut server, &mut heard).unwrap();
        assert_eq!(&heard, b"hello world\n");
        event_loop.close(id).unwrap();
    });
}
