//! The handler of every channel. It records the events, and does what the scenario says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fdloop::{
    Address, ChatHandler, ChatIo, Endpoint, Error, EventLoop, Handler, Io, Level, Result, Socket,
    View,
};

use crate::channel::{Channel, Id};
use crate::performer::{OnStage, Performer};
use crate::scenario::{Behaviour, On, Reaction};
use crate::trace::{Data, Trace};

/// The state that all actors share.
#[derive(Default)]
pub struct Cast {
    pub trace: Trace,
    pub channels: BTreeMap<String, Id>,
}

pub type SharedCast = Rc<RefCell<Cast>>;

pub struct Actor {
    pub cast: SharedCast,
    pub name: String,
    pub behaviour: Behaviour,
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
