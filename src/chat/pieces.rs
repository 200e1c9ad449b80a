//! Cutting a chat's input into pieces: the handler of its dispatcher.

use std::io::ErrorKind;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use log::Level;

use super::handler::ChatHandler;
use super::io::{ChatIo, State, refuse};
use super::scanner::{MOST_EMPTY, Step};
use crate::dispatcher::{Dispatcher, Endpoint, Handler, Io, View};
use crate::error::{Error, Result};
use crate::event_loop::{Channel, EventLoop, Predicates};

/// The handler of a chat's dispatcher.
pub(super) struct Chat<H> {
    pub(super) state: State,
    pub(super) handler: H,
}

impl<H: ChatHandler> Chat<H> {
    pub(super) fn new(handler: H) -> Self {
        Self {
            state: State::default(),
            handler,
        }
    }

    pub(super) fn call<R>(
        &mut self,
        io: &mut Io<'_>,
        method: impl FnOnce(&mut H, &mut ChatIo<'_>) -> R,
    ) -> R {
        let result = method(
            &mut self.handler,
            &mut ChatIo::new(io.reborrow(), &mut self.state),
        );
        io.heed_close();
        result
    }

    /// Cuts input into pieces. What comes after the channel's end, or after the
    /// buffers were discarded, is dropped.
    fn scan(&mut self, io: &mut Io<'_>, data: &[u8]) -> Result<()> {
        self.state.discarded = false;
        let mut held = self.state.scanner.take_unscanned();
        if held.is_empty() {
            return self.scan_or_keep(io, data);
        }
        held.extend_from_slice(data);
        self.scan_or_keep(io, &held)
    }

    /// Scans `data`. What comes behind an error that leaves this, or a panic, is
    /// kept, should the channel go on.
    fn scan_or_keep(&mut self, io: &mut Io<'_>, mut data: &[u8]) -> Result<()> {
        let scanned = catch_unwind(AssertUnwindSafe(|| self.scan_slice(io, &mut data)));
        if !matches!(scanned, Ok(Ok(()))) {
            let rest = if self.state.discarded { &[] } else { data };
            self.state.scanner.interrupt(rest);
        }
        scanned.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Checks whether there is something to do that no event may come for: scanning, or
    /// the end of it, was broken off, or a count of 0 was set.
    fn has_more(&self, endpoint: &Endpoint) -> bool {
        self.has_step(endpoint) || self.state.eof_due
    }

    /// Checks whether there is something to scan, or the piece ends without more.
    fn has_step(&self, endpoint: &Endpoint) -> bool {
        let scanner = &self.state.scanner;
        // No piece comes before handle_connect.
        scanner.is_interrupted() || scanner.ends_here() && endpoint.is_established()
    }

    /// Does what `has_more` found.
    fn go_on(&mut self, io: &mut Io<'_>) -> Result<()> {
        if self.has_step(io) {
            self.scan(io, &[])?;
        }
        if self.state.eof_due {
            return self.reach_end(io);
        }
        Ok(())
    }

    /// Calls a method of the handler at an event that brings no input, and then
    /// `found_terminator` if the method set a count of 0.
    fn handle(
        &mut self,
        io: &mut Io<'_>,
        method: fn(&mut H, &mut ChatIo<'_>) -> Result<()>,
    ) -> Result<()> {
        match self.call(io, method) {
            Err(error) if !error.would_block() => Err(error),
            _ => self.go_on(io),
        }
    }

    /// As `go_on`, for `handle_error` while the loop deals with a panic and does not catch
    /// another.
    fn go_on_catching(&mut self, io: &mut Io<'_>) -> Result<()> {
        let gone_on = catch_unwind(AssertUnwindSafe(|| self.go_on(io)));
        gone_on.unwrap_or_else(|panic| Err(Error::panicked(&*panic)))
    }

    /// The end of the input: its tail, and then word of it.
    fn reach_end(&mut self, io: &mut Io<'_>) -> Result<()> {
        let held = self.state.scanner.take_held();
        if !held.is_empty() && !io.is_ending() {
            let result = self.collect(io, &held);
            self.handle_failure(io, result)?;
            // The tail is a piece if that set a count of 0.
            return self.go_on(io);
        }
        self.state.eof_due = false;
        if io.is_ending() {
            return Ok(());
        }
        self.handle(io, H::handle_eof)
    }

    fn scan_slice(&mut self, io: &mut Io<'_>, data: &mut &[u8]) -> Result<()> {
        while !io.is_ending() {
            if mem::take(&mut self.state.discarded) {
                *data = &[];
            }
            match self.state.scanner.step(data) {
                None => break,
                Some(Step::Found) => {}
                Some(Step::Collect(piece)) => {
                    let result = self.collect(io, &piece);
                    self.handle_failure(io, result)?;
                    if !self.state.scanner.found() || io.is_ending() {
                        continue;
                    }
                    self.state.scanner.take_found();
                }
                Some(Step::Endless) => {
                    refuse(io, endless());
                    break;
                }
            }
            if self.state.end_piece() {
                let result = self.call(io, H::found_terminator);
                self.handle_failure(io, result)?;
            }
        }
        Ok(())
    }

    /// Gives an error to `handle_error` here and not by way of the loop, for there
    /// may be more to scan, and nothing else may come that would wake the channel
    /// for it.
    #[inline]
    fn handle_failure(&mut self, io: &mut Io<'_>, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.report(io, error),
        }
    }

    #[cold]
    fn report(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        // The loop ends the channel for its own end, and only logs errors after that.
        if error.is_exit() || io.is_own_end(&error) || io.is_over() {
            return Err(error);
        }
        if error.would_block() {
            return Ok(());
        }
        match self.tell(io, error) {
            Err(error) if error.would_block() => Ok(()),
            result => result,
        }
    }

    /// Calls the handler's `handle_error`.
    fn tell(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        let result = self.call(io, |handler, io| handler.handle_error(io, error));
        self.state.drop_too_long();
        result
    }

    #[inline]
    fn collect(&mut self, io: &mut Io<'_>, piece: &[u8]) -> Result<()> {
        if self.state.too_long {
            return Ok(());
        }
        match self.state.count(piece.len()) {
            None => self.call(io, |handler, io| handler.collect_incoming_data(io, piece)),
            Some(limit) => {
                self.state.too_long = true;
                Err(Error::LineTooLong(limit))
            }
        }
    }
}

/// A handler set counts of 0 and nothing else.
#[cold]
fn endless() -> Error {
    let message = format!(
        "a count of 0 was set {MOST_EMPTY} times in a row without any input: set another \
         terminator, or Terminator::none() to collect everything"
    );
    Error::misuse(ErrorKind::InvalidInput, message)
}

/// Says once why `found_terminator` is never called.
#[cold]
fn warn_of_no_terminator(endpoint: &Endpoint) {
    log::warn!(
        "{endpoint}: input arrived before a terminator was set, so found_terminator is not \
         called and the input is collected without limit: call set_terminator; \
         set_terminator(Terminator::none()) collects everything"
    );
}

impl<H: ChatHandler> Handler for Chat<H> {
    fn readable(&self, io: &View<'_>) -> bool {
        self.handler.readable(io)
    }

    fn predicates(&self) -> Predicates {
        self.handler.predicates()
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let size = self.state.in_buffer_size;
        io.recv_with(size, |io, data| match data {
            [] => Ok(()),
            data => {
                let result = self.scan(io, data);
                // Not earlier: collect_incoming_data may set one.
                if !io.is_ending() && self.state.scanner.take_unset() {
                    warn_of_no_terminator(io);
                }
                result
            }
        })
    }

    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.handle(io, H::handle_drain)
    }

    fn handle_expt(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.handle(io, H::handle_expt)
    }

    fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.handle(io, |handler, io| {
            let result = handler.handle_connect(io);
            // It is not called again if what follows it here fails.
            io.end_connect(result.as_ref().err().is_none_or(Error::would_block));
            result
        })
    }

