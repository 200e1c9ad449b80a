//! The end of a channel.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::link::Link;
use super::super::socket::Socket;
use super::Endpoint;
use super::state::{Congestion, Ending, Flow, Phase};
use crate::error::{Error, Result};
use crate::sys;

impl Endpoint {
    /// Ends the output once the pending output is written (half-close): the peer then
    /// reads end of file, and can go on sending. See shutdown(2).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel is closed, is a listener, has no socket, or has no buffer
    /// and is not connected yet; `Unsupported` if the transport cannot end its output alone;
    /// `WouldBlock` if it has no room to do so, and the channel no buffer; else the errors of
    /// shutdown(2). If output is pending, `handle_error` gets the transport's error when that is
    /// written.
    pub fn shutdown_when_done(&mut self) -> Result<()> {
        self.link_for("end the output")?;
        if self.accepting() {
            return Err(self.listens("end the output"));
        }
        let (buffered, connected) = (self.is_buffered(), self.has_peer());
        if !buffered && !connected {
            // The system would take back a connect in progress.
            let message = format!(
                "cannot end the output of fd {}: it is not connected yet; do it in `handle_connect`",
                self.fd
            );
            return Err(Error::misuse(io::ErrorKind::NotConnected, message));
        }
        let waits = self.has_output() || !connected || !self.end_output_now()?;
        if let (true, Some(buffer)) = (waits, self.outlet.buffer_mut()) {
            buffer.queue.push_shutdown();
            self.wait_for_room();
        }
        self.output_ended = true;
        Ok(())
    }

    /// Ends the output. Returns false if the transport has no room for that, and the buffer keeps
    /// the end for another try.
    fn end_output_now(&mut self) -> Result<bool> {
        match self.shutdown_now() {
            Err(error) if error.would_block() && self.is_buffered() => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Closes the channel once the pending output is written: `handle_close` is then called
    /// on a write event. Until then input is still handled, and nothing more is buffered.
    /// asynchat's method of that name.
    pub fn close_when_done(&mut self) {
        match self.outlet.buffer_mut() {
            Some(buffer) => {
                buffer.queue.close_at_end();
                self.wait_for_room();
            }
            None => self.make_close_due(),
        }
    }

    /// Discards the pending output, and a pending close after it. asynchat's documentation
    /// of `discard_buffers` says "emergencies only": the peer may not be able to make sense
    /// of what follows. Sends of the running handler are written first, as far as there is
    /// room.
    pub fn discard_output(&mut self) {
        self.write_gathered();
        self.drop_output();
    }

    /// Discards the pending output, and ends its congestion.
    fn drop_output(&mut self) {
        self.clear_output();
        if self.congestion == Congestion::Congested {
            self.congestion = Congestion::Drained;
        }
    }

    fn clear_output(&mut self) {
        if self.has_output() {
            self.flow = Flow::Clear;
            if let Some(buffer) = self.outlet.buffer_mut() {
                buffer.queue.clear();
            }
        }
    }

    /// Marks the connection as lost: pending output is discarded, and nothing more is sent.
    pub(super) fn break_output(&mut self) {
        self.drop_output();
        self.flow = Flow::Broken;
    }

    /// Closes the channel now if no output is pending, else once that is written. The default
    /// [`handle_eof`](crate::Handler::handle_eof) calls this.
    pub fn close_after_eof(&mut self) {
        if self.has_output() {
            self.close_when_done();
        } else {
            self.make_close_due();
        }
    }

    /// Closes the channel. None of its handlers is called any more. Sends of the running
    /// handler are written as far as there is room; other pending output is discarded (see
    /// [`close_when_done`](Endpoint::close_when_done)). The loop closes the descriptor when
    /// the handler returns, or before its next wait if the channel was reached from outside.
    /// A channel that is not in a loop keeps its descriptor until it is dropped.
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

    /// Writes the gathered output, since no event may follow. The channel is closing or the
    /// loop is stopping, so an error can only be logged.
    pub(in crate::dispatcher) fn write_gathered(&mut self) {
        if let Err(error) = self.write_what_was_gathered() {
            log::error!("{self}: could not send before the end: {error}");
        }
    }

    /// Closes the channel and resets the connection: the peer gets ECONNRESET, and pending
    /// output is discarded. A transport that cannot
    /// [reset](crate::Transport::reset_on_close) the connection is only closed.
    pub fn abort(&mut self) {
        self.reset_on_close();
        self.close_now();
    }

    /// Makes closing the channel reset the connection, also if an error closes it. Before
    /// [`close_when_done`](Endpoint::close_when_done), the peer gets the pending output and then
    /// ECONNRESET, as far as the system still delivers output before a reset. A transport that
    /// cannot [reset](crate::Transport::reset_on_close) the connection is only closed. See
    /// `SO_LINGER` in socket(7).
    ///
    /// ```
    /// # #[cfg(feature = "sim")] {
    /// use fdloop::{DispatcherWithSend, Handler, sim::{End, World}};
    ///
    /// struct Quiet;
    /// impl Handler for Quiet {}
    ///
    /// let world = World::with_seed(0);
    /// let (stream, peer) = world.pair();
    /// let mut channel = DispatcherWithSend::over(stream, Quiet);
    /// channel.send(b"the rest is missing")?;
    /// channel.reset_on_close();
    /// channel.close_when_done();
    /// let mut event_loop = world.event_loop();
    /// event_loop.add(channel)?;
    /// world.run(&mut event_loop)?;
    /// assert_eq!(peer.received(), b"the rest is missing");
    /// assert_eq!(peer.end(), Some(End::Reset));
    /// # }
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn reset_on_close(&mut self) {
        if let Some(link) = &mut self.link {
            link.reset_on_close();
        }
    }

    /// Ends the channel because of `error`: `handle_close` is called next, with `error` as
    /// the [`reason`](Endpoint::reason).
    pub fn fail(&mut self, error: Error) {
        if !self.is_over() {
            self.make_close_due();
            // Later errors are consequences of the first.
            self.reason.get_or_insert(error);
        }
    }

    /// Handles an error of the transport: a lost connection is recorded, and 0 returned.
    #[cold]
    pub(super) fn lost(&mut self, error: Error) -> Result<usize> {
        if !error.is_disconnected() {
            return Err(error);
        }
        self.give_up_if_closed(error.raw_os_error());
        self.fail(error);
        Ok(0)
    }

    /// Ends the channel when the handler has returned.
    pub(super) fn make_close_due(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Due;
        }
    }

    /// Checks whether `error` means that this channel's own connection is lost. An error
    /// that names no descriptor is not this channel's: the endpoint's own methods record
    /// a loss themselves.
    pub(crate) fn is_own_end(&self, error: &Error) -> bool {
        error.is_disconnected() && error.fd() == Some(self.fd)
    }

    /// Checks whether no more input is to be handled: the channel is closed, or will be
    /// when the handler has returned.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_over() || self.ending == Ending::Due
    }

