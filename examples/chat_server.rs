//! A chat room: each line that a member sends goes to all others.
//!
//! Each connection is an [`AsyncChat`] that cuts its input into lines. The listener's handler is
//! the room. It keeps the [`AnyId`] of each member, and each member has the listener's [`ChannelId`],
//! so that handlers reach each other through the loop.
//!
//! - A member that does not read would make its pending output grow without bound. It is dropped
//!   at a limit, and the others go on.
//! - A line that is too long is refused as soon as its length is known, and takes no memory.
//! - Control characters in a line are escaped, since the terminals of the others would obey them.
//!
//! Try it, from as many terminals as you like:
//!
//! ```text
//! cargo run --example chat_server &
//! nc 127.0.0.1 8080
//! ```

mod common;

use std::process::ExitCode;
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{
    Address, AnyId, AsyncChat, ChannelId, ChatHandler, ChatIo, Dispatcher, Endpoint, Error,
    EventLoop, Handler, Io, Result, Socket,
};

const USAGE: &str = "\
usage: chat_server [--backend select|poll|epoll] [--timeout SECONDS] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default
  SECONDS is how long a connection may be silent both ways; for ever by default";

pub(crate) const HELP: &str =
    "* /who lists the members, /nick NAME changes your name, /quit leaves";

/// The limit of a member's pending output, in bytes, at which it is dropped.
pub(crate) const PENDING_LIMIT: usize = 256 * 1024;

/// The limit of the length of a line, in bytes.
pub(crate) const LINE_LIMIT: usize = 1024;

/// The limit of the length of a nickname.
const NICK_LIMIT: usize = 16;

/// The number of bytes received from a member at once. It is small, so that a burst of lines is
/// written to the others before more is received.
const IN_BUFFER_SIZE: usize = 4096;

type RoomId = ChannelId<Dispatcher<Room>>;

/// The listener's handler: the room and its members.
pub(crate) struct Room {
    /// In the order in which they came.
    members: Vec<(String, AnyId)>,
    timeout: Option<Duration>,
}

impl Room {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let members = Vec::new();
        Self { members, timeout }
    }

    fn has(&self, nick: &str) -> bool {
        let mut nicks = self.members.iter().map(|(nick, _)| nick);
        nicks.any(|taken| taken.eq_ignore_ascii_case(nick))
    }

    fn nicks(&self) -> Vec<&str> {
        self.members.iter().map(|(nick, _)| nick.as_str()).collect()
    }

    /// Lets a connection in. The tests do so without a socket, and with a handler around a member.
    pub(crate) fn open_door<H: ChatHandler + 'static>(
        &self,
        event_loop: &mut EventLoop,
        mut chat: AsyncChat<H>,
    ) -> Result<AnyId> {
        chat.set_terminator("\n");
        chat.set_limit(LINE_LIMIT);
        chat.set_in_buffer_size(IN_BUFFER_SIZE);
        chat.set_timeout(self.timeout);
        chat.push("* welcome; what is your nickname?\n")?;
        Ok(event_loop.add(chat)?.into())
    }
}

impl Handler for Room {
    // An error here costs one connection and is logged.
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        // The channel whose handler runs is the listener.
        let member = Member::new(io.event_loop().serving());
        self.open_door(io.event_loop(), AsyncChat::new(socket, member)?)?;
        Ok(())
    }
}

/// A connection.
pub(crate) struct Member {
    room: Option<RoomId>,
    stage: Stage,
}

enum Stage {
    /// It has no name yet, and is not in the room.
    Nameless,
    /// It is in the room, under this name.
    Named(String),
    /// It has left the room, and its pending output is still written.
    Leaving,
}

impl Member {
    pub(crate) fn new(room: Option<RoomId>) -> Self {
        let stage = Stage::Nameless;
        Self { room, stage }
    }

    /// Returns the room, which exists as long as the program serves.
    fn room<'a>(&self, io: &'a mut ChatIo<'_>) -> Option<&'a mut Room> {
        let listener = io.event_loop().get_mut(self.room?)?;
        Some(listener.handler_mut())
    }

    /// Sends a line to all members but this one. (While its handler runs, its own channel is not in
    /// the loop's map.)
    fn announce(&self, io: &mut ChatIo<'_>, line: &str) {
        let Some(room) = self.room(io) else { return };
        let ids: Vec<_> = room.members.iter().map(|(_, id)| *id).collect();
        for id in ids {
            if let Some(member) = io.event_loop().endpoint_mut(id) {
                tell(member, line);
            }
        }
    }

    /// Handles the name that a nameless member has sent.
    fn enter(&mut self, io: &mut ChatIo<'_>, nick: String) {
        if let Err(objection) = self.may_be_called(io, &nick) {
            return tell(io, &format!("{objection}; what is your nickname?"));
        }
        let id = io.id();
        let Some(room) = self.room(io) else { return };
        let others = room.nicks().join(", ");
        room.members.push((nick.clone(), id));
        match others.as_str() {
            "" => tell(io, &format!("* hello {nick}, you are alone here")),
            _ => tell(io, &format!("* hello {nick}, here are {others}")),
        }
        tell(io, HELP);
        self.announce(io, &format!("* {nick} has joined"));
        self.stage = Stage::Named(nick);
    }