    fn handle_accept(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call(io, H::handle_accept)
    }

    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.state.eof_due = true;
        self.go_on(io)
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call(io, H::handle_close)
    }

    /// Tells the handler, and if that forgives goes on: there may be more to scan,
    /// and nothing else may come that would wake the channel for it. Errors on the
    /// way are dealt with as the loop would.
    fn handle_error(&mut self, io: &mut Io<'_>, mut error: Error) -> Result<()> {
        let mut in_panic = false;
        loop {
            in_panic |= matches!(error, Error::Panicked(_));
            self.tell(io, error)?;
            let gone_on = match in_panic {
                true => self.go_on_catching(io),
                false => self.go_on(io),
            };
            error = match gone_on {
                Err(error) if io.is_own_end(&error) => {
                    io.fail(error);
                    return Ok(());
                }
                Err(error) if error.would_block() => return Ok(()),
                Err(error) if !error.is_exit() => error,
                result => return result,
            };
        }
    }

    fn log_info(&mut self, io: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        self.call(io, |handler, io| handler.log_info(io, message, level))
    }
}

impl<H: ChatHandler + 'static> Dispatcher<Chat<H>> {
    /// What the chat's [`Channel::settle`] is, for a method of the type's own goes
    /// before that of a trait: takes up again what the exit error broke off, and a count
    /// of 0 that was set from outside.
    pub(super) fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if self.handler().has_more(self) && self.has_events() {
            match self.enter(event_loop, Chat::go_on) {
                Err(error) if error.would_block() => {}
                result => result?,
            }
        }
        Channel::settle(self, event_loop)
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
