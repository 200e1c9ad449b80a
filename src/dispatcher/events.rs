//! How a dispatcher is served by the loop: events become calls of the handler, and
//! what becomes due in those is done when they have returned.

use std::time::Duration;

use super::base::Dispatcher;
use super::endpoint::Duty;
use super::handler::Handler;
use super::io::{Io, View};
use crate::error::{Error, Result};
use crate::event_loop::{Channel, EventLoop, Predicates};
use crate::poller::Interest;

/// How long a listener that can neither accept nor refuse is left alone.
const PAUSE: Duration = Duration::from_millis(100);

impl<H: Handler> Dispatcher<H> {
    /// Calls a method of the handler. That there is nothing to do now is no error,
    /// and what became due in it must still be done.
    fn call(
        &mut self,
        event_loop: &mut EventLoop,
        method: fn(&mut H, &mut Io<'_>) -> Result<()>,
    ) -> Result<()> {
        self.endpoint.begin_handler();
        let mut io = Io::new(&mut self.endpoint, event_loop);
        let result = method(&mut self.handler, &mut io);
        self.end_call(event_loop, result)
    }

    /// The part of that behind the handler.
    fn end_call(&mut self, event_loop: &mut EventLoop, result: Result<()>) -> Result<()> {
        Io::new(&mut self.endpoint, event_loop).heed_close();
        match result {
            Err(error) if error.would_block() => Ok(()),
            result => result,
        }
    }

    /// A connection that was being made may stand, or have failed. Answers
    /// whether it stands.
    fn connect_event(&mut self, event_loop: &mut EventLoop) -> Result<bool> {
        if !self.endpoint.check_connection()? {
            return Ok(false);
        }
        self.endpoint.begin_connect();
        let result = self.call(event_loop, H::handle_connect);
        self.endpoint.end_connect(result.is_ok());
        result.map(|()| true)
    }

    /// A read event, in all other cases than the usual one.
    #[inline(never)]
    fn unusual_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if !self.endpoint.has_events() {
            return Ok(());
        }
        if self.endpoint.accepting() {
            self.endpoint.begin_reader();
            self.call(event_loop, H::handle_accept)?;
            self.endpoint.end_reader();
            if self.endpoint.is_paused() {
                event_loop.settle_later(PAUSE);
            }
        } else {
            if self.endpoint.connecting() && !self.connect_event(event_loop)? {
                return self.finish(event_loop);
            }
            if !self.endpoint.is_over() && !self.endpoint.input_ended() {
                self.endpoint.begin_read_event();
                let put_off = self.endpoint.is_broken();
                self.call(event_loop, H::handle_read)?;
                self.endpoint.end_reader();
                if put_off {
                    self.endpoint.end_read_event();
                }
            }
        }
        self.finish(event_loop)
    }

    /// The end of a usual event that turned out otherwise.
    #[inline(never)]
    fn end_unusual(&mut self, event_loop: &mut EventLoop, result: Result<()>) -> Result<()> {
        self.end_call(event_loop, result)?;
        self.finish(event_loop)
    }

    /// Does what became due while a handler ran.
    #[inline]
    fn finish(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if self.endpoint.is_usual() {
            return Ok(());
        }
        self.perform_duties(event_loop)
    }

    fn perform_duties(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.endpoint.end_of_handler()?;
        self.put_off_close(event_loop);
        // A handler that fills what has drained could go on for ever where all is taken
        // at once. The next drain comes with the next event, so that others have theirs.
        let mut drained = false;
        while let Some(duty) = self.endpoint.take_duty(!drained) {
            match duty {
                Duty::Connect => drop(self.connect_event(event_loop)?),
                Duty::Eof => self.call(event_loop, H::handle_eof)?,
                Duty::Close => self.run_handle_close(event_loop)?,
                Duty::Drain => {
                    drained = true;
                    self.call(event_loop, H::handle_drain)?;
                }
            }
            self.endpoint.end_of_handler()?;
            self.put_off_close(event_loop);
        }
        Ok(())
    }

    /// A send found the connection gone. If something came in before that and is
    /// wanted, the close waits until it is read, and comes with the end of it.
    fn put_off_close(&mut self, event_loop: &EventLoop) {
        if !self.endpoint.is_close_due() || !self.endpoint.may_have_unread() {
            return;
        }
        let view = View::new(&self.endpoint, event_loop);
        if self.endpoint.keeps_unread() || self.handler.readable(&view) {
            self.endpoint.put_off_close();
        }
    }

