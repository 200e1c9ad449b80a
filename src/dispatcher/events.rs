//! The dispatcher as a channel: it calls the handler for events, and for everything that
//! becomes due while a handler runs. The endpoint decides on the order.

use std::any::Any;
use std::time::Duration;

use super::base::Dispatcher;
use super::endpoint::{Alarm, Call, Event, Turn};
use super::handler::Handler;
use super::io::{Io, View};
use crate::error::{Effect, Error, Result};
use crate::event_loop::{Channel, EventLoop, Outcome, Predicates};
use crate::poller::Interest;
use crate::sys::hint::rarely;

/// The pause of a listener that can neither accept nor refuse.
const PAUSE: Duration = Duration::from_millis(100);

impl<H: Handler> Dispatcher<H> {
    /// Calls the handler for the event of `turn`, then for everything that becomes due.
    #[inline(never)]
    fn drive(&mut self, event_loop: &mut EventLoop, mut turn: Turn) -> Result<()> {
        while let Some(call) = self.endpoint.next_call(&mut turn)? {
            // A chat drops what it receives when its close is due.
            if matches!(call, Call::Close | Call::Read) && self.has_wanted_input(event_loop) {
                self.endpoint.put_off_close();
                if call == Call::Close {
                    continue;
                }
            }
            self.endpoint.begin_call(call);
            if call == Call::Read {
                // The event of the turn is over, and this calls what becomes due.
                return self.call(event_loop, call);
            }
            let result = self.call(event_loop, call);
            if result.is_err() && call == Call::Connect {
                self.endpoint.end_connect(false);
            }
            result?;
            self.endpoint.end_call(call)?;
            let writes = turn.event == Some(Event::Write);
            if call == Call::Connect && writes && !self.wants_to_write(event_loop) {
                turn.event = None;
            }
        }
        if self.has_held_input(event_loop) {
            event_loop.settle_later(Duration::ZERO);
        }
        if self.endpoint.is_resolving() {
            self.endpoint.request_addresses(event_loop)?;
        }
        if self.endpoint.is_racing() {
            self.endpoint.race(event_loop);
        }
        if self.endpoint.is_active() {
            self.begin_timeout(event_loop);
        }
        if self.endpoint.is_replaced() {
            self.endpoint.end_replaced();
            event_loop.descriptor_replaced(self.endpoint.raw_fd())?;
        }
        Ok(())
    }

    /// Begins the timeout anew, since bytes were received or sent.
    #[inline(never)]
    fn begin_timeout(&mut self, event_loop: &mut EventLoop) {
        match self.endpoint.begin_timeout(event_loop.now()) {
            Alarm::Keep => {}
            Alarm::Set(delay) => event_loop.set_timeout(Some(delay)),
            Alarm::Clear => event_loop.set_timeout(None),
        }
    }

    /// Gives the connection to the channel that takes the place of this one.
    #[cold]
    fn call_successor(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let Some((connection, successor)) = self.endpoint.leave() else {
            return Ok(());
        };
        event_loop.vacate();
        successor(connection, event_loop)
    }

    /// Checks whether the handler wants input that the descriptor does not report.
    #[inline]
    fn has_held_input(&self, event_loop: &EventLoop) -> bool {
        self.endpoint.holds_input() && self.endpoint.has_events() && self.wants_to_read(event_loop)
    }

    /// Calls a method of the handler.
    fn call(&mut self, event_loop: &mut EventLoop, call: Call) -> Result<()> {
        let mut io = Io::new(&mut self.endpoint, event_loop);
        let result = match call {
            Call::Connect => self.handler.handle_connect(&mut io),
            Call::Accept => self.handler.handle_accept(&mut io),
            Call::Read => return H::read(self, event_loop, None),
            Call::Write => self.handler.handle_write(&mut io),
            Call::Priority => self.handler.handle_expt(&mut io),
            Call::Timeout => self.handler.handle_timeout(&mut io),
            Call::Drain => self.handler.handle_drain(&mut io),
            Call::Eof => self.handler.handle_eof(&mut io),
            Call::Close => return self.call_close(event_loop),
            Call::Replace => return self.call_successor(event_loop),
        };
        self.heed(event_loop, result)
    }

    /// Handles a read event. Sets `outcome`, if there is one, to the state of the channel.
    #[inline(always)]
    fn read_event(
        &mut self,
        event_loop: &mut EventLoop,
        outcome: Option<&mut Outcome>,
    ) -> Result<()> {
        if rarely(!self.endpoint.is_usual()) {
            return self.read_unusual(event_loop, outcome);
        }
        H::read(self, event_loop, outcome)
    }

    /// Handles a read event of anything but a connection with nothing pending.
    #[inline(never)]
    fn read_unusual(
        &mut self,
        event_loop: &mut EventLoop,
        outcome: Option<&mut Outcome>,
    ) -> Result<()> {
        self.drive(event_loop, Turn::of(Event::Read))?;
        self.set_outcome(event_loop, outcome);
        Ok(())
    }

