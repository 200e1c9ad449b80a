//! Chats whose terminators change with every piece, against a splitter of a few lines.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::SEEDS;
use crate::checked::{Checked, Heard};
use crate::speaker::{Manner, Speaker, arrived};
use crate::stage::run_checked;
use fdloop::sim::{End, World, for_seeds};
use fdloop::{AsyncChat, ChatHandler, ChatIo, Error, IterProducer, Result, Terminator, View};

/// The most pieces that end. What comes after them is collected.
const PIECES: usize = 60;

#[derive(Debug, Clone, Copy)]
enum Ends {
    With(&'static str),
    After(usize),
    Never,
}

impl Ends {
    fn terminator(self) -> Terminator {
        match self {
            Self::With(bytes) => bytes.into(),
            Self::After(count) => count.into(),
            Self::Never => Terminator::none(),
        }
    }
}

/// The action of the handler at the end of a piece, beside its reply.
#[derive(Debug, Clone, Copy)]
enum Act {
    Nothing,
    /// An error that `handle_error` takes.
    Fail,
    /// Another chat goes on.
    Replace,
    ReplaceAndFail,
    /// It does not read for a while.
    Pause,
    ReplyByProducer,
}

/// The state that the chats of a connection share.
struct Talk {
    plan: Vec<(Ends, Act)>,
    pieces: RefCell<Vec<Vec<u8>>>,
    tail: RefCell<Option<Vec<u8>>>,
    deaf: Cell<bool>,
    /// The calls of the chat that has the connection.
    heard: RefCell<Rc<Heard>>,
    pause: Duration,
}

impl Talk {
    fn new(world: &World) -> Rc<Self> {
        let ends = ["\n", "\r\n", "aab", "ab", "\r\n\r\n", "aaaa"].map(Ends::With);
        let acts = [Act::Fail, Act::Replace, Act::ReplaceAndFail, Act::Pause];
        let plan = (0..PIECES).map(|_| {
            let ends = match world.between(0..=29) {
                0 => Ends::Never,
                1..=9 => Ends::After(world.between(0..=30) as usize),
                _ => ends[world.between(0..=5) as usize],
            };
            let act = match world.between(0..=19) {
                choice @ 0..=3 => acts[choice as usize],
                4..=6 => Act::ReplyByProducer,
                _ => Act::Nothing,
            };
            (ends, act)
        });
        Rc::new(Self {
            plan: plan.collect(),
            pieces: RefCell::default(),
            tail: RefCell::default(),
            deaf: Cell::new(false),
            heard: RefCell::default(),
            pause: world.duration(Duration::ZERO..=Duration::from_secs(3)),
        })
    }

    /// Returns the terminator of the next piece.
    fn next(&self) -> Terminator {
        let ends = self.plan.get(self.pieces.borrow().len());
        ends.map_or(Ends::Never, |(ends, _)| *ends).terminator()
    }

    /// Returns the pieces of `input` and what is left of it.
    fn split<'i>(&self, mut input: &'i [u8]) -> (Vec<&'i [u8]>, &'i [u8]) {
        let mut pieces = Vec::new();
        for (ends, _) in &self.plan {
            let (length, with_end) = match *ends {
                Ends::With(bytes) => {
                    let mut places = input.windows(bytes.len());
                    match places.position(|place| place == bytes.as_bytes()) {
                        Some(at) => (at, at + bytes.len()),
                        None => break,
                    }
                }
                Ends::After(count) if count <= input.len() => (count, count),
                Ends::After(_) | Ends::Never => break,
            };
            pieces.push(&input[..length]);
            input = &input[with_end..];
        }
        (pieces, input)
    }
}

/// The reply to a piece.
fn reply(number: usize, piece: &[u8]) -> String {
    format!("{number}:{}\n", piece.len())
}

struct Talker(Rc<Talk>);

impl Talker {
    fn checked(talk: &Rc<Talk>) -> Checked<Self> {
        let (talker, heard) = Checked::new(Self(Rc::clone(talk)));
        talk.heard.replace(heard);
        talker
    }

