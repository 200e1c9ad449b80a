//! Cutting a chat's input into pieces: the handler of its dispatcher.

use std::io::ErrorKind;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use log::Level;

use super::handler::ChatHandler;
use super::io::ChatIo;
use super::scanner::{MOST_EMPTY, Step};
use super::state::State;
use crate::dispatcher::{Dispatcher, Endpoint, Handler, Io, View};
use crate::error::{Effect, Error, Result};
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
        if io.is_leaving() {
            io.leave_input(&self.state.scanner.take_held());
        }
        result
    }

    /// Cuts input into pieces, after any input held back. Input after the channel's end is
    /// dropped.
    #[inline]
    fn scan(&mut self, io: &mut Io<'_>, data: &[u8]) -> Result<()> {
        if self.state.scanner.holds_nothing() {
            return Scan::begin(self, data).run(io);
        }
        self.scan_held(io, data)
    }

    /// Cuts the input held back into pieces, and then `data`.
    #[cold]
    fn scan_held(&mut self, io: &mut Io<'_>, data: &[u8]) -> Result<()> {
        let mut held = self.state.scanner.take_unscanned();
        held.extend_from_slice(data);
        Scan::begin(self, &held).run(io)
    }

    /// Checks whether there is something to do that no event may come for.
    fn has_more(&self, endpoint: &Endpoint) -> bool {
        self.has_step(endpoint) || self.state.ended
    }

    /// Checks whether a scan broke off, or the piece ends without more input.
    fn has_step(&self, endpoint: &Endpoint) -> bool {
        let scanner = &self.state.scanner;
        // No piece comes before handle_connect.
        scanner.is_broken_off() || scanner.ends_here() && endpoint.is_established()
    }

    /// Resumes a scan that broke off, completes a piece by a count of 0, and reports the
    /// end of the input.
    fn go_on(&mut self, io: &mut Io<'_>) -> Result<()> {
        if self.has_step(io) {
            self.scan(io, &[])?;
        }
        if self.state.ended {
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

    /// As [`go_on`](Self::go_on), for `handle_error` after a panic: the loop does not catch
    /// a second one then.
    fn go_on_catching(&mut self, io: &mut Io<'_>) -> Result<()> {
        let gone_on = catch_unwind(AssertUnwindSafe(|| self.go_on(io)));
        gone_on.unwrap_or_else(|panic| Err(Error::panicked(&*panic)))
    }

    /// Delivers the tail of the input, and then calls `handle_eof`.
    fn reach_end(&mut self, io: &mut Io<'_>) -> Result<()> {
        let held = self.state.scanner.take_held();
        if !held.is_empty() && !io.is_ending() {
            let result = self.collect(io, &held);
            self.handle_failure(io, result)?;
            // The tail is a piece if that set a count of 0.
            return self.go_on(io);
        }
        self.state.ended = false;
        if io.is_ending() {
            return Ok(());
        }
        self.handle(io, H::handle_eof)
    }

    /// Ends the piece, and calls `found_terminator` if the piece was within the limit.
    #[inline]
    fn end_piece(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.state.scanner.take_found();
        if !self.state.end_piece() {
            return Ok(());
        }
        let result = self.call(io, H::found_terminator);
        self.handle_failure(io, result)
    }

    /// Calls `handle_error` here rather than returning the error to the loop: there may be
    /// more to scan, and no event may come for that.
    #[inline]
    fn handle_failure(&mut self, io: &mut Io<'_>, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.report(io, error),
        }
    }

    #[cold]
    fn report(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        match error.effect(|error| io.is_own_end(error)) {
            Effect::Nothing => Ok(()),
            // The loop ends the channel, and logs later errors.
            Effect::Exit | Effect::End => Err(error),
            Effect::Failure if io.is_over() => Err(error),
            Effect::Failure => self.tell(io, error),
        }
    }

    /// Calls the handler's `handle_error`.
    fn tell(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        let result = self.call(io, |handler, io| handler.handle_error(io, error));
        self.state.drop_too_long();
        result
    }

    /// Hands out bytes of the piece.
    #[inline]
    fn collect(&mut self, io: &mut Io<'_>, piece: &[u8]) -> Result<()> {
        if self.state.is_too_long() {
            return Ok(());
        }
        match self.state.count(piece.len()) {
            None => self.call(io, |handler, io| handler.collect_incoming_data(io, piece)),
            Some(limit) => Err(Error::LineTooLong(limit)),
        }
    }
}

