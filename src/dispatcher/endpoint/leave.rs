//! Leaving a connection to another channel.

use std::fmt;
use std::io;
use std::mem;

use super::super::connection::Connection;
use super::super::link::Replay;
use super::state::{Congestion, Flow, Input, Phase};
use super::{Endpoint, Outlet};
use crate::error::{Error, Result};
use crate::event_loop::EventLoop;

/// Makes the other channel.
type Successor = Box<dyn FnOnce(Connection, &mut EventLoop) -> Result<()>>;

/// The state of a channel that leaves its connection to another one.
pub(super) struct Leave {
    successor: Successor,
    /// Input that was received and not handled.
    input: Vec<u8>,
}

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of input", self.input.len())
    }
}

impl Endpoint {
    /// Leaves the connection to `successor` when the running handler has returned.
    pub(in crate::dispatcher) fn leave_to(
        &mut self,
        successor: impl FnOnce(Connection, &mut EventLoop) -> Result<()> + 'static,
    ) -> Result<()> {
        if !self.is_established() || self.is_ending() || self.will_close() || self.is_broken() {
            let message = format!(
                "cannot replace the channel of fd {}: its connection is closing, or not \
                 established",
                self.fd
            );
            return Err(Error::misuse(io::ErrorKind::NotConnected, message));
        }
        let successor: Successor = Box::new(successor);
        let input = Vec::new();
        self.phase = Phase::Leaving(Box::new(Leave { successor, input }));
        Ok(())
    }

    /// Checks whether the connection is left to another channel.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving(_))
    }

    /// Keeps input for the other channel, after any that was kept before. Does nothing unless
    /// there is such a channel.
    pub(crate) fn leave_input(&mut self, data: &[u8]) {
        if let Phase::Leaving(leave) = &mut self.phase {
            leave.input.extend_from_slice(data);
        }
    }

    /// Closes the channel, and returns its connection with what becomes of it. `None` if it is
    /// not left to another channel.
    pub(in crate::dispatcher) fn leave(&mut self) -> Option<(Connection, Successor)> {
        let Phase::Leaving(leave) = mem::replace(&mut self.phase, Phase::Closed) else {
            return None;
        };
        let Leave { successor, input } = *leave;
        let connection = Connection {
            link: Replay::before(self.link.take()?, input),
            outlet: mem::replace(&mut self.outlet, Outlet::new(false)),
            addr: self.addr.clone(),
            input_ended: self.input_ended(),
            output_ended: self.output_ended,
        };
        self.flow = Flow::Clear;
        Some((connection, successor))
    }

    /// Makes an endpoint with a buffer over the connection of another channel.
    pub(in crate::dispatcher) fn from_connection(connection: Connection) -> Self {
        let mut endpoint = Self::unconnected(true);
        let Connection { link, outlet, .. } = connection;
        endpoint.set_link(link);
        endpoint.phase = Phase::Connected;
        endpoint.addr = connection.addr;
        endpoint.output_ended = connection.output_ended;
        // Input that was put back comes before the end, which the descriptor reports again.
        if connection.input_ended && !endpoint.holds_input() {
            endpoint.input = Input::Ended;
        }
        if let Outlet::Buffered(Some(buffer)) = outlet {
            if !buffer.queue.is_empty() {
                endpoint.flow = Flow::Gathered;
            }
            if buffer.queue.pending() >= buffer.high_watermark {
                endpoint.congestion = Congestion::Congested;
            }
            endpoint.outlet = Outlet::Buffered(Some(buffer));
        }
        endpoint
    }
}
