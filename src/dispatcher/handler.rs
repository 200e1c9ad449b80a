//! What a program writes: the handlers of asyncore.

use std::panic::{AssertUnwindSafe, catch_unwind};

use log::Level;

use super::endpoint::Endpoint;
use super::io::{Io, View};
use super::socket::Socket;
use crate::address::Address;
use crate::error::{Error, Result};
use crate::event_loop::Predicates;

/// How many connections a listener accepts in one pass, so that a flood of them
/// leaves time for the channels that exist.
const ACCEPTS_PER_PASS: usize = 64;

/// What happens to a channel: the methods that one overrides in asyncore.
///
/// Each is called by the [dispatcher](crate::Dispatcher) that owns the handler,
/// with the [`Io`] to do the work. All have defaults; those that say so only log
/// that nobody handled the event.
///
/// # Errors
///
/// A handler may return any error with `?`; [`Error`] says what becomes of each.
/// Only its own channel is affected.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "all methods of `Handler` have defaults: `impl Handler for {Self} {{}}` is enough to begin",
    note = "for a `ChatHandler`, use `AsyncChat` in the place of a dispatcher"
)]
pub trait Handler {
    /// Whether the channel wants [`handle_read`](Handler::handle_read), or for a
    /// listener [`handle_accept`](Handler::handle_accept). Asked in every pass;
    /// true unless overridden. No more is asked once the input has ended.
    ///
    /// It may look at other channels, through
    /// [`View::event_loop`](crate::View::event_loop): a forwarder reads no more while
    /// the other side is congested. That takes
    /// [`Predicates::Anything`], the default.
    fn readable(&self, io: &View<'_>) -> bool {
        let _ = io;
        true
    }

    /// Whether the channel wants [`handle_write`](Handler::handle_write). Asked in
    /// every pass. By default what [`Endpoint::writable`](crate::Endpoint::writable)
    /// says: with a buffer, whether something waits to be written; without, true,
    /// as in asyncore.
    ///
    /// A channel that is connecting is watched for writing whatever this answers;
    /// one that has buffered output too; a listener never.
    fn writable(&self, io: &View<'_>) -> bool {
        io.writable()
    }

    /// Whether the two predicates above look at the handler's own state (and its
    /// `io`) alone, so that they need not be asked in every pass. By default not.
    fn predicates(&self) -> Predicates {
        Predicates::Anything
    }

