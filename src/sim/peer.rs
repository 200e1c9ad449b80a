//! The side of a connection that a test plays.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::World;
use super::side::{Fate, Side};
use super::state::{SideId, State};
use super::trace::What;

/// The side of a simulated connection that a test plays. [`World::pair`] makes it with the
/// [`Stream`](super::Stream) of the handler under test.
///
/// The actions of a peer take effect at the other side later: the connection carries data in
/// pieces, each with a delay. The seed decides the length of the pieces, the delay and the room of
/// each connection, unless the test sets them. Everything arrives in the order in which it was
/// sent.
///
/// A clone is the same peer. Dropping a peer does not close it.
#[derive(Clone)]
pub struct Peer {
    world: World,
    id: SideId,
}

/// The end of a connection, as a [`Peer`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The other side has ended its output, or closed in order, and everything that it sent was
    /// received.
    InOrder,
    /// A reset has arrived.
    Reset,
}

impl Peer {
    pub(super) fn new(world: World, id: SideId) -> Self {
        Self { world, id }
    }

    fn with<R>(&self, act: impl FnOnce(&mut State, SideId) -> R) -> R {
        act(&mut self.world.state(), self.id)
    }

    fn get<R>(&self, get: impl FnOnce(&Side) -> R) -> R {
        self.with(|state, id| get(state.side(id)))
    }

    /// Returns the connection, as the [trace](World::trace) numbers it.
    #[must_use]
    pub fn connection(&self) -> usize {
        self.id / 2
    }

    /// Sends `data`, of any length: bytes that the other side has no room for wait. Does nothing
    /// after the end of the output, or on a lost connection.
    pub fn send(&self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        self.with(|state, id| {
            let side = state.side_mut(id);
            if side.fate == Fate::Whole && side.output == super::side::Output::Open {
                side.outbox.extend(data);
                state.note(id, What::Sent(data.len()));
                state.pump(id);
            }
        });
    }

    /// Ends the output after everything that was sent (half-close), and goes on reading.
    pub fn shutdown(&self) {
        self.with(State::end_output);
    }

    /// Closes in order, after everything that was sent. If data is unread, or arrives later, the
    /// connection is reset.
    pub fn close(&self) {
        self.with(State::close);
    }

    /// Resets the connection, after the data that is under way. Data that waits for room is
    /// discarded.
    pub fn reset(&self) {
        self.with(|state, id| {
            state.side_mut(id).resets = true;
            state.close(id);
        });
    }

    /// Stops reading: data that arrives is not received, and takes up room.
    pub fn pause(&self) {
        self.with(|state, id| state.side_mut(id).reads = false);
    }

    /// Reads at most `most` bytes of the data that has arrived while the peer was
    /// [paused](Peer::pause).
    pub fn read(&self, most: usize) {
        self.with(|state, id| {
            let side = state.side_mut(id);
            let n = side.inbox.len().min(most);
            side.received.extend(side.inbox.drain(..n));
            state.pump(id ^ 1);
        });
    }

    /// Ends a [`pause`](Peer::pause): the peer reads everything that has arrived or arrives later.
    pub fn resume(&self) {
        self.with(|state, id| state.side_mut(id).reads = true);
        self.read(usize::MAX);
    }

    /// Returns everything that the peer has received.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        self.get(|side| side.received.clone())
    }

    /// Takes the data that the peer has received since the last call.
    #[must_use]
    pub fn take_received(&self) -> Vec<u8> {
        self.with(|state, id| std::mem::take(&mut state.side_mut(id).received))
    }

    /// Returns the end of the connection for the peer, if it has ended.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.get(|side| match side.fate {
            Fate::Whole if side.input_ended && side.inbox.is_empty() => Some(End::InOrder),
            Fate::Whole => None,
            _ => Some(End::Reset),
        })
    }

    /// Returns the number of bytes that wait until the other side has room for them.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.get(|side| side.outbox.len())
    }

    /// Returns the number of bytes that wait until the peer [reads](Peer::read) them.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.get(|side| side.inbox.len())
    }

    /// Sets the length of the pieces in which the connection carries data, both ways, in bytes.
    /// `1..=1` cuts between all bytes.
    pub fn set_pieces(&self, bytes: RangeInclusive<usize>) {
        let (&least, &most) = (bytes.start(), bytes.end());
        self.with(|state, id| state.pace_mut(id).pieces = (least, most));
    }

    /// Sets the time that a piece takes, both ways. The seed draws it in whole microseconds. Unless
    /// set, it is at least one microsecond.
    pub fn set_delay(&self, delay: RangeInclusive<Duration>) {
        let (&least, &most) = (delay.start(), delay.end());
        self.with(|state, id| state.pace_mut(id).delay = (least, most));
    }

    /// Sets the number of bytes that may be under way to each side or unread there. A sender
    /// without room has to wait. 0 counts as 1.
    pub fn set_room(&self, bytes: usize) {
        self.with(|state, id| {
            for side in [id, id ^ 1] {
                state.side_mut(side).room = bytes.max(1);
            }
            state.pump(id);
            state.pump(id ^ 1);
        });
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get(|side| {
            f.debug_struct("Peer")
                .field("of", &side.fd)
                .field("received", &side.received.len())
                .finish_non_exhaustive()
        })
    }
}
