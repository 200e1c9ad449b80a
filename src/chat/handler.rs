//! What a program writes for a chat.

use log::Level;

use super::io::ChatIo;
use crate::address::Address;
use crate::dispatcher::{Socket, View, accept_some, log_to_facade, uncaptured, unserved};
use crate::error::{Error, Result};
use crate::event_loop::Predicates;

/// What happens to an [`AsyncChat`](crate::AsyncChat): the methods that one
/// overrides in asynchat.
///
/// A chat reads and writes by itself. Of the input, the handler gets pieces: first
/// their bytes, in
/// [`collect_incoming_data`](ChatHandler::collect_incoming_data), and then word
/// that the piece is complete, in
/// [`found_terminator`](ChatHandler::found_terminator).
///
/// So, unlike a [`Handler`](crate::Handler), it has no `handle_read`, no
/// `handle_write` and no `writable`: those are the chat's own. (In asynchat they
/// are inherited, and overriding them breaks the chat.) Whether there is input is
/// left to [`readable`](ChatHandler::readable), and what is to be sent is pushed,
/// more of it perhaps in [`handle_drain`](ChatHandler::handle_drain). Every other
/// method of a `Handler` is here too.
///
/// A piece that ends with a terminator of bytes may have 65,536 bytes (64 KiB), unless
/// [`ChatIo::set_limit`] sets another limit. For a longer one
/// [`handle_error`](ChatHandler::handle_error) is called with [`Error::LineTooLong`],
/// and by default the chat ends.
///
/// # Errors
///
/// A handler may return any error with `?`; [`Error`] says what becomes of each.
/// Only its own channel is affected.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for a chat",
    label = "not a `ChatHandler`",
    note = "implement `ChatHandler`, of which only `found_terminator` has no default",
    note = "for a `Handler`, use `Dispatcher` or `DispatcherWithSend` in the place of `AsyncChat`"
)]
pub trait ChatHandler {
    /// Takes bytes of the piece that is coming in: not all of it perhaps, never
    /// nothing, and never any of the terminator. By default they are kept for
    /// [`ChatIo::take_data`].
    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        io.collect(data);
        Ok(())
    }

    /// The piece is complete. A terminator that is set here acts on the very next
    /// byte.
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()>;

    /// Whether the chat wants input now. Asked in every pass; true unless
    /// overridden.
    fn readable(&self, io: &View<'_>) -> bool {
        let _ = io;
        true
    }

    /// Whether [`readable`](ChatHandler::readable) looks at the handler's own
    /// state (and its `io`) alone, so that it need not be asked in every pass. By
    /// default not.
    fn predicates(&self) -> Predicates {
        Predicates::Anything
    }

    /// The connection that was being made stands. By default it is logged.
    fn handle_connect(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.log_info(io, "unhandled connect event", Level::Warn)
    }

    /// The chat [listens](crate::AsyncChat::listen), and has connections to accept: see
    /// [`Handler::handle_accept`](crate::Handler::handle_accept).
    fn handle_accept(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        accept_some(self, io, Self::handle_accepted, Self::handle_accept_error)
    }

    /// The chat listens, and a connection was accepted. By default it is closed,
    /// and that logged.
    fn handle_accepted(
        &mut self,
        io: &mut ChatIo<'_>,
        socket: Socket,
        peer: Address,
    ) -> Result<()> {
        drop((socket, peer));
        self.log_info(io, "unhandled accepted event", Level::Warn)
    }

    /// The chat listens, and could not serve a connection that it accepted: see
    /// [`Handler::handle_accept_error`](crate::Handler::handle_accept_error).
    fn handle_accept_error(
        &mut self,
        io: &mut ChatIo<'_>,
        peer: Address,
        error: Error,
    ) -> Result<()> {
        self.log_info(io, &unserved(&peer, &error), Level::Error)
    }

    /// The output was [congested](crate::Endpoint::is_congested), and no longer is.
    /// By default does nothing.
    fn handle_drain(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let _ = io;
        Ok(())
    }

    /// There is an exceptional condition, such as out-of-band data: see
    /// [`Handler::handle_expt`](crate::Handler::handle_expt).
    fn handle_expt(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.note_unhandled_priority();
        self.log_info(io, "unhandled incoming priority event", Level::Warn)
    }

    /// The input has ended, and its tail, which had no terminator, is collected.
    /// By default the chat closes when what waits to be sent is sent.
    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.close_after_eof();
        Ok(())
    }

    /// The chat ends; [`reason`](crate::Endpoint::reason) says why, if there is a
    /// why. Called once. Whatever it does, the chat is closed when it returns. By
    /// default that is all.
    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.close();
        Ok(())
    }

    /// A handler of this chat returned `error`, or a piece exceeds the
    /// [limit](ChatIo::set_limit), which is an [`Error::LineTooLong`]. By default the
    /// error is logged, and the chat ends: [`handle_close`](ChatHandler::handle_close)
    /// follows.
    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        let message = uncaptured(io, &error);
        self.log_info(io, &message, Level::Error)?;
        io.fail(error);
        Ok(())
    }

    /// As [`Handler::log`](crate::Handler::log).
    fn log(&mut self, io: &mut ChatIo<'_>, message: &str) -> Result<()> {
        let _ = io;
        log::info!("{message}");
        Ok(())
    }

    /// As [`Handler::log_info`](crate::Handler::log_info).
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