    /// There is something to receive, or the end of the input.
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.log_info(io, "unhandled read event", Level::Warn)
    }

    /// There is room to send.
    ///
    /// By default a channel with a buffer writes what waits in it; it does so as
    /// well if this is overridden and does not. Without a buffer the event is
    /// logged, and no more of them are asked for, unless
    /// [`writable`](Handler::writable) is overridden.
    fn handle_write(&mut self, io: &mut Io<'_>) -> Result<()> {
        if io.is_buffered() {
            return io.flush();
        }
        io.mute_writes();
        self.log_info(io, "unhandled write event", Level::Warn)
    }

    /// The output was [congested](crate::Endpoint::is_congested), and no longer is:
    /// as much was written that the low watermark is reached. By default does
    /// nothing.
    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        let _ = io;
        Ok(())
    }

    /// There is an exceptional condition: mostly out-of-band data, for
    /// [`recv_oob`](crate::Endpoint::recv_oob). It is there until it is received, so
    /// this is called again and again otherwise. By default it is logged, and after
    /// 64 in a row no more are asked for until there is something to read.
    fn handle_expt(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.note_unhandled_priority();
        self.log_info(io, "unhandled incoming priority event", Level::Warn)
    }

    /// The connection that was being made stands. If this returns an error that
    /// does not end the channel, it is called again.
    fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.log_info(io, "unhandled connect event", Level::Warn)
    }

    /// A listener has connections to accept. By default accepts them, some dozens at
    /// most in a pass, and calls [`handle_accepted`](Handler::handle_accepted) with
    /// each; an error of that goes to
    /// [`handle_accept_error`](Handler::handle_accept_error).
    fn handle_accept(&mut self, io: &mut Io<'_>) -> Result<()> {
        accept_some(self, io, Self::handle_accepted, Self::handle_accept_error)
    }

    /// A connection was accepted; dropping `socket` closes it, which is what the
    /// default does, and logs it.
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, peer: Address) -> Result<()> {
        drop((socket, peer));
        self.log_info(io, "unhandled accepted event", Level::Warn)
    }

    /// [`handle_accepted`](Handler::handle_accepted) returned `error`, or panicked in
    /// a loop that catches panics, for the connection of `peer`. By default logs that;
    /// the connection is closed unless a channel has it already.
    ///
    /// An error that this returns is the listener's, and goes to
    /// [`handle_error`](Handler::handle_error).
    fn handle_accept_error(&mut self, io: &mut Io<'_>, peer: Address, error: Error) -> Result<()> {
        self.log_info(io, &unserved(&peer, &error), Level::Error)
    }

    /// The input has ended: the peer closed its side, or the file is read to its
    /// end. [`handle_read`](Handler::handle_read) is not called any more.
    ///
    /// By default the channel closes when what waits to be written is written.
    /// Override it to go on writing, and close later; or to wait for the next writer of a
    /// FIFO, with [`rearm_input`](crate::Endpoint::rearm_input).
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.close_after_eof();
        Ok(())
    }

    /// The channel ends; [`reason`](crate::Endpoint::reason) says why, if there is
    /// a why. Called once, after everything that could be read was read. Whatever
    /// this does, the channel is closed when it returns. By default it is logged.
    ///
    /// | what ends the channel | is this called? |
    /// | --- | --- |
    /// | the end of the input, [`close_after_eof`], [`close_when_done`] | yes, when the output is written |
    /// | the connection is gone, [`fail`] | yes |
    /// | [`close`], [`abort`], `EventLoop::close` and `close_all`, dropping | no: the program knows |
    ///
    /// [`close_after_eof`]: crate::Endpoint::close_after_eof
    /// [`close_when_done`]: crate::Endpoint::close_when_done
    /// [`fail`]: crate::Endpoint::fail
    /// [`close`]: crate::Endpoint::close
    /// [`abort`]: crate::Endpoint::abort
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.log_info(io, "unhandled close event", Level::Warn)?;
        io.close();
        Ok(())
    }

    /// A handler of this channel returned `error`. By default it is logged, and
    /// the channel ends: [`handle_close`](Handler::handle_close) follows.
    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        let message = uncaptured(io, &error);
        self.log_info(io, &message, Level::Error)?;
        io.fail(error);
        Ok(())
    }

    /// For a program's log of what it served. By default it goes to the `log`
    /// facade at the level `Info`.
    fn log(&mut self, io: &mut Io<'_>, message: &str) -> Result<()> {
        let _ = io;
        log::info!("{message}");
        Ok(())
    }

    /// Takes what there is to say about the channel: the errors and warnings that
    /// the defaults above log. By default it goes to the `log` facade, with the
    /// channel in front; warnings go there at the level `Debug`, since asyncore
    /// does not show them unless asked to.
    fn log_info(&mut self, io: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        log_to_facade(io, message, level);
        Ok(())
    }
}

/// What the default of `handle_error` says.
pub(crate) fn uncaptured(endpoint: &Endpoint, error: &Error) -> String {
    format!("uncaptured error, closing channel ({endpoint}): {error}")
}

/// What the default of `handle_accept_error` says.
pub(crate) fn unserved(peer: &Address, error: &Error) -> String {
    format!("cannot serve the connection from {peer}: {error}")
}

/// What the default of `log_info` does.
pub(crate) fn log_to_facade(endpoint: &Endpoint, message: &str, level: Level) {
    let shown = match level {
        Level::Warn => Level::Debug,
        level => level,
    };
    let channel = endpoint.to_string();
    // asyncore's message for an error names the channel, which is in front here.
    let message = message.replacen(&format!(" ({channel})"), "", 1);
    log::log!(shown, "{channel}: {message}");
}

/// What the default of `handle_accept` does: accepts what there is, up to a limit,
/// and gives it to `accepted`, whose errors but the exit error are `failed`'s. (`I` is
/// an [`Io`] or what dereferences to one.)
pub(crate) fn accept_some<'a, H: ?Sized, I: AsMut<Io<'a>>>(
    handler: &mut H,
    io: &mut I,
    accepted: fn(&mut H, &mut I, Socket, Address) -> Result<()>,
    failed: fn(&mut H, &mut I, Address, Error) -> Result<()>,
) -> Result<()> {
    for _ in 0..ACCEPTS_PER_PASS {
        let Some((socket, peer)) = io.as_mut().accept()? else {
            break;
        };
        let of = peer.clone();
        let result = if io.as_mut().event_loop().catches_panics() {
            let served = AssertUnwindSafe(|| accepted(handler, io, socket, peer));
            catch_unwind(served).unwrap_or_else(|panic| Err(Error::panicked(&*panic)))
        } else {
            accepted(handler, io, socket, peer)
        };
        match result {
            Err(error) if error.is_exit() => return Err(error),
            Err(error) if !error.would_block() => failed(handler, io, of, error)?,
            _ => {}
        }
        io.as_mut().heed_close();
        if io.as_mut().is_closed() {
            break;
        }
    }
    Ok(())
}