    /// The end: whatever `handle_close` does, the channel is closed afterwards,
    /// for no handler of it would ever run again.
    fn run_handle_close(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let mut result = self.call(event_loop, H::handle_close);
        if let Err(error) = result {
            result = if error.is_exit() {
                Err(error)
            } else {
                let mut io = Io::new(&mut self.endpoint, event_loop);
                self.handler.handle_error(&mut io, error)
            };
        }
        self.endpoint.close();
        result
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
}

impl<H: Handler + 'static> Channel for Dispatcher<H> {
    fn readable(&self, event_loop: &EventLoop) -> bool {
        !self.endpoint.input_ended()
            && !self.endpoint.is_held_back()
            && self
                .handler
                .readable(&View::new(&self.endpoint, event_loop))
    }

    fn writable(&self, event_loop: &EventLoop) -> bool {
        self.endpoint.connecting() || self.wants_to_write(event_loop)
    }

    fn accepting(&self) -> bool {
        self.endpoint.accepting()
    }

    fn is_closed(&self) -> bool {
        self.endpoint.is_closed()
    }

    fn interest(&self, event_loop: &EventLoop) -> Option<Interest> {
        if self.endpoint.is_usual() {
            let mut interest = Interest::empty();
            let view = View::new(&self.endpoint, event_loop);
            if !self.endpoint.is_held_back() && self.handler.readable(&view) {
                interest |= Interest::READABLE | Interest::PRIORITY;
            }
            if self.endpoint.has_output() || self.handler.writable(&view) {
                interest |= Interest::WRITABLE;
            }
            return Some(interest);
        }
        if self.is_closed() {
            return None;
        }
        let mut interest = Interest::empty();
        if !self.endpoint.has_events() {
            return Some(interest);
        }
        if Channel::readable(self, event_loop) {
            interest |= Interest::READABLE;
            interest.set(Interest::PRIORITY, self.endpoint.wants_priority());
        }
        if !self.accepting() && Channel::writable(self, event_loop) {
            interest |= Interest::WRITABLE;
        }
        if interest.is_empty() && self.endpoint.may_still_be_reset() {
            interest = Interest::HANGUP;
        }
        Some(interest)
    }

    fn predicates(&self) -> Predicates {
        self.handler.predicates()
    }

    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if self.endpoint.is_usual() {
            self.endpoint.begin_reader();
            let mut io = Io::new(&mut self.endpoint, event_loop);
            let result = self.handler.handle_read(&mut io);
            self.endpoint.end_reader();
            if result.is_ok() && !event_loop.has_dooms() && self.endpoint.is_usual() {
                return Ok(());
            }
            return self.end_unusual(event_loop, result);
        }
        self.unusual_read_event(event_loop)
    }

    fn handle_write_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if !self.endpoint.has_events() || self.endpoint.accepting() {
            return Ok(());
        }
        if self.endpoint.connecting() {
            let stands = self.connect_event(event_loop)?;
            if !stands || self.endpoint.is_over() || !self.wants_to_write(event_loop) {
                return self.finish(event_loop);
            }
        }
        self.endpoint.begin_write_event();
        self.call(event_loop, H::handle_write)?;
        if !self.endpoint.was_flushed() && !self.endpoint.is_over() {
            self.endpoint.flush()?;
        }
        self.finish(event_loop)
    }

    fn handle_expt_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if !self.endpoint.has_events() {
            return Ok(());
        }
        match self.endpoint.take_socket_error()? {
            Some(error) => self.endpoint.fail(error),
            None => self.call(event_loop, H::handle_expt)?,
        }
        self.finish(event_loop)
    }

    fn handle_close(&mut self, event_loop: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        self.endpoint.end(reason);
        self.finish(event_loop)
    }

    fn handle_error(&mut self, event_loop: &mut EventLoop, error: Error) -> Result<()> {
        if self.endpoint.is_over() {
            log::error!("after the end of the channel ({}): {error}", self.endpoint);
            // Its handle_close may have panicked.
            self.endpoint.close();
            return Ok(());
        }
        self.endpoint.end_connect(false);
        let mut io = Io::new(&mut self.endpoint, event_loop);
        self.handler.handle_error(&mut io, error)?;
        self.finish(event_loop)
    }

    fn is_own_end(&self, error: &Error) -> bool {
        self.endpoint.is_own_end(error)
    }

    fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.endpoint.begin_handler();
        self.endpoint.resume();
        self.finish(event_loop)
    }

    fn write_gathered(&mut self) {
        self.endpoint.write_gathered();
    }

    fn close_descriptor(&mut self) -> Result<()> {
        self.endpoint.close_link()
    }

    fn ends_by_hangup(&mut self) -> bool {
        self.endpoint.ends_by_hangup()
    }

    fn descriptor_lost(&mut self) {
        self.endpoint.forget_link();
    }
}