/// The scan of a chunk. However it ends, by an error or a panic too, the part that is not
/// scanned is kept.
struct Scan<'c, H> {
    chat: &'c mut Chat<H>,
    chunk: &'c [u8],
}

impl<'c, H: ChatHandler> Scan<'c, H> {
    #[inline]
    fn begin(chat: &'c mut Chat<H>, chunk: &'c [u8]) -> Self {
        chat.state.scanner.begin(chunk.len());
        Self { chat, chunk }
    }

    #[inline]
    fn run(mut self, io: &mut Io<'_>) -> Result<()> {
        let scanned = self.scan(io);
        if io.is_leaving() {
            // An error that the handler returned afterwards does not concern the other channel.
            io.leave_input(self.chat.state.scanner.rest_of(self.chunk));
        } else if scanned.is_err() {
            return scanned;
        }
        self.chat.state.scanner.end();
        // Nothing is left to keep.
        mem::forget(self);
        scanned
    }

    #[inline]
    fn scan(&mut self, io: &mut Io<'_>) -> Result<()> {
        let chat = &mut *self.chat;
        if chat.state.scanner.has_found() && !io.is_ending() {
            chat.end_piece(io)?;
        }
        while !io.is_ending() {
            match chat.state.scanner.step(self.chunk) {
                None => break,
                Some(Step::Collect(piece)) => {
                    let result = chat.collect(io, &piece);
                    chat.handle_failure(io, result)?;
                }
                Some(Step::Last(piece)) => {
                    chat.state.scanner.set_found();
                    let result = chat.collect(io, &piece);
                    chat.handle_failure(io, result)?;
                    if !io.is_ending() {
                        chat.end_piece(io)?;
                    }
                }
                Some(Step::Found) => chat.end_piece(io)?,
                Some(Step::Endless) => {
                    refuse_endless(io);
                    break;
                }
            }
        }
        Ok(())
    }
}

impl<H> Drop for Scan<'_, H> {
    #[inline]
    fn drop(&mut self) {
        self.chat.state.scanner.keep_rest(self.chunk);
    }
}

/// Fails a chat whose handler keeps setting counts of 0.
#[cold]
fn refuse_endless(endpoint: &mut Endpoint) {
    let message = format!(
        "a count of 0 was set {MOST_EMPTY} times in a row without any input: set another \
         terminator, or Terminator::none() to collect everything"
    );
    let error = Error::misuse(ErrorKind::InvalidInput, message);
    log::error!("{endpoint}: {error}");
    endpoint.fail(error);
}

/// Logs why `found_terminator` is not called.
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

    fn handle_timeout(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.handle(io, H::handle_timeout)
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
        self.state.ended = true;
        self.go_on(io)
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.call(io, H::handle_close)
    }

    /// Calls the handler's `handle_error`, and goes on if the chat does: there may be more
    /// to scan, and no event may come for that. Errors from there are treated as the loop
    /// treats them.
    fn handle_error(&mut self, io: &mut Io<'_>, mut error: Error) -> Result<()> {
        let mut in_panic = false;
        loop {
            in_panic |= matches!(error, Error::Panicked(_));
            self.tell(io, error)?;
            let gone_on = match in_panic {
                true => self.go_on_catching(io),
                false => self.go_on(io),
            };
            let Err(failure) = gone_on else {
                return Ok(());
            };
            match failure.effect(|error| io.is_own_end(error)) {
                Effect::Exit => return Err(failure),
                Effect::Nothing => return Ok(()),
                Effect::End => {
                    io.fail(failure);
                    return Ok(());
                }
                Effect::Failure => error = failure,
            }
        }
    }

    fn log_info(&mut self, io: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        self.call(io, |handler, io| handler.log_info(io, message, level))
    }
}

/// Settles a chat: resumes what an error that left the loop broke off, and completes a piece
/// by a count of 0 that was set from outside.
pub(super) fn settle<H: ChatHandler + 'static>(
    dispatcher: &mut Dispatcher<Chat<H>>,
    event_loop: &mut EventLoop,
) -> Result<()> {
    if dispatcher.handler().has_more(dispatcher) && dispatcher.has_events() {
        match dispatcher.enter(event_loop, Chat::go_on) {
            Err(error) if error.would_block() => {}
            result => result?,
        }
    }
    Channel::settle(dispatcher, event_loop)
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