    /// Checks whether the channel is closed, or its `handle_close` has begun.
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed() || self.ending == Ending::Begun
    }

    /// Ends the channel on behalf of the loop.
    pub(in crate::dispatcher) fn end(&mut self, reason: Option<Error>) {
        match reason {
            Some(reason) => self.fail(reason),
            None if self.is_over() => {}
            None => self.make_close_due(),
        }
    }

    /// Takes the socket's pending error, if any.
    pub(super) fn take_socket_error(&mut self) -> Result<Option<Error>> {
        let Some(socket) = self.socket() else {
            return Ok(None);
        };
        let taken = socket.take_error();
        let context = |e| Error::system("exceptional condition", Some(self.fd), e);
        taken.map(|error| error.map(context)).map_err(context)
    }

    /// Closes the descriptor, and returns the errors of close(2).
    pub(in crate::dispatcher) fn close_link(&mut self) -> Result<()> {
        self.close();
        match self.link.take() {
            Some(link) => link
                .close()
                .map_err(|e| Error::system("close", Some(self.fd), e)),
            None => Ok(()),
        }
    }

    /// Gives up a descriptor that was closed behind the channel's back.
    pub(in crate::dispatcher) fn forget_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.forget();
        }
    }

    /// Gives up the descriptor if `error`, which its transport returned, and the system say that it
    /// is not open any more: other code has closed it, and its number may be another's soon.
    /// (A descriptor that cannot be read returns the same error.) Returns true if so.
    #[cold]
    pub(super) fn give_up_if_closed(&mut self, error: Option<i32>) -> bool {
        let closed = error == Some(libc::EBADF) && !sys::fd::is_open(self.fd);
        if closed {
            self.forget_link();
        }
        closed
    }

    pub(in crate::dispatcher) fn into_socket(mut self) -> Option<Socket> {
        self.write_gathered();
        match self.link.take().map(Link::without_spent) {
            Some(Link::Socket(socket)) => Some(socket),
            _ => None,
        }
    }
}

impl Drop for Endpoint {
    /// Writes the gathered output. Output that has no room is discarded.
    fn drop(&mut self) {
        // A producer may panic. During another panic, that would abort the process.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.write_gathered())) {
            log::error!("{self}: {} while it was dropped", Error::panicked(&*panic));
        }
    }
}
