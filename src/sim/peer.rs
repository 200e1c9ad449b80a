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
/// What a peer does takes effect at the other side after a while: the connection carries it in
/// pieces, each with a delay. The seed decides on the length of the pieces, the delay and the
/// room of each connection, unless the test sets them. Nothing overtakes anything.
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
    /// The other side has ended its output, or closed in order, and all that it has sent was
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

    /// Sends `data`, however much that is: what the other side has no room for waits. Does
    /// nothing after the end of the output, or on a connection that is lost.
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

    /// Ends the output after all that was sent (half-close), and goes on reading.
    pub fn shutdown(&self) {
        self.with(State::end_output);
    }

    /// Closes in order, after all that was sent. If something that has arrived is unread, and as
    /// soon as something arrives later, the connection is reset.
    pub fn close(&self) {
        self.with(State::close);
    }

    /// Resets the connection, after what is under way. What waits for room is discarded.
    pub fn reset(&self) {
        self.with(|state, id| {
            state.side_mut(id).resets = true;
            state.close(id);
        });
    }

    /// Stops reading: what arrives is not received, and takes up room.
    pub fn pause(&self) {
        self.with(|state, id| state.side_mut(id).reads = false);
    }

    /// Reads at most `most` bytes of what has arrived while the peer was
    /// [paused](Peer::pause).
    pub fn read(&self, most: usize) {
        self.with(|state, id| {
            let side = state.side_mut(id);
            let n = side.inbox.len().min(most);
            side.received.extend(side.inbox.drain(..n));
            state.pump(id ^ 1);
        });
    }

    /// Reads on, as before [`pause`](Peer::pause): all that has arrived, and all that arrives.
    pub fn resume(&self) {
        self.with(|state, id| state.side_mut(id).reads = true);
        self.read(usize::MAX);
    }

    /// Returns all that the peer has received.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        self.get(|side| side.received.clone())
    }

    /// Takes what the peer has received since the last call.
    #[must_use]
    pub fn take_received(&self) -> Vec<u8> {
        self.with(|state, id| std::mem::take(&mut state.side_mut(id).received))
    }

    /// Returns how the connection has ended for the peer, if it has.
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

    /// Sets the time that a piece takes, both ways. It is drawn in whole microseconds, and is at
    /// least one unless set.
    pub fn set_delay(&self, delay: RangeInclusive<Duration>) {
        let (&least, &most) = (delay.start(), delay.end());
        self.with(|state, id| state.pace_mut(id).delay = (least, most));
    }

    /// Sets the number of bytes that may be under way to each side and unread there. A sender
    /// that finds no room has to wait. A room of 0 is that of 1.
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
