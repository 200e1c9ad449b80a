//! The handlers of `chat_server`.

#[path = "../../examples/chat_server.rs"]
#[allow(dead_code, reason = "the program around the handlers")]
mod program;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::SEEDS;
use crate::checked::{Call, Checked};
use crate::speaker::{Manner, Speaker};
use crate::stage::{Connection, play};
use fdloop::sim::{Stream, World, for_seeds};
use fdloop::{AsyncChat, ChannelId, Dispatcher, Error, EventLoop, Result};
use program::{HELP, LINE_LIMIT, Member, Room};

const TIMEOUT: Duration = Duration::from_secs(60);
const NAMES: [&str; 3] = ["ann", "bob", "cyd"];

/// The calls of all members in their order: each with the index of the member.
type Calls = Rc<RefCell<Vec<(usize, Said)>>>;

/// A call of a member's handler.
enum Said {
    /// A line, or at the end of the input a part of one.
    Line(Vec<u8>),
    /// The end of the input.
    Ended,
    TooLong,
    /// The end of the channel, after an error or in order.
    Gone {
        failed: bool,
    },
}

/// The words of a member: its name and lines, the last of which may lack its end.
fn words(world: &World, nick: &str) -> String {
    let mut words = format!("{nick}\n");
    for number in 0..world.between(0..=8) {
        words += &match world.between(0..=19) {
            0 => "\n".to_owned(),
            1 => "/who\n".to_owned(),
            2 => "/nonsense\n".to_owned(),
            3 => "/quit\n".to_owned(),
            4 => "x".repeat(LINE_LIMIT + world.between(1..=100) as usize) + "\n",
            _ => format!("line {number} of {nick}\n"),
        };
    }
    if world.chance(30) {
        words += "the last words";
    }
    words
}

/// The room as it must be.
#[derive(Default)]
struct Model {
    /// The members with a name in the order in which they came.
    inside: Vec<usize>,
    /// The members that have left, and are not gone yet.
    leaving: Vec<usize>,
    /// Those that are closed when their output is written: nothing more is sent to them.
    closing: Vec<usize>,
    /// The bytes of each one's input that were handled.
    handled: [usize; NAMES.len()],
}

impl Model {
    fn tell(&self, all: &mut [Connection], to: usize, line: &str) {
        if self.closing.contains(&to) {
            return;
        }
        all[to].due.extend_from_slice(line.as_bytes());
        all[to].due.push(b'\n');
    }

    fn announce(&self, all: &mut [Connection], except: usize, line: &str) {
        let others = self.inside.iter().filter(|to| **to != except);
        others.for_each(|to| self.tell(all, *to, line));
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.inside.iter().map(|index| NAMES[*index]).collect();
        names.join(", ")
    }

    /// Checks that a line is the next that a member has said.
    fn check_line(&mut self, all: &[Connection], of: usize, line: Option<&[u8]>) {
        let left = &all[of].speaker.words[self.handled[of]..];
        let end = left.iter().position(|byte| *byte == b'\n');
        let next = &left[..end.unwrap_or(left.len())];
        match line {
            Some(line) => assert_eq!(line, next, "{} has said something else", NAMES[of]),
            None => assert!(next.len() > LINE_LIMIT),
        }
        self.handled[of] += next.len() + usize::from(end.is_some());
    }

    /// Does what a call of a member's handler must do.
    fn apply(&mut self, all: &mut [Connection], of: usize, said: Said) {
        match said {
            Said::Line(line) => {
                self.check_line(all, of, Some(&line));
                self.handle_line(all, of, &String::from_utf8(line).unwrap());
            }
            Said::Ended => self.closing.push(of),
            Said::TooLong => {
                self.check_line(all, of, None);
                self.tell(all, of, &format!("* a line has up to {LINE_LIMIT} bytes"));
            }
            Said::Gone { failed } => {
                all[of].has_failed = failed;
                let how = match failed {
                    true => "has lost the connection",
                    false => "has left",
                };
                self.leave(all, of, how);
            }
        }
    }