    /// Checks a name. The error is the objection to it, to which the caller adds what to do.
    fn may_be_called(&self, io: &mut ChatIo<'_>, nick: &str) -> Result<(), String> {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if nick.is_empty() || nick.len() > NICK_LIMIT || !nick.chars().all(valid) {
            return Err(format!(
                "* a nickname has up to {NICK_LIMIT} letters, digits, - and _"
            ));
        }
        match self.room(io) {
            Some(room) if room.has(nick) => Err(format!("* there is a {nick} already")),
            _ => Ok(()),
        }
    }

    /// Handles a line of a member.
    fn handle_line(&mut self, io: &mut ChatIo<'_>, nick: &str, line: &str) {
        let Some(command) = line.strip_prefix('/') else {
            return self.announce(io, &format!("{nick}: {line}"));
        };
        match command.split_once(' ').unwrap_or((command, "")) {
            ("who", _) => {
                let nicks = self.room(io).map(|room| room.nicks().join(", "));
                tell(io, &format!("* here are {}", nicks.unwrap_or_default()));
            }
            ("nick", new) => self.rename(io, nick, new.trim()),
            ("quit", _) => {
                self.leave(io, "has left");
                tell(io, "* goodbye");
                io.close_when_done();
            }
            _ => tell(io, HELP),
        }
    }

    fn rename(&mut self, io: &mut ChatIo<'_>, old: &str, new: &str) {
        // A change of case alone does not clash.
        if !old.eq_ignore_ascii_case(new) {
            if let Err(objection) = self.may_be_called(io, new) {
                // Not as a question: its reply would be sent to the room.
                return tell(io, &format!("{objection}; say /nick NAME"));
            }
        }
        let id = io.id();
        if let Some(room) = self.room(io) {
            if let Some(entry) = room.members.iter_mut().find(|(_, of)| *of == id) {
                entry.0 = new.to_owned();
            }
        }
        tell(io, &format!("* you are {new} now"));
        self.announce(io, &format!("* {old} is {new} now"));
        self.stage = Stage::Named(new.to_owned());
    }

    /// Leaves the room, if it is in there.
    fn leave(&mut self, io: &mut ChatIo<'_>, how: &str) {
        let id = io.id();
        let stage = std::mem::replace(&mut self.stage, Stage::Leaving);
        if let Stage::Named(nick) = stage {
            if let Some(room) = self.room(io) {
                room.members.retain(|(_, of)| *of != id);
            }
            self.announce(io, &format!("* {nick} {how}"));
        }
    }
}

impl ChatHandler for Member {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let line = text(io.take_data().trim_ascii());
        let line = line.trim();
        match &self.stage {
            Stage::Nameless => self.enter(io, line.to_owned()),
            Stage::Named(_) if line.is_empty() => {}
            Stage::Named(nick) => {
                let nick = nick.clone();
                self.handle_line(io, &nick, line);
            }
            // What it sent before it read the farewell.
            Stage::Leaving => {}
        }
        Ok(())
    }

    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        // The last line may lack its end.
        if !io.data().is_empty() {
            self.found_terminator(io)?;
        }
        io.close_after_eof();
        Ok(())
    }

    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        match error {
            // The rest of the line is dropped, and the next line is handled again.
            Error::LineTooLong(limit) => {
                tell(io, &format!("* a line has up to {limit} bytes"));
            }
            // The member cannot be served. The others get the reason.
            error => io.fail(error),
        }
        Ok(())
    }

    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let how = match io.reason() {
            Some(reason) if reason.is_disconnected() => "has lost the connection".to_owned(),
            Some(reason) => format!("was dropped: {reason}"),
            None => "has left".to_owned(),
        };
        self.leave(io, &how);
        Ok(())
    }
}

/// Sends a line to a member, or drops the member if it does not read.
fn tell(member: &mut Endpoint, line: &str) {
    if member.will_close() {
        // It leaves. Nothing is buffered any more, so that the line might be cut.
        return;
    }
    if let Err(error) = try_to_tell(member, line) {
        // The member may be another than the one whose handler runs.
        member.fail(error);
    }
}

fn try_to_tell(member: &mut Endpoint, line: &str) -> Result<()> {
    if member.pending() > PENDING_LIMIT {
        // All of it may have been sent since the last wait. There may be room for it.
        member.flush()?;
    }
    if member.pending() > PENDING_LIMIT {
        return Err(Error::other("does not read"));
    }
    member.send(line.as_bytes())?;
    member.send(b"\n")?;
    Ok(())
}

/// Returns a line as text that can be shown on any terminal.
fn text(line: &[u8]) -> String {
    let line = line
        .iter()
        .map(|byte| if *byte == b'\t' { b' ' } else { *byte });
    common::escaped(&line.collect::<Vec<u8>>())
}

fn main() -> ExitCode {
    common::main(USAGE, &["--backend", "--timeout"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let timeout = arguments.timeout()?;
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    common::serve(backend, &addresses, Room::new(timeout))
}
