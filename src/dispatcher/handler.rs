//! The trait that programs implement: asyncore's handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use log::Level;

use super::endpoint::Endpoint;
use super::io::{Io, View};
use super::socket::Socket;
use crate::address::Address;
use crate::error::{Effect, Error, Result};
use crate::event_loop::Predicates;

/// Connections accepted by a listener in one pass. A flood of them must leave time for other
/// channels.
const ACCEPTS_PER_PASS: usize = 64;

/// The event handlers of a channel: the methods that a program overrides in asyncore.
///
/// The [dispatcher](crate::Dispatcher) that owns the handler calls them with an [`Io`], which
/// has the methods of the channel. All have defaults. Some defaults only log that the event
/// was not handled.
///
/// # Errors
///
/// A handler can return any error with `?`. [`Error`] documents the effect of each. Only the
/// handler's own channel is affected.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "all methods of `Handler` have defaults: `impl Handler for {Self} {{}}` is enough to begin",
    note = "for a `ChatHandler`, use `AsyncChat` in the place of a dispatcher"
)]
pub trait Handler {
    /// Checks whether the channel wants [`handle_read`](Handler::handle_read), or for a
    /// listener [`handle_accept`](Handler::handle_accept). By default returns true. Called in
    /// every pass until the input has ended.
    ///
    /// It can look at other channels through
    /// [`View::event_loop`](crate::View::event_loop): a forwarder does not read while the
    /// other side is congested. This needs [`Predicates::EveryPass`], the default, unless the other
    /// channel reaches this one ([`EventLoop::get_mut`](crate::EventLoop::get_mut)) whenever the
    /// result may have changed.
    fn readable(&self, io: &View<'_>) -> bool {
        let _ = io;
        true
    }

    /// Checks whether the channel wants [`handle_write`](Handler::handle_write). Called in
    /// every pass. By default calls [`Endpoint::writable`](crate::Endpoint::writable): with a
    /// buffer, that returns true if output is pending; without a buffer it returns true, as
    /// in asyncore.
    ///
    /// A channel that connects or has pending output is watched for writing even if this
    /// returns false. A listener never is.
    fn writable(&self, io: &View<'_>) -> bool {
        io.writable()
    }

    /// Returns what the two predicates above depend on. If that is only the handler's own
    /// state and its `io`, they need not be called in every pass. By default returns
    /// [`Predicates::EveryPass`].
    fn predicates(&self) -> Predicates {
        Predicates::EveryPass
    }

