//! The handler of every channel. It records the events, and does what the scenario says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fdloop::{
    Address, AsyncChat, ChannelId, ChatHandler, ChatIo, Dispatcher, DispatcherWithSend, Endpoint,
    Error, EventLoop, FileDispatcher, Handler, Io, Level, Producer, Result, Socket, View,
};

use crate::scenario::{Action, Behaviour, Kind, On, Reaction};
use crate::trace::{Data, Trace};

/// Where a channel of each kind is.
#[derive(Clone, Copy)]
pub enum Id {
    Plain(ChannelId<Dispatcher<Actor>>),
    WithSend(ChannelId<DispatcherWithSend<Actor>>),
    File(ChannelId<FileDispatcher<Actor>>),
    Chat(ChannelId<AsyncChat<Actor>>),
    /// Nowhere: it failed to connect, or closed at its start.
    Gone,
}

/// The state that all actors share.
#[derive(Default)]
pub struct Cast {
    pub trace: Trace,
    pub channels: BTreeMap<String, Id>,
}

pub type SharedCast = Rc<RefCell<Cast>>;

pub struct Actor {
    cast: SharedCast,
    name: String,
    behaviour: Behaviour,
    children: usize,
    /// The number of terminators found so far.
    found: usize,
}

impl Actor {
    pub fn new(cast: &SharedCast, name: &str, behaviour: Behaviour) -> Self {
        Self {
            cast: Rc::clone(cast),
            name: name.to_owned(),
            behaviour,
            children: 0,
            found: 0,
        }
    }

    fn note(&self, event: &'static str) {
        self.cast.borrow_mut().trace.add(&self.name, event, None);
    }

    fn note_bytes(&self, event: &'static str, bytes: &[u8]) {
        if !bytes.is_empty() {
            let data = Some(Data::Bytes(bytes.to_vec()));
            self.cast.borrow_mut().trace.add(&self.name, event, data);
        }
    }

    fn note_log(&self, message: &str, level: Level) {
        let text = match level {
            Level::Error => "error".to_owned(),
            Level::Warn => format!("warning: {message}"),
            level => format!("{}: {message}", level.as_str().to_lowercase()),
        };
        let data = Some(Data::Text(text));
        self.cast.borrow_mut().trace.add(&self.name, "log", data);
    }

    /// Does what the scenario says for `event`. Returns true if that is the default.
    fn react(&mut self, endpoint: &mut Endpoint, event: On) -> Result<bool> {
        match self.behaviour.on(event) {
            Reaction::Nothing => {}
            Reaction::Default => return Ok(true),
            Reaction::Close => endpoint.close(),
            Reaction::Raise => return Err(Error::other("the scenario says so")),
            Reaction::Exit => return Err(Error::ExitNow),
            Reaction::Recv(size) => drop(self.receive(endpoint, size)?),
            Reaction::Echo(size) => {
                let data = self.receive(endpoint, size)?;
                if !data.is_empty() {
                    endpoint.send(&data)?;
                }
            }
            Reaction::Send(data) => drop(endpoint.send(&data)?),
            Reaction::Oob => {
                let mut buf = [0; 16];
                let n = endpoint.recv_oob(&mut buf)?;
                self.note_bytes("oob", &buf[..n]);
            }
        }
        Ok(false)
    }

    fn receive(&mut self, endpoint: &mut Endpoint, size: usize) -> Result<Vec<u8>> {
        let mut data = vec![0; size];
        let n = endpoint.recv(&mut data)?;
        data.truncate(n);
        self.note_bytes("recv", &data);
        Ok(data)
    }

    /// Handles an accepted connection. Returns the socket if the scenario leaves it to the default.
    fn adopt(&mut self, event_loop: &mut EventLoop, socket: Socket) -> Result<Option<Socket>> {
        self.note("handle_accepted");
        let Some(child) = self.behaviour.child.clone() else {
            return Ok(Some(socket));
        };
        self.children += 1;
        let name = format!("{}.{}", self.name, self.children);
        let actor = Self::new(&self.cast, &name, *child);
        let mut channel = Channel::connected(actor, socket)?;
        channel.begin()?;
        channel.add(event_loop)?;
        Ok(None)
    }
}

impl Handler for Actor {
    fn readable(&self, _: &View<'_>) -> bool {
        self.behaviour.readable
    }

    fn writable(&self, io: &View<'_>) -> bool {
        if io.is_buffered() {
            return io.writable();
        }
        self.behaviour.writable
    }

    fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.note("handle_connect");
        if self.react(io, On::Connect)? {
            Handler::handle_connect(&mut Default(self), io)?;
        }
        Ok(())
    }

    fn handle_accept(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.note("handle_accept");
        if self.react(io, On::Accept)? {
            Handler::handle_accept(&mut Default(self), io)?;
        }
        Ok(())
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.note("handle_read");
        if self.react(io, On::Read)? {
            Default(self).handle_read(io)?;
        }
        Ok(())
    }

    fn handle_write(&mut self, io: &mut Io<'_>) -> Result<()> {
        // A channel with a buffer writes by itself, which is not recorded.
        if io.is_buffered() {
            return Default(self).handle_write(io);
        }
        self.note("handle_write");
        if self.react(io, On::Write)? {
            Default(self).handle_write(io)?;
        }
        Ok(())
    }

    fn handle_expt(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.note("handle_expt");
        if self.react(io, On::Expt)? {
            Handler::handle_expt(&mut Default(self), io)?;
        }
        Ok(())
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        self.note("handle_error");
        if self.react(io, On::Error)? {
            Handler::handle_error(&mut Default(self), io, error)?;
        }
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.note("handle_close");
        if self.react(io, On::Close)? {
            Handler::handle_close(&mut Default(self), io)?;
        }
        Ok(())
    }
}

impl ChatHandler for Actor {
    fn collect_incoming_data(&mut self, _: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        self.note_bytes("collect", data);
        Ok(())
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("found_terminator");
        let actions = self.behaviour.script.get(self.found).cloned();
        for action in actions.unwrap_or_default() {
            OnStage { actor: self, io }.perform(action)?;
        }
        self.found += 1;
        Ok(())
    }

    fn readable(&self, _: &View<'_>) -> bool {
        self.behaviour.readable
    }

    fn handle_connect(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("handle_connect");
        if self.react(io, On::Connect)? {
            ChatHandler::handle_connect(&mut Default(self), io)?;
        }
        Ok(())
    }

    fn handle_accept(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("handle_accept");
        if self.react(io, On::Accept)? {
            ChatHandler::handle_accept(&mut Default(self), io)?;
        }
        Ok(())
    }

    fn handle_expt(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("handle_expt");
        if self.react(io, On::Expt)? {
            ChatHandler::handle_expt(&mut Default(self), io)?;
        }
        Ok(())
    }

    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        self.note("handle_error");
        if self.react(io, On::Error)? {
            ChatHandler::handle_error(&mut Default(self), io, error)?;
        }
        Ok(())
    }

    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("handle_close");
        if self.react(io, On::Close)? {
            ChatHandler::handle_close(&mut Default(self), io)?;
        }
        Ok(())
    }
}

/// An actor for the scenario's "default": it overrides only the log and `handle_accepted`.
struct Default<'a>(&'a mut Actor);

impl Handler for Default<'_> {
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, peer: Address) -> Result<()> {
        if let Some(socket) = self.0.adopt(io.event_loop(), socket)? {
            Handler::handle_accepted(&mut Unaccepted(self.0), io, socket, peer)?;
        }
        Ok(())
    }

    fn log_info(&mut self, _: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        self.0.note_log(message, level);
        Ok(())
    }
}

impl ChatHandler for Default<'_> {
    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }

    fn handle_accepted(
        &mut self,
        io: &mut ChatIo<'_>,
        socket: Socket,
        peer: Address,
    ) -> Result<()> {
        if let Some(socket) = self.0.adopt(io.event_loop(), socket)? {
            Handler::handle_accepted(&mut Unaccepted(self.0), io, socket, peer)?;
        }
        Ok(())
    }

    fn log_info(&mut self, _: &mut ChatIo<'_>, message: &str, level: Level) -> Result<()> {
        self.0.note_log(message, level);
        Ok(())
    }
}

/// Such an actor for a listener that accepts nothing either.
struct Unaccepted<'a>(&'a Actor);

impl Handler for Unaccepted<'_> {
    fn log_info(&mut self, _: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        self.0.note_log(message, level);
        Ok(())
    }
}

/// A producer of some pieces. It ends at the first empty one.
struct Pieces(std::vec::IntoIter<Vec<u8>>);

impl Producer for Pieces {
    fn more(&mut self) -> Result<Vec<u8>> {
        Ok(self.0.next().unwrap_or_default())
    }
}

/// The target of actions: a channel, or a chat whose handler runs.
pub trait Performer {
    fn actor(&mut self) -> &mut Actor;
    fn endpoint(&mut self) -> &mut Endpoint;

    /// Performs an action that only a chat has.
    fn perform_chat(&mut self, action: Action) -> Result<()> {
        let _ = action;
        Err(Error::other("only a chat can do that"))
    }

    fn perform(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Send(data) => self.endpoint().send(&data).map(drop),
            Action::Close => {
                self.endpoint().close();
                Ok(())
            }
            Action::Behave(changes) => {
                self.actor().behaviour.change(changes);
                Ok(())
            }
            action => self.perform_chat(action),
        }
    }
}

impl Performer for Dispatcher<Actor> {
    fn actor(&mut self) -> &mut Actor {
        self.handler_mut()
    }
    fn endpoint(&mut self) -> &mut Endpoint {
        self
    }
}

impl Performer for AsyncChat<Actor> {
    fn actor(&mut self) -> &mut Actor {
        self.handler_mut()
    }
    fn endpoint(&mut self) -> &mut Endpoint {
        self
    }
    fn perform_chat(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Push(data) => self.push(data)?,
            Action::Produce(pieces) => self.push_with_producer(Pieces(pieces.into_iter()))?,
            Action::SetTerminator(terminator) => self.set_terminator(terminator),
            Action::CloseWhenDone => self.close_when_done(),
            _ => self.discard_buffers(),
        }
        Ok(())
    }
}

