//! What comes next.
//!
//! An endpoint calls nobody: it is told of an event, and says which method of the handler
//! is due, for as long as one is. The dispatcher does the calling.

use super::Endpoint;
use super::state::{Congestion, Ending, Flow, Input, Phase};
use crate::error::Result;

/// Of what the loop tells a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Read,
    Write,
    Priority,
}

/// One event, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// What the handler is still to be told of.
    pub(crate) event: Option<Event>,
    /// A handler that fills what has drained could go on for ever where all is taken at
    /// once. The next drain comes with the next event, so that others have theirs.
    drained: bool,
}

impl Turn {
    pub(crate) fn of(event: Event) -> Self {
        Self {
            event: Some(event),
            drained: false,
        }
    }
}

/// A method of the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Connect,
    Accept,
    Read,
    Write,
    Priority,
    Drain,
    Eof,
    Close,
}

impl Endpoint {
    /// Writes what the last handler left to be written, and says which method is to be
    /// called next, if one is.
    ///
    /// # Errors
    ///
    /// Those of connecting and of writing.
    pub(crate) fn next_call(&mut self, turn: &mut Turn) -> Result<Option<Call>> {
        self.write_what_was_gathered()?;
        if self.is_over() {
            return Ok(None);
        }
        if matches!(turn.event, Some(Event::Read | Event::Write)) {
            self.check_connection()?;
        }
        match self.phase {
            Phase::Announcing { .. } => return Ok(Some(Call::Connect)),
            Phase::Connecting(_) if turn.event != Some(Event::Priority) => {}
            _ => {
                if let Some(event) = turn.event.take()
                    && self.has_events()
                    && let Some(call) = self.call_for(event)?
                {
                    return Ok(Some(call));
                }
            }
        }
        Ok(self.next_due(turn))
    }

    /// What tells the handler of `event`.
    fn call_for(&mut self, event: Event) -> Result<Option<Call>> {
        let listens = self.accepting();
        Ok(match event {
            Event::Read if listens => Some(Call::Accept),
            Event::Read => (self.input == Input::Open).then_some(Call::Read),
            Event::Write => (!listens).then_some(Call::Write),
            Event::Priority => match self.take_socket_error()? {
                Some(error) => {
                    self.fail(error);
                    None
                }
                None => Some(Call::Priority),
            },
        })
    }

    /// What became due while handlers ran.
    fn next_due(&self, turn: &mut Turn) -> Option<Call> {
        let ended = self.input == Input::Ended;
        if self.ending == Ending::Due {
            // The connection was gone before anybody could be told that the input had
            // ended. A channel that its own program ends needs no telling.
            let untold = ended && self.flow == Flow::Broken;
            return Some(if untold { Call::Eof } else { Call::Close });
        }
        if self.congestion == Congestion::Drained && !turn.drained {
            turn.drained = true;
            return Some(Call::Drain);
        }
        ended.then_some(Call::Eof)
    }

    /// `call` is about to be made: what asked for it no longer does.
    pub(crate) fn begin_call(&mut self, call: Call) {
        match call {
            Call::Connect => self.begin_connect(),
            Call::Accept | Call::Read => self.begin_reader(),
            Call::Write => self.begin_write_event(),
            Call::Priority => {}
            Call::Drain => self.congestion = Congestion::No,
            Call::Eof => self.input = Input::Over,
            Call::Close => self.ending = Ending::Begun,
        }
        self.begin_handler();
    }

    /// The method has returned without an error.
    pub(crate) fn end_call(&mut self, call: Call) -> Result<()> {
        match call {
            Call::Connect => self.end_connect(true),
            Call::Accept => self.end_reader(),
            Call::Read => {
                self.end_reader();
                self.end_unread();
            }
            Call::Write => self.end_write_event()?,
            Call::Priority | Call::Drain | Call::Eof | Call::Close => {}
        }
        Ok(())
    }
}