    /// Handles a read event: there is input to receive, or the input has ended. By default
    /// the event is logged.
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.log_info(io, "unhandled read event", Level::Warn)
    }

    /// Handles a write event: there is room to send.
    ///
    /// By default a channel with a buffer writes its pending output. It also does so if an
    /// override does not. Without a buffer, the event is logged, and the channel is not
    /// watched for writing any more unless [`writable`](Handler::writable) is overridden.
    fn handle_write(&mut self, io: &mut Io<'_>) -> Result<()> {
        if io.is_buffered() {
            return io.flush();
        }
        io.mute_writes();
        self.log_info(io, "unhandled write event", Level::Warn)
    }

    /// Handles the end of [congestion](crate::Endpoint::is_congested): enough output was
    /// written to reach the low watermark. By default does nothing.
    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        let _ = io;
        Ok(())
    }

    /// Handles the end of the time that was set with
    /// [`set_timeout`](crate::Endpoint::set_timeout), in which no bytes were received or sent. By
    /// default the channel ends: [`handle_close`](Handler::handle_close) is called next, and
    /// [`reason`](crate::Endpoint::reason) is ETIMEDOUT. If an override lets the channel go on, the
    /// time begins anew.
    fn handle_timeout(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.fail_by_timeout();
        Ok(())
    }

    /// Handles an exceptional condition, usually out-of-band data for
    /// [`recv_oob`](crate::Endpoint::recv_oob). The event is reported again until that data is
    /// received. By default it is logged, and after 64 events in a row the channel is not
    /// watched for them until there is input to read.
    fn handle_expt(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.note_unhandled_priority();
        self.log_info(io, "unhandled incoming priority event", Level::Warn)
    }

    /// Handles the completion of a connect. If this returns an error that does not end the
    /// channel, it is called again. By default the event is logged.
    fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.log_info(io, "unhandled connect event", Level::Warn)
    }

    /// Handles a listener's event: there are connections to accept. By default accepts at
    /// most 64 in a pass, and calls [`handle_accepted`](Handler::handle_accepted) with each.
    /// If that fails, [`handle_accept_error`](Handler::handle_accept_error) gets the error.
    fn handle_accept(&mut self, io: &mut Io<'_>) -> Result<()> {
        accept_some(self, io, Self::handle_accepted, Self::handle_accept_error)
    }

    /// Handles an accepted connection. Dropping `socket` closes it. By default logs the event
    /// and drops `socket`.
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, peer: Address) -> Result<()> {
        drop((socket, peer));
        self.log_info(io, "unhandled accepted event", Level::Warn)
    }

    /// Handles a failure of [`handle_accepted`](Handler::handle_accepted) for the connection
    /// of `peer`: it returned `error`, or panicked in a loop that catches panics. By default
    /// logs the error. The connection is closed unless a channel already owns it.
    ///
    /// If this returns an error, it concerns the listener, and
    /// [`handle_error`](Handler::handle_error) gets it.
    fn handle_accept_error(&mut self, io: &mut Io<'_>, peer: Address, error: Error) -> Result<()> {
        self.log_info(io, &unserved(&peer, &error), Level::Error)
    }

    /// Handles the end of the input: the peer closed its side, or the file is read to its
    /// end. [`handle_read`](Handler::handle_read) is not called any more.
    ///
    /// By default the channel closes once the pending output is written.
    /// Override it to go on writing, and close later; or to wait for the next writer of a
    /// FIFO, with [`rearm_input`](crate::Endpoint::rearm_input).
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.close_after_eof();
        Ok(())
    }

    /// Handles the end of the channel. [`reason`](crate::Endpoint::reason) holds the error
    /// that caused it, if any. Called once, after all input that could be read was read. The
    /// channel is closed when this returns, even on an error. By default the event is logged.
    ///
    /// | cause of the end | `handle_close` is called |
    /// | --- | --- |
    /// | the end of the input, [`close_after_eof`], [`close_when_done`] | yes, once the output is written |
    /// | a lost connection, [`fail`] | yes |
    /// | [`close`], [`abort`], `EventLoop::close` and `close_all`, dropping | no: the program ended the channel itself |
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

    /// Handles `error`, returned by a handler of this channel. By default it is logged, and
    /// the channel ends: [`handle_close`](Handler::handle_close) is called next.
    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        let message = uncaptured(io, &error);
        self.log_info(io, &message, Level::Error)?;
        io.fail(error);
        Ok(())
    }

    /// Logs `message`, for a program's log of the requests it served. By default it goes to
    /// the `log` facade at the level `Info`.
    fn log(&mut self, io: &mut Io<'_>, message: &str) -> Result<()> {
        let _ = io;
        log::info!("{message}");
        Ok(())
    }

    /// Logs `message` about the channel, such as the errors and warnings of the defaults
    /// above. By default it goes to the `log` facade, preceded by the channel. Warnings go
    /// there at the level `Debug`, since asyncore hides them by default.
    fn log_info(&mut self, io: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        log_to_facade(io, message, level);
        Ok(())
    }
}

/// Returns the message that the default of `handle_error` logs.
pub(crate) fn uncaptured(endpoint: &Endpoint, error: &Error) -> String {
    format!("uncaptured error, closing channel ({endpoint}): {error}")
}

/// Returns the message that the default of `handle_accept_error` logs.
pub(crate) fn unserved(peer: &Address, error: &Error) -> String {
    format!("cannot serve the connection from {peer}: {error}")
}

/// Logs a message as the default of `log_info` does.
pub(crate) fn log_to_facade(endpoint: &Endpoint, message: &str, level: Level) {
    let shown = match level {
        Level::Warn => Level::Debug,
        level => level,
    };
    let channel = endpoint.to_string();
    // asyncore's message for an error names the channel, which already precedes it here.
    let message = message.replacen(&format!(" ({channel})"), "", 1);
    log::log!(shown, "{channel}: {message}");
}

/// Accepts the waiting connections up to a limit, as the default of `handle_accept` does, and
/// calls `accepted` with each. `failed` gets its errors, except the exit error. (`I` is an
/// [`Io`], or dereferences to one.)
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
            Ok(()) => {}
            Err(error) => match error.effect(|_| false) {
                Effect::Exit => return Err(error),
                Effect::Nothing => {}
                Effect::End | Effect::Failure => failed(handler, io, of, error)?,
            },
        }
        io.as_mut().heed_close();
        if io.as_mut().is_closed() {
            break;
        }
    }
    Ok(())
}
