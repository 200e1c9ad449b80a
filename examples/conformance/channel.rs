//! Channels of any kind, before they are added to the loop and afterwards.

use std::rc::Rc;

use fdloop::{
    AsyncChat, ChannelId, Dispatcher, DispatcherWithSend, Endpoint, EventLoop, FileDispatcher,
    Result, Socket,
};

use crate::actor::Actor;
use crate::performer::Performer;
use crate::scenario::Kind;

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
