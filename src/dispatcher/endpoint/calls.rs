//! The handler method that is due next.
//!
//! The endpoint calls no handler. Given an event, it returns the method that is due, until
//! none is. The dispatcher makes the calls.

use super::Endpoint;
use super::state::{Congestion, Ending, Flow, Input, Phase};
use crate::error::Result;

/// An event that the loop reports to a channel, or the end of its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dispatcher) enum Event {
    Read,
    Write,
    Priority,
    Timeout,
}

/// The progress of one event and of the calls that follow from it.
#[derive(Debug, Default)]
pub(in crate::dispatcher) struct Turn {
    /// The event, until the handler is called for it.
    pub(in crate::dispatcher) event: Option<Event>,
    /// `handle_drain` was called. A handler that refills its output at each drain would
    /// starve other channels if everything is written at once, so the next call of it waits
    /// for the next event.
    drained: bool,
}

impl Turn {
    pub(in crate::dispatcher) fn of(event: Event) -> Self {
        Self {
            event: Some(event),
            drained: false,
        }
    }
}

/// A method of `Handler`, except for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dispatcher) enum Call {
    Connect,
    Accept,
    Read,
    Write,
    Priority,
    Timeout,
    Drain,
    Eof,
    Close,
    /// None: another channel takes the place of this one.
    Replace,
}

impl Endpoint {
    /// Writes the output that the last handler gathered. Returns the method to call next,
    /// or `None` if nothing is due.
    ///
    /// # Errors
    ///
    /// Those of a failed connect and of writing.
    pub(in crate::dispatcher) fn next_call(&mut self, turn: &mut Turn) -> Result<Option<Call>> {
        if self.is_leaving() {
            self.write_gathered();
            return Ok(Some(Call::Replace));
        }
        self.write_what_was_gathered()?;
        if self.is_over() {
            return Ok(None);
        }
        if self.connecting() {
            self.connect_to_found()?;
            self.heed_rivals()?;
        }
        if !matches!(turn.event, None | Some(Event::Timeout)) {
            self.check_connection()?;
        }
        if turn.event == Some(Event::Timeout) && self.give_up_address()? {
            turn.event = None;
        }
        match self.phase {
            Phase::Announcing { .. } => return Ok(Some(Call::Connect)),
            Phase::Connecting(_) if turn.event != Some(Event::Timeout) => {}
            _ => {
                let call = match turn.event.take() {
                    Some(Event::Timeout) if self.connecting() => Some(Call::Timeout),
                    Some(event) if self.has_events() => self.call_for(event)?,
                    _ => None,
                };
                if call.is_some() {
                    return Ok(call);
                }
            }
        }
        Ok(self.next_due(turn))
    }

    /// Returns the method that handles `event`, if it needs one.
    fn call_for(&mut self, event: Event) -> Result<Option<Call>> {
        let listens = self.accepting();
        Ok(match event {
            Event::Read if listens => Some(Call::Accept),
            Event::Read => (!self.input_ended()).then_some(Call::Read),
            Event::Write => (!listens).then_some(Call::Write),
            Event::Timeout => Some(Call::Timeout),
            Event::Priority => match self.take_socket_error()? {
                Some(error) => {
                    self.fail(error);
                    None
                }
                None => Some(Call::Priority),
            },
        })
    }

    /// Returns the method that became due while handlers ran.
    fn next_due(&self, turn: &mut Turn) -> Option<Call> {
        let ended = self.input == Input::Ended;
        if self.ending == Ending::Due {
            // The connection was lost before `handle_eof` could be called. A channel that its
            // own handler ends does not need that call.
            let untold = ended && self.flow == Flow::Broken;
            return Some(if untold { Call::Eof } else { Call::Close });
        }
        if self.congestion == Congestion::Drained && !turn.drained {
            turn.drained = true;
            return Some(Call::Drain);
        }
        ended.then_some(Call::Eof)
    }

    /// Begins `call`: the state that made it due ends.
    pub(in crate::dispatcher) fn begin_call(&mut self, call: Call) {
        match call {
            Call::Connect => self.begin_connect(),
            Call::Accept | Call::Read => self.begin_reader(),
            Call::Write => self.begin_write_event(),
            Call::Priority | Call::Timeout | Call::Replace => {}
            Call::Drain => self.congestion = Congestion::No,
            Call::Eof => self.input = Input::Over,
            Call::Close => self.ending = Ending::Begun,
        }
        self.begin_handler();
    }

    /// Ends `call`, which has returned without an error.
    pub(in crate::dispatcher) fn end_call(&mut self, call: Call) -> Result<()> {
        match call {
            Call::Connect => self.end_connect(true),
            Call::Accept => self.end_reader(),
            Call::Write => self.end_write_event()?,
            // `ReadEvent::read` has ended this one.
            Call::Read
            | Call::Priority
            | Call::Timeout
            | Call::Drain
            | Call::Eof
            | Call::Close
            | Call::Replace => {}
        }
        Ok(())
    }
}
