//! How a channel ends.

use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::socket::Socket;
use super::super::transport::Link;
use super::Endpoint;
use super::state::{Congestion, Ending, Flow, Phase};
use crate::error::{Error, Result};

impl Endpoint {
    /// Ends the output when everything that waits is written: the peer reads to
    /// its end, and can go on sending. See shutdown(2).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel is closed or has no socket; what the transport
    /// answers: `Unsupported` if it is neither a socket nor a transport of yours that
    /// knows how. (If output waits, `handle_error` gets that when it is written.)
    pub fn shutdown_when_done(&mut self) -> Result<()> {
        self.link_for("end the output")?;
        let waits = self.has_output() || !self.has_peer();
        match self.outlet.buffer_mut() {
            Some(buffer) if waits => {
                buffer.queue.push_shutdown();
                self.wait_for_room();
            }
            _ => self.shutdown_now()?,
        }
        self.output_ended = true;
        Ok(())
    }

    /// Closes when everything that waits is written: `handle_close` follows then,
    /// on a write event. Input goes on until then, and nothing more is kept for
    /// output. asynchat's method of that name.
    pub fn close_when_done(&mut self) {
        match self.outlet.buffer_mut() {
            Some(buffer) => {
                buffer.queue.close_at_end();
                self.wait_for_room();
            }
            None => self.make_close_due(),
        }
    }

    /// Forgets what waits to be written, and whether to close after it. "Emergencies
    /// only!", says asynchat, which has it: what follows may make no sense to the
    /// peer. What the handler that runs has sent goes out first, as far as there is
    /// room, for it only waits so that it leaves together.
    pub fn discard_output(&mut self) {
        self.write_gathered();
        self.drop_output();
    }

    /// Forgets what waits to be written.
    fn drop_output(&mut self) {
        self.clear_output();
        if self.congestion == Congestion::Congested {
            self.congestion = Congestion::Drained;
        }
    }

    fn clear_output(&mut self) {
        if self.has_output()
            && let Some(buffer) = self.outlet.buffer_mut()
        {
            buffer.queue.clear();
            self.flow = Flow::Clear;
        }
    }

    /// The connection is gone: what waits is lost with it, and nothing more is sent.
    pub(super) fn break_output(&mut self) {
        self.drop_output();
        self.flow = Flow::Broken;
    }

    /// What [`handle_eof`](crate::Handler::handle_eof) does unless it is
    /// overridden: closes now if nothing waits, else when that is written.
    pub fn close_after_eof(&mut self) {
        if self.has_output() {
            self.close_when_done();
        } else {
            self.make_close_due();
        }
    }

    /// Closes: no handler of this channel runs any more. What the handler that runs
    /// has sent goes out, as far as there is room; what waits beyond that is dropped
    /// (see [`close_when_done`](Endpoint::close_when_done)). The loop gives the
    /// descriptor up when the handler returns, or before it next waits if the
    /// channel was reached from outside; a channel that is in no loop keeps it until
    /// it is dropped.
    pub fn close(&mut self) {
        self.write_gathered();
        self.close_now();
    }

    fn close_now(&mut self) {
        self.clear_output();
        self.phase = Phase::Closed;
        if self.ending == Ending::Due {
            self.ending = Ending::No;
        }
    }

    /// Writes what was sent since the last write, for there may be no other. The
    /// channel is closing or the loop is stopping, so an error can only be logged.
    pub(crate) fn write_gathered(&mut self) {
        if let Err(error) = self.write_what_was_gathered() {
            log::error!("{self}: could not send before the end: {error}");
        }
    }

    /// Closes, and resets the connection: the peer gets ECONNRESET, and what was
    /// not sent is dropped. What is no TCP connection is just closed.
    pub fn abort(&mut self) {
        if let Some(socket) = self.socket() {
            // Where a socket cannot be reset, closing is what remains.
            let _ = socket.set_reset_on_close();
        }
        self.close_now();
    }

    /// Ends the channel because of `error`: `handle_close` follows, and finds it
    /// as the [`reason`](Endpoint::reason).
    pub fn fail(&mut self, error: Error) {
        if !self.is_over() {
            self.make_close_due();
            // The first is the cause of the others.
            self.reason.get_or_insert(error);
        }
    }

    /// The channel ends when the handler has returned.
    pub(super) fn make_close_due(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Due;
        }
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        if self.link.is_some() { self.fd } else { -1 }
    }

    /// Whether events make sense: a channel that is over has none, nor has a socket
    /// that was told nothing yet, or failed to connect.
    pub(crate) fn has_events(&self) -> bool {
        !self.is_over() && !matches!(self.phase, Phase::Idle { .. }) && !self.is_paused()
    }

    /// Checks whether the connection is established: from `handle_connect` on, if it was
    /// made here, until it is closed.
    pub(crate) fn is_established(&self) -> bool {
        matches!(
            self.phase,
            Phase::Connected | Phase::Announcing { begun: true }
        )
    }

    /// Whether `error` says that this channel's own connection is gone. An error of
    /// the standard library names no descriptor and so is another's: what is received
    /// and sent here notes the end by itself.
    pub(crate) fn is_own_end(&self, error: &Error) -> bool {
        error.is_disconnected() && error.fd() == Some(self.fd)
    }

    /// Whether no more input should be handled: the channel is closed, or will be
    /// when the handler has returned.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_over() || self.ending == Ending::Due
    }

    /// Whether the channel ends or has ended, so that its input is of no use.
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed() || self.ending == Ending::Begun
    }

    /// The channel ends, by an event of the loop's.
    pub(crate) fn end(&mut self, reason: Option<Error>) {
        match reason {
            Some(reason) => self.fail(reason),
            None => self.make_close_due(),
        }
    }

    /// Whether the socket has an error waiting, which asking for takes.
    pub(super) fn take_socket_error(&mut self) -> Result<Option<Error>> {
        let Some(socket) = self.socket() else {
            return Ok(None);
        };
        let taken = socket.take_error();
        let context = |e| Error::system("exceptional condition", Some(self.fd), e);
        taken.map(|error| error.map(context)).map_err(context)
    }

    /// Closes the descriptor and says what that answered.
    pub(crate) fn close_link(&mut self) -> Result<()> {
        self.close();
        match self.link.take() {
            Some(link) => link
                .close()
                .map_err(|e| Error::system("close", Some(self.fd), e)),
            None => Ok(()),
        }
    }

    /// Gives up a descriptor that somebody else has closed.
    pub(crate) fn forget_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.forget();
        }
    }

    pub(crate) fn into_socket(mut self) -> Option<Socket> {
        self.write_gathered();
        match self.link.take() {
            Some(Link::Socket(socket)) => Some(socket),
            _ => None,
        }
    }
}

impl Drop for Endpoint {
    /// Writes what waits only so that it leaves together. Output that the peer had no
    /// room for is dropped.
    fn drop(&mut self) {
        // A producer may panic. From here, during another panic, that would abort.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.write_gathered())) {
            log::error!("{self}: {} while it was dropped", Error::panicked(&*panic));
        }
    }
}