    /// Sets the outcome of an event after which something was due, if the caller wants it.
    #[inline(never)]
    fn set_outcome(&self, event_loop: &EventLoop, outcome: Option<&mut Outcome>) {
        let Some(outcome) = outcome else {
            return;
        };
        outcome.fd = self.endpoint.raw_fd();
        outcome.interest = match event_loop.serves_ending() {
            true => None,
            false => self.interest_now(event_loop),
        };
    }

    /// Finishes a call of `handle_read` after which something may be due.
    #[inline(never)]
    fn end_read(
        &mut self,
        event_loop: &mut EventLoop,
        result: Result<()>,
        outcome: Option<&mut Outcome>,
    ) -> Result<()> {
        self.endpoint.end_reader();
        let goes_on = result.is_ok() && !event_loop.may_serve_ending();
        if goes_on && self.endpoint.has_only_gathered() {
            // A chat that replies.
            self.endpoint.write_what_was_gathered()?;
        }
        if !goes_on || !self.endpoint.is_still_usual() {
            self.heed(event_loop, result)?;
            self.endpoint.end_unread();
            self.drive(event_loop, Turn::default())?;
        }
        self.set_outcome(event_loop, outcome);
        Ok(())
    }

    /// Finishes a method's call. `WouldBlock` is not an error.
    fn heed(&mut self, event_loop: &mut EventLoop, result: Result<()>) -> Result<()> {
        Io::new(&mut self.endpoint, event_loop).heed_close();
        // Any method can accept connections, and may have returned this error.
        if self.endpoint.is_paused() {
            event_loop.settle_later(PAUSE);
        }
        match result {
            Err(error) if error.would_block() => Ok(()),
            result => result,
        }
    }

    /// Calls `handle_close`, and closes the channel whatever that does, since no other
    /// handler is called any more.
    fn call_close(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let mut io = Io::new(&mut self.endpoint, event_loop);
        let result = match self.handler.handle_close(&mut io) {
            Err(error) if error.effect(|_| false) == Effect::Failure => {
                self.handler.handle_error(&mut io, error)
            }
            result => result,
        };
        self.endpoint.close();
        self.heed(event_loop, result)
    }

    /// Checks whether input arrived before a send found the connection gone, and is wanted.
    /// The close is then put off until that input is read.
    fn has_wanted_input(&self, event_loop: &EventLoop) -> bool {
        self.endpoint.may_have_unread()
            && (self.endpoint.keeps_unread()
                || self
                    .handler
                    .readable(&View::new(&self.endpoint, event_loop)))
    }

    fn wants_to_read(&self, event_loop: &EventLoop) -> bool {
        let endpoint = &self.endpoint;
        !endpoint.input_ended()
            && !endpoint.is_held_back()
            && self.handler.readable(&View::new(endpoint, event_loop))
    }

    fn wants_to_write(&self, event_loop: &EventLoop) -> bool {
        let endpoint = &self.endpoint;
        if endpoint.is_broken() {
            return false;
        }
        endpoint.has_output()
            || endpoint.is_drain_due()
            || self.handler.writable(&View::new(endpoint, event_loop))
    }

    /// Returns the interest of the channel; `None` if it is over.
    #[inline]
    fn interest_now(&self, event_loop: &EventLoop) -> Option<Interest> {
        match self.endpoint.is_usual() {
            true => Some(self.usual_interest(event_loop)),
            false => self.unusual_interest(event_loop),
        }
    }

    /// Returns the interest of a connection with nothing pending.
    #[inline]
    fn usual_interest(&self, event_loop: &EventLoop) -> Interest {
        let mut interest = Interest::empty();
        let view = View::new(&self.endpoint, event_loop);
        if self.handler.readable(&view) {
            interest |= Interest::READABLE;
            interest.set(Interest::PRIORITY, self.endpoint.wants_priority());
        }
        if self.handler.writable(&view) {
            interest |= Interest::WRITABLE;
        }
        interest
    }

    /// Returns the interest in the other cases.
    #[inline(never)]
    fn unusual_interest(&self, event_loop: &EventLoop) -> Option<Interest> {
        if self.endpoint.is_closed() {
            return None;
        }
        let mut interest = Interest::empty();
        if !self.endpoint.has_events() {
            return Some(interest);
        }
        if self.wants_to_read(event_loop) {
            interest |= Interest::READABLE;
            interest.set(Interest::PRIORITY, self.endpoint.wants_priority());
        }
        // Input that the descriptor does not report comes with the room for output.
        if self.has_held_input(event_loop) {
            interest |= Interest::WRITABLE;
        }
        let connecting = self.endpoint.connecting();
        if !self.endpoint.accepting() && (connecting || self.wants_to_write(event_loop)) {
            interest |= Interest::WRITABLE;
        }
        if interest.is_empty() && self.endpoint.may_still_be_reset() {
            interest = Interest::HANGUP;
        }
        Some(interest)
    }
}