/// A chat whose handler runs.
struct OnStage<'a, 'b> {
    actor: &'a mut Actor,
    io: &'a mut ChatIo<'b>,
}

impl Performer for OnStage<'_, '_> {
    fn actor(&mut self) -> &mut Actor {
        self.actor
    }
    fn endpoint(&mut self) -> &mut Endpoint {
        self.io
    }
    fn perform_chat(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Push(data) => self.io.push(data)?,
            Action::Produce(pieces) => self.io.push_with_producer(Pieces(pieces.into_iter()))?,
            Action::SetTerminator(terminator) => self.io.set_terminator(terminator),
            Action::CloseWhenDone => self.io.close_when_done(),
            _ => self.io.discard_buffers(),
        }
        Ok(())
    }
}

/// A channel of any kind, before it is added to the loop.
pub enum Channel {
    Plain(Dispatcher<Actor>),
    WithSend(DispatcherWithSend<Actor>),
    File(FileDispatcher<Actor>),
    Chat(AsyncChat<Actor>),
}

impl Channel {
    /// A channel without a socket.
    pub fn unconnected(actor: Actor) -> Self {
        match actor.behaviour.kind {
            Kind::Dispatcher => Self::Plain(Dispatcher::unconnected(actor)),
            Kind::WithSend => Self::WithSend(DispatcherWithSend::unconnected(actor)),
            Kind::Chat => Self::chat(AsyncChat::unconnected(actor)),
        }
    }

    /// A channel over a socket that is connected.
    pub fn connected(actor: Actor, socket: Socket) -> Result<Self> {
        Ok(match actor.behaviour.kind {
            Kind::Dispatcher => Self::Plain(Dispatcher::new(socket, actor)?),
            Kind::WithSend => Self::WithSend(DispatcherWithSend::new(socket, actor)?),
            Kind::Chat => Self::chat(AsyncChat::new(socket, actor)?),
        })
    }

    fn chat(mut chat: AsyncChat<Actor>) -> Self {
        let terminator = chat.handler().behaviour.terminator.clone();
        chat.set_terminator(terminator);
        // asynchat has none.
        chat.set_limit(None);
        Self::Chat(chat)
    }

    pub fn performer(&mut self) -> &mut dyn Performer {
        match self {
            Self::Plain(channel) => channel,
            Self::WithSend(channel) => &mut **channel,
            Self::File(channel) => &mut **channel,
            Self::Chat(channel) => channel,
        }
    }

    /// Performs the actions of the channel's start.
    pub fn begin(&mut self) -> Result<()> {
        let performer = self.performer();
        for action in performer.actor().behaviour.at_start.clone() {
            if performer.endpoint().is_closed() {
                break;
            }
            performer.perform(action)?;
        }
        Ok(())
    }

    /// Adds the channel to the loop, under its name.
    pub fn add(mut self, event_loop: &mut EventLoop) -> Result<()> {
        let is_closed = self.performer().endpoint().is_closed();
        let actor = self.performer().actor();
        let (name, cast) = (actor.name.clone(), Rc::clone(&actor.cast));
        let id = match self {
            _ if is_closed => Id::Gone,
            Self::Plain(channel) => Id::Plain(event_loop.add(channel)?),
            Self::WithSend(channel) => Id::WithSend(event_loop.add(channel)?),
            Self::File(channel) => Id::File(event_loop.add(channel)?),
            Self::Chat(channel) => Id::Chat(event_loop.add(channel)?),
        };
        cast.borrow_mut().channels.insert(name, id);
        // The actions may have made something due, such as `handle_connect`.
        id.visit(event_loop, |_| Ok(()))
    }
}

impl Id {
    /// Calls `visit` with the channel, if it still exists.
    pub fn visit(
        self,
        event_loop: &mut EventLoop,
        visit: impl FnOnce(&mut dyn Performer) -> Result<()>,
    ) -> Result<()> {
        let visited = match self {
            Self::Plain(id) => event_loop.with(id, |channel, _| visit(channel)),
            Self::WithSend(id) => event_loop.with(id, |channel, _| visit(&mut **channel)),
            Self::File(id) => event_loop.with(id, |channel, _| visit(&mut **channel)),
            Self::Chat(id) => event_loop.with(id, |channel, _| visit(channel)),
            Self::Gone => Ok(()),
        };
        match visited {
            // It was closed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            visited => visited,
        }
    }

    /// Returns the channel's endpoint, if it still exists.
    pub fn endpoint(self, event_loop: &EventLoop) -> Option<&Endpoint> {
        Some(match self {
            Self::Plain(id) => event_loop.get(id)?,
            Self::WithSend(id) => event_loop.get(id)?,
            Self::File(id) => event_loop.get(id)?,
            Self::Chat(id) => event_loop.get(id)?,
            Self::Gone => return None,
        })
    }
}
