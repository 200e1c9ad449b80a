//! The trait that a program implements for a chat.

use log::Level;

use super::io::ChatIo;
use crate::address::Address;
use crate::dispatcher::{Socket, View, accept_some, log_to_facade, uncaptured, unserved};
use crate::error::{Error, Result};
use crate::event_loop::Predicates;

/// The handler of an [`AsyncChat`](crate::AsyncChat): the methods that a program
/// overrides in asynchat.
///
/// The chat reads and writes by itself. For each piece of the input,
/// [`collect_incoming_data`](ChatHandler::collect_incoming_data) is called with its bytes,
/// and then [`found_terminator`](ChatHandler::found_terminator).
///
/// Unlike a [`Handler`](crate::Handler), a `ChatHandler` does not have `handle_read`,
/// `handle_write` and `writable`, since the chat reads and writes itself. (In asynchat they
/// are inherited, and overriding them breaks the chat.) Override
/// [`readable`](ChatHandler::readable) to leave input unread for a while. Push output, and
/// push more of it in [`handle_drain`](ChatHandler::handle_drain). Every other method of a
/// `Handler` is here too.
///
/// A piece whose terminator is bytes may have up to 65,536 bytes (64 KiB), unless
/// [`ChatIo::set_limit`] sets another limit. For a longer one
/// [`handle_error`](ChatHandler::handle_error) is called with [`Error::LineTooLong`],
/// and by default the chat ends.
///
/// # Errors
///
/// A handler may return any error with `?`. [`Error`] documents how the loop treats each.
/// Only the handler's own channel is affected.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for a chat",
    label = "not a `ChatHandler`",
    note = "implement `ChatHandler`: only `found_terminator` is required",
    note = "for a `Handler`, use `Dispatcher` or `DispatcherWithSend` instead of `AsyncChat`"
)]
pub trait ChatHandler {
    /// Takes bytes of the incoming piece: at least one, perhaps not all, and none of the
    /// terminator. The default keeps them for [`ChatIo::take_data`].
    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        io.collect(data);
        Ok(())
    }

    /// Handles a complete piece. A terminator set here acts on the very next byte.
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()>;

    /// Checks whether the chat wants input now. The loop calls this in every pass. The
    /// default returns true.
    fn readable(&self, io: &View<'_>) -> bool {
        let _ = io;
        true
    }

    /// Returns whether [`readable`](ChatHandler::readable) depends on the handler's own
    /// state and its `io` alone, so that the loop need not call it in every pass. The
    /// default is that it may depend on anything.
    fn predicates(&self) -> Predicates {
        Predicates::EveryPass
    }

    /// Handles an established connection that the chat has made. The default logs it.
    fn handle_connect(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.log_info(io, "unhandled connect event", Level::Warn)
    }

    /// Accepts the pending connections of a chat that [listens](crate::AsyncChat::listen):
    /// see [`Handler::handle_accept`](crate::Handler::handle_accept).
    fn handle_accept(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        accept_some(self, io, Self::handle_accepted, Self::handle_accept_error)
    }

    /// Handles a connection that the listening chat has accepted. The default closes it
    /// and logs that.
    fn handle_accepted(
        &mut self,
        io: &mut ChatIo<'_>,
        socket: Socket,
        peer: Address,
    ) -> Result<()> {
        drop((socket, peer));
        self.log_info(io, "unhandled accepted event", Level::Warn)
    }

    /// Handles the error of a connection that the listening chat accepted and could not
    /// serve: see [`Handler::handle_accept_error`](crate::Handler::handle_accept_error).
    fn handle_accept_error(
        &mut self,
        io: &mut ChatIo<'_>,
        peer: Address,
        error: Error,
    ) -> Result<()> {
        self.log_info(io, &unserved(&peer, &error), Level::Error)
    }

    /// Handles the end of [congestion](crate::Endpoint::is_congested) of the output. The
    /// default does nothing.
    fn handle_drain(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let _ = io;
        Ok(())
    }

    /// Handles the end of the time that was set with
    /// [`set_timeout`](crate::Endpoint::set_timeout): see
    /// [`Handler::handle_timeout`](crate::Handler::handle_timeout). The default ends the chat.
    fn handle_timeout(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.fail_by_timeout();
        Ok(())
    }

    /// Handles an exceptional condition, such as out-of-band data: see
    /// [`Handler::handle_expt`](crate::Handler::handle_expt).
    fn handle_expt(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.note_unhandled_priority();
        self.log_info(io, "unhandled incoming priority event", Level::Warn)
    }

    /// Handles the end of the input. The tail without a terminator was already passed to
    /// `collect_incoming_data`. The default closes the chat once the queued output is
    /// written.
    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.close_after_eof();
        Ok(())
    }

    /// Handles the end of the chat. [`reason`](crate::Endpoint::reason) returns the error
    /// that caused it, if any. The method is called at most once, and the chat is closed
    /// when it returns. The default does nothing more.
    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.close();
        Ok(())
    }

    /// Handles an error that another method of this handler returned, or
    /// [`Error::LineTooLong`] if a piece exceeds the [limit](ChatIo::set_limit). The default
    /// logs the error and ends the chat: [`handle_close`](ChatHandler::handle_close)
    /// follows.
    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        let message = uncaptured(io, &error);
        self.log_info(io, &message, Level::Error)?;
        io.fail(error);
        Ok(())
    }

    /// Logs a message: see [`Handler::log`](crate::Handler::log).
    fn log(&mut self, io: &mut ChatIo<'_>, message: &str) -> Result<()> {
        let _ = io;
        log::info!("{message}");
        Ok(())
    }

    /// Logs a message with its level: see [`Handler::log_info`](crate::Handler::log_info).
    fn log_info(&mut self, io: &mut ChatIo<'_>, message: &str, level: Level) -> Result<()> {
        log_to_facade(io, message, level);
        Ok(())
    }
}

/// A box of a handler is one, so that a program can choose it at run time.
impl<H: ChatHandler + ?Sized> ChatHandler for Box<H> {
    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        (**self).collect_incoming_data(io, data)
    }
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (**self).found_terminator(io)
    }
    fn readable(&self, io: &View<'_>) -> bool {
        (**self).readable(io)
    }
    fn predicates(&self) -> Predicates {
        (**self).predicates()
    }
    fn handle_connect(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (**self).handle_connect(io)
    }
    fn handle_accept(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (**self).handle_accept(io)
    }
    fn handle_accepted(
        &mut self,
        io: &mut ChatIo<'_>,
        socket: Socket,
        peer: Address,
    ) -> Result<()> {
        (**self).handle_accepted(io, socket, peer)
    }
    fn handle_accept_error(
        &mut self,
        io: &mut ChatIo<'_>,
        peer: Address,
        error: Error,
    ) -> Result<()> {
        (**self).handle_accept_error(io, peer, error)
    }
    fn handle_drain(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (**self).handle_drain(io)
    }
    fn handle_timeout(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (**self).handle_timeout(io)
    }
    fn handle_expt(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (**self).handle_expt(io)
    }
    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (**self).handle_eof(io)
    }
    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (**self).handle_close(io)
    }
    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        (**self).handle_error(io, error)
    }
    fn log(&mut self, io: &mut ChatIo<'_>, message: &str) -> Result<()> {
        (**self).log(io, message)
    }
    fn log_info(&mut self, io: &mut ChatIo<'_>, message: &str, level: Level) -> Result<()> {
        (**self).log_info(io, message, level)
    }
}