/// A read event, as a function of the handler's type.
///
/// The compiler puts a method into the unit of code of its `Self` type's module, and so this one
/// beside the type's `handle_read`, which is called here alone. So the compiler can make one function
/// of both, with one return fewer after a system call.
trait ReadEvent: Handler + Sized {
    /// Calls `handle_read`, then everything that becomes due. Sets `outcome`, if there is one, to
    /// the state of the channel.
    fn read(
        channel: &mut Dispatcher<Self>,
        event_loop: &mut EventLoop,
        outcome: Option<&mut Outcome>,
    ) -> Result<()>;
}

impl<H: Handler> ReadEvent for H {
    #[inline(never)]
    fn read(
        channel: &mut Dispatcher<Self>,
        event_loop: &mut EventLoop,
        outcome: Option<&mut Outcome>,
    ) -> Result<()> {
        channel.endpoint.begin_reader();
        let mut io = Io::new(&mut channel.endpoint, event_loop);
        let result = channel.handler.handle_read(&mut io);
        let goes_on = result.is_ok() && !event_loop.may_serve_ending();
        if rarely(!goes_on || !channel.endpoint.is_still_usual()) {
            return channel.end_read(event_loop, result, outcome);
        }
        channel.endpoint.end_reader();
        if let Some(outcome) = outcome {
            outcome.fd = channel.endpoint.raw_fd();
            outcome.interest = Some(channel.usual_interest(event_loop));
        }
        Ok(())
    }
}

impl<H: Handler + 'static> Channel for Dispatcher<H> {
    fn interest(&self, event_loop: &EventLoop) -> Option<Interest> {
        self.interest_now(event_loop)
    }

    fn predicates(&self) -> Predicates {
        self.handler.predicates()
    }

    fn deliver_read(&mut self, event_loop: &mut EventLoop, outcome: &mut Outcome) -> Result<()> {
        self.read_event(event_loop, Some(outcome))
    }

    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.read_event(event_loop, None)
    }

    fn handle_write_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.drive(event_loop, Turn::of(Event::Write))
    }

    fn handle_expt_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.drive(event_loop, Turn::of(Event::Priority))
    }

    fn handle_timeout(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if self.endpoint.timeout().is_none() {
            return Ok(());
        }
        match self.endpoint.end_alarm(event_loop.now()) {
            Some(left) => {
                event_loop.set_timeout(Some(left));
                Ok(())
            }
            None => self.drive(event_loop, Turn::of(Event::Timeout)),
        }
    }

    fn handle_close(&mut self, event_loop: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        self.endpoint.end(reason);
        self.drive(event_loop, Turn::default())
    }

    fn handle_error(&mut self, event_loop: &mut EventLoop, error: Error) -> Result<()> {
        if self.endpoint.is_leaving() {
            // The error does not concern the connection, which belongs to the other channel.
            log::error!(
                "after the channel was replaced ({}): {error}",
                self.endpoint
            );
            return self.drive(event_loop, Turn::default());
        }
        if self.endpoint.is_over() {
            log::error!("after the end of the channel ({}): {error}", self.endpoint);
            // `handle_close` may have panicked.
            self.endpoint.close();
            return Ok(());
        }
        self.endpoint.end_connect(false);
        let mut io = Io::new(&mut self.endpoint, event_loop);
        let result = self.handler.handle_error(&mut io, error);
        self.heed(event_loop, result)?;
        self.drive(event_loop, Turn::default())
    }

    fn is_own_end(&self, error: &Error) -> bool {
        self.endpoint.is_own_end(error)
    }

    fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.endpoint.begin_handler();
        self.endpoint.resume();
        if self.endpoint.timeout().is_some() && !event_loop.has_timeout() {
            self.endpoint.forget_alarm();
        }
        let turn = match self.has_held_input(event_loop) {
            true => Turn::of(Event::Read),
            false => Turn::default(),
        };
        self.drive(event_loop, turn)
    }

    fn write_gathered(&mut self) {
        self.endpoint.write_gathered();
    }

    fn close_descriptor(&mut self) -> Result<()> {
        self.endpoint.close_link()
    }

    fn part(&self) -> Option<&dyn Any> {
        Some(&self.endpoint)
    }

    fn part_mut(&mut self) -> Option<&mut dyn Any> {
        Some(&mut self.endpoint)
    }

    fn ends_by_hangup(&mut self) -> bool {
        self.endpoint.ends_by_hangup()
    }

    fn descriptor_lost(&mut self) {
        self.endpoint.forget_link();
    }
}