    fn replace(&self, io: &mut ChatIo<'_>) -> Result<()> {
        let talk = Rc::clone(&self.0);
        let replaced = io.replace(move |connection, event_loop| {
            let terminator = talk.next();
            let mut chat = AsyncChat::from_connection(connection, Self::checked(&talk));
            chat.set_keep_unread(true);
            chat.set_terminator(terminator);
            event_loop.add(chat)?;
            Ok(())
        });
        // A connection that is lost cannot be left to another chat.
        match replaced {
            Err(e) if e.kind() == std::io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

impl ChatHandler for Talker {
    fn readable(&self, _: &View<'_>) -> bool {
        !self.0.deaf.get()
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let piece = io.take_data();
        let number = self.0.pieces.borrow().len();
        let act = self.0.plan[number].1;
        let reply = reply(number, &piece);
        self.0.pieces.borrow_mut().push(piece);
        io.set_terminator(self.0.next());
        match act {
            Act::ReplyByProducer => {
                let parts: Vec<_> = reply.bytes().map(|byte| vec![byte]).collect();
                return io.push_with_producer(IterProducer::new(parts));
            }
            _ => io.push(reply)?,
        }
        match act {
            Act::Nothing | Act::ReplyByProducer => {}
            Act::Fail => return Err(Error::other("of a piece")),
            Act::Replace => self.replace(io)?,
            Act::ReplaceAndFail => {
                self.replace(io)?;
                return Err(Error::other("of a piece"));
            }
            Act::Pause => {
                self.0.deaf.set(true);
                let (talk, pause) = (Rc::clone(&self.0), self.0.pause);
                io.event_loop().call_later(pause, move |_| {
                    talk.deaf.set(false);
                    Ok(())
                });
            }
        }
        Ok(())
    }

    fn handle_error(&mut self, _: &mut ChatIo<'_>, _: Error) -> Result<()> {
        Ok(())
    }

    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let tail = io.take_data();
        assert_eq!(self.0.tail.replace(Some(tail)), None, "the input ends once");
        io.close_after_eof();
        Ok(())
    }
}

#[test]
fn chats_cut_their_input_into_the_same_pieces_whatever_the_chunks() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let (stream, peer) = world.pair();
        peer.set_room(world.between(5..=600) as usize);
        peer.set_pieces(1..=world.between(1..=300) as usize);
        let talk = Talk::new(world);
        let mut chat = AsyncChat::over(stream, Talker::checked(&talk));
        chat.set_terminator(talk.next());
        // It is read after a pause even if a reply has failed.
        chat.set_keep_unread(true);
        chat.set_in_buffer_size(world.between(1..=200) as usize);
        event_loop.add(chat)?;
        let letters = b"aaaabb\r\r\n\n";
        let length = world.between(0..=500);
        let words: Vec<u8> = (0..length)
            .filter_map(|_| world.pick(letters).copied())
            .collect();
        let manner = match world.between(0..=9) {
            0..=6 => Manner::HalfCloses,
            7 => Manner::Closes,
            _ => Manner::Resets,
        };
        let speaker = Speaker::with_manner(world, peer, words.clone(), manner);
        run_checked(world, &mut event_loop, |_| {})?;

        let peer = &speaker.peer;
        let (due, rest) = talk.split(&words[..arrived(world, peer)]);
        let pieces = talk.pieces.borrow();
        if !pieces.iter().eq(&due) {
            let message = format!("{pieces:?} are not {due:?} of {:?}", talk.plan);
            return Err(message.into());
        }
        assert_eq!(talk.heard.borrow().closes(), 1);
        if manner == Manner::HalfCloses {
            assert_eq!(talk.tail.borrow().as_deref(), Some(rest));
            let replies = due.iter().enumerate();
            let replies: String = replies
                .map(|(number, piece)| reply(number, piece))
                .collect();
            assert_eq!(String::from_utf8(peer.received()).unwrap(), replies);
            assert_eq!(peer.end(), Some(End::InOrder));
        }
        Ok(())
    })
    .unwrap();
}
