//! The targets of actions.

use fdloop::{AsyncChat, ChatIo, Dispatcher, Endpoint, Error, Producer, Result};

use crate::actor::Actor;
use crate::scenario::Action;

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
pub struct OnStage<'a, 'b> {
    pub actor: &'a mut Actor,
    pub io: &'a mut ChatIo<'b>,
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