    fn handle_line(&mut self, all: &mut [Connection], of: usize, line: &str) {
        let nick = NAMES[of];
        if self.leaving.contains(&of) {
            return;
        }
        if !self.inside.contains(&of) {
            assert_eq!(line, nick);
            let hello = match self.names().as_str() {
                "" => format!("* hello {nick}, you are alone here"),
                names => format!("* hello {nick}, here are {names}"),
            };
            self.tell(all, of, &hello);
            self.tell(all, of, HELP);
            self.inside.push(of);
            return self.announce(all, of, &format!("* {nick} has joined"));
        }
        match line {
            "" => {}
            "/who" => self.tell(all, of, &format!("* here are {}", self.names())),
            "/nonsense" => self.tell(all, of, HELP),
            "/quit" => {
                self.leave(all, of, "has left");
                self.tell(all, of, "* goodbye");
                self.closing.push(of);
            }
            line => self.announce(all, of, &format!("{nick}: {line}")),
        }
    }

    fn leave(&mut self, all: &mut [Connection], of: usize, how: &str) {
        if self.inside.contains(&of) {
            self.inside.retain(|it| *it != of);
            self.leaving.push(of);
            self.announce(all, of, &format!("* {} {how}", NAMES[of]));
        }
    }
}

fn enter(
    event_loop: &mut EventLoop,
    room: ChannelId<Dispatcher<Room>>,
    stream: Stream,
    speaker: Speaker,
    tell: impl Fn(Said) + 'static,
) -> Result<Connection> {
    let (member, heard) = Checked::telling(Member::new(Some(room)), move |call| match call {
        Call::Piece(line) => tell(Said::Line(line.to_vec())),
        Call::Eof(rest) => {
            // The last line may lack its end.
            if !rest.is_empty() {
                tell(Said::Line(rest.to_vec()));
            }
            tell(Said::Ended);
        }
        Call::Error(Error::LineTooLong(_)) => tell(Said::TooLong),
        Call::Error(error) => panic!("{error}"),
        Call::Close(reason) => {
            assert!(reason.is_none_or(Error::is_disconnected), "{reason:?}");
            let failed = reason.is_some();
            tell(Said::Gone { failed });
        }
    });
    let mut id = None;
    event_loop.with(room, |room, event_loop| {
        let chat = AsyncChat::over(stream, member);
        id = Some(room.handler().open_door(event_loop, chat)?);
        Ok(())
    })?;
    let mut connection = Connection::new(speaker, heard, id.unwrap());
    connection.due = b"* welcome; what is your nickname?\n".to_vec();
    Ok(connection)
}

#[test]
fn chat_server_tells_everybody_every_line_in_the_same_order() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let room = Dispatcher::over(world.pair().0, Room::new(Some(TIMEOUT)));
        let room = event_loop.add_background(room)?;
        let calls = Calls::default();
        let mut members = Vec::new();
        let words = NAMES.map(|nick| words(world, nick));
        for (index, words) in words.iter().enumerate() {
            let (stream, peer) = world.pair();
            peer.set_room(world.between(20..=5_000) as usize);
            peer.set_pieces(1..=world.between(5..=500) as usize);
            let speaker = Speaker::new(world, peer, words.clone().into_bytes());
            let calls = Rc::clone(&calls);
            let tell = move |said| calls.borrow_mut().push((index, said));
            members.push(enter(&mut event_loop, room, stream, speaker, tell)?);
        }
        let mut model = Model::default();
        play(
            world,
            &mut event_loop,
            &mut members,
            |event_loop| event_loop.len() == 1,
            |_, members| {
                for (index, said) in calls.take() {
                    model.apply(members, index, said);
                }
            },
        )?;
        for (index, member) in members.iter().enumerate() {
            // Input after a farewell need not be handled.
            let quits = words[index].contains("/quit\n");
            if member.speaker.manner == Manner::HalfCloses && !quits {
                assert_eq!(model.handled[index], words[index].len());
            }
        }
        Ok(())
    })
    .unwrap();
}
