//! Sending, and what waits to be sent.

use std::io;

use super::super::output::{Mark, Output};
use super::super::producer::Producer;
use super::super::transport::uninterrupted;
use super::{Endpoint, Flags, Stage};
use crate::address::Address;
use crate::error::{Error, Result};

impl Endpoint {
    /// Sends `data`, and says how many bytes of it were taken.
    ///
    /// With a buffer all are: what cannot be written now is kept, and written when
    /// there is room, or when the connection stands. Of several sends in one
    /// handler, the first is written at once and the others together, when the
    /// handler returns. Without a buffer, and behind a
    /// [`close_when_done`](Endpoint::close_when_done), it is what send(2) took: 0
    /// if there is no room.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel is closed, has no socket (with a buffer one may
    /// send before), or is a listener; `InvalidInput` after
    /// [`shutdown_when_done`](Endpoint::shutdown_when_done); else what the transport
    /// answers, for reasons other than that the connection is gone. If it is gone,
    /// that is no error here: what is sent from then on is dropped (0), and
    /// `handle_close` tells of it.
    pub fn send(&mut self, data: &[u8]) -> Result<usize> {
        if self.output.is_none() {
            self.check_can_send()?;
            return self.send_now(data);
        }
        if self.will_close() {
            return self.send_behind_close(data);
        }
        let written = self.send_ahead(data)?;
        if let (Some(output), Some(written)) = (&mut self.output, written) {
            output.push(&data[written..]);
            self.pushed();
        }
        Ok(data.len())
    }

    /// As [`send`](Endpoint::send), of data that is given away: with a buffer,
    /// what cannot be written now is kept, without copying it if that is 4,096 bytes or
    /// more.
    ///
    /// # Errors
    ///
    /// As for [`send`](Endpoint::send).
    pub fn send_owned(&mut self, data: Vec<u8>) -> Result<usize> {
        if self.output.is_none() || self.will_close() {
            return self.send(&data);
        }
        let (len, written) = (data.len(), self.send_ahead(&data)?);
        if let (Some(output), Some(written)) = (&mut self.output, written) {
            output.push_owned(data, written);
            self.pushed();
        }
        Ok(len)
    }

    /// Sends what `producer` makes, behind what waits already, as fast as the peer
    /// takes it; nothing behind a [`close_when_done`](Endpoint::close_when_done).
    /// asynchat's `push_with_producer`.
    ///
    /// # Errors
    ///
    /// `Unsupported` without a buffer; else as for [`send`](Endpoint::send).
    pub fn send_with_producer(&mut self, producer: impl Producer) -> Result<()> {
        self.check_can_send()?;
        let fd = self.fd;
        let Some(output) = &mut self.output else {
            let message = format!(
                "cannot send what a producer makes on fd {fd}: the channel has no buffer; use a \
                 DispatcherWithSend or an AsyncChat"
            );
            return Err(Error::misuse(io::ErrorKind::Unsupported, message));
        };
        if !output.will_close() && !self.flags.intersects(Flags::CLOSE_DUE | Flags::BROKEN) {
            output.push_producer(Box::new(producer));
            self.pushed();
        }
        Ok(())
    }

    /// Whether the connection is known to be gone, so that sending is of no use.
    fn has_no_reader(&self) -> bool {
        self.is(Flags::CLOSE_DUE | Flags::BROKEN)
    }

    /// With a buffer, one may send before there is even a socket.
    fn check_can_send(&mut self) -> Result<()> {
        if self.is(Flags::OUTPUT_ENDED) {
            let fd = self.fd;
            let message =
                format!("cannot send on fd {fd}: its output was told to end (shutdown_when_done)");
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        }
        match self.stage {
            Stage::Accepting => Err(self.listens("send")),
            Stage::Unconnected if self.output.is_some() => Ok(()),
            _ => self.link_for("send").map(drop),
        }
    }

    /// Before `data` is kept: writes it if nothing waits in front of it and no
    /// more than this is sent. The answer is how much of it was written, or `None`
    /// if nothing is to be kept: all was written, or nobody is there to get it, of
    /// which `handle_close` is about to tell.
    #[inline(always)]
    fn send_ahead(&mut self, data: &[u8]) -> Result<Option<usize>> {
        self.check_can_send()?;
        if data.is_empty() || self.has_no_reader() {
            return Ok(None);
        }
        let untouched = self.output.as_ref().is_some_and(Output::is_empty);
        let has_no_peer =
            self.link.is_none() || self.is(Flags::IDLE) || self.stage == Stage::Connecting;
        if !untouched || self.is(Flags::GATHER) || self.is(Flags::SENT) || has_no_peer {
            return Ok(Some(0));
        }
        self.set(Flags::SENT, true);
        let written = self.send_now(data)?;
        if self.has_no_reader() || written == data.len() {
            return Ok(None);
        }
        self.set(Flags::BLOCKED, true);
        Ok(Some(written))
    }

    /// A send although the channel closes when what waits is written: that would
    /// never come if one could add to it.
    #[cold]
    fn send_behind_close(&mut self, data: &[u8]) -> Result<usize> {
        self.check_can_send()?;
        self.write_waiting()?;
        let all_written = self.output.as_ref().is_some_and(Output::is_written);
        if all_written && self.may_write() {
            return self.send_now(data);
        }
        Ok(0)
    }

    /// After something was put into the buffer.
    fn pushed(&mut self) {
        if self.pending() >= self.high_watermark {
            self.flags |= Flags::CONGESTED;
        }
        self.flags |= Flags::UNFLUSHED;
    }

    /// One send, without a buffer.
    #[inline(always)]
    fn send_now(&mut self, data: &[u8]) -> Result<usize> {
        let connecting = self.stage == Stage::Connecting;
        if self.is(Flags::BROKEN) {
            return Ok(0);
        }
        let link = self.link_for("send")?;
        match uninterrupted(|| link.send(data)) {
            Ok(n) => Ok(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) if connecting => {
                self.sent_too_early(error);
                Ok(0)
            }
            Err(error) => {
                let error = Error::system(link.verbs()[1], Some(self.fd), error);
                self.send_failed(error)
            }
        }
    }

    /// What becomes of an error of a send. If the connection is gone, nothing more
    /// is sent; but what has come in is still there to be read, and the channel
    /// ends behind it.
    #[cold]
    fn send_failed(&mut self, error: Error) -> Result<usize> {
        if !error.is_disconnected() {
            return Err(error);
        }
        self.set(Flags::BROKEN, true);
        self.drop_output();
        self.fail(error);
        Ok(0)
    }

    /// A send before the connection stood failed. If that took away the error of
    /// the connection itself, it has to be kept for when it is looked for.
    #[cold]
    fn sent_too_early(&mut self, error: io::Error) {
        if error.kind() != io::ErrorKind::NotConnected
            && let Some(attempts) = &mut self.attempts
        {
            attempts.failed_early(error);
        }
    }

    /// Sends out-of-band data; of more than one byte, TCP makes the last one
    /// urgent. See `MSG_OOB` in send(2). It overtakes what is buffered.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the transport is not a socket; else as for
    /// [`send`](Endpoint::send).
    pub fn send_oob(&mut self, data: &[u8]) -> Result<usize> {
        match self.socket_for("send out of band")?.send_oob(data) {
            Ok(n) => Ok(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => self.lost(Error::system("send out of band", Some(self.fd), error)),
        }
    }

    /// Sends a datagram, whole, to an address. It is not buffered. See sendto(2).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room now; `Unsupported` if the transport is not
    /// a socket; `NotConnected` if the channel is closed; else what sendto(2) answers.
    pub fn send_to(&mut self, data: &[u8], to: &Address) -> Result<usize> {
        let socket = self.socket_for("send a datagram")?;
        socket
            .send_to(data, to)
            .map_err(|e| Error::system(format!("send a datagram to {to}"), Some(self.fd), e))
    }

    /// Writes what waits, as much as one system call takes. asyncore's
    /// `initiate_send`. A dispatcher with a buffer does this by itself, on write
    /// events and when a handler returns.
    ///
    /// # Errors
    ///
    /// As for [`send`](Endpoint::send), and what a producer answers.
    pub fn flush(&mut self) -> Result<()> {
        self.write_waiting()?;
        if self.may_write() {
            self.reach_marks()?;
        }
        Ok(())
    }

    /// Whether there is somebody to write to.
    fn may_write(&self) -> bool {
        let stands =
            self.link.is_some() && self.stage != Stage::Connecting && !self.is(Flags::IDLE);
        stands && !self.has_no_reader()
    }

    /// The part of [`flush`](Endpoint::flush) that closes nothing.
    fn write_waiting(&mut self) -> Result<()> {
        self.set(Flags::FLUSHED, true);
        self.set(Flags::UNFLUSHED, false);
        if !self.may_write() {
            return Ok(());
        }
        let (Some(output), Some(link)) = (&mut self.output, &mut self.link) else {
            return Ok(());
        };
        match output.write_to(link, self.fd) {
            Ok(done) => self.set(Flags::BLOCKED, !done),
            Err(error) if error.would_block() => self.set(Flags::BLOCKED, true),
            Err(error) => return self.send_failed(error).map(drop),
        }
        if let Some(output) = &self.output
            && self.is(Flags::CONGESTED)
            && output.pending() <= self.low_watermark
        {
            self.set(Flags::CONGESTED, false);
            self.set(Flags::DRAIN_DUE, true);
        }
        Ok(())
    }

    /// Does what was to be done when everything before it was written.
    fn reach_marks(&mut self) -> Result<()> {
        while !self.is(Flags::CLOSE_DUE)
            && let Some(output) = &mut self.output
            && let Some(mark) = output.take_mark()
        {
            match mark {
                Mark::Close => self.set(Flags::CLOSE_DUE, true),
                Mark::Shutdown => self.shutdown_now()?,
            }
        }
        Ok(())
    }

    pub(super) fn shutdown_now(&mut self) -> Result<()> {
        let result = self.link_for("end the output")?.shutdown_write();
        match result {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let message = format!("cannot end the output of fd {}: {error}", self.fd);
                Err(Error::misuse(io::ErrorKind::Unsupported, message))
            }
            // The connection is gone, and its output with it.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            Err(error) => Err(Error::system("end the output", Some(self.fd), error)),
            Ok(()) => Ok(()),
        }
    }

    /// Sets how much may wait to be written before the output is
    /// [`congested`](Endpoint::is_congested), and how little again before it no
    /// longer is, in bytes; 16,384 and 65,536 unless set. `low` is cut to `high`.
    pub fn set_watermarks(&mut self, low: usize, high: usize) {
        self.low_watermark = low.min(high);
        self.high_watermark = high;
        let congested = self.pending() >= high.max(1);
        // Whoever waits for it to end hears of that.
        if self.is(Flags::CONGESTED) && !congested {
            self.set(Flags::DRAIN_DUE, true);
        }
        self.set(Flags::CONGESTED, congested);
    }

    /// Whether so much waits to be written that whoever makes it should stop. Once
    /// the high watermark is reached this stays true until the low one is, of which
    /// [`handle_drain`](crate::Handler::handle_drain) tells.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.is(Flags::CONGESTED)
    }

    /// Sets whether the channel is not read from while its own output is
    /// [congested](Endpoint::is_congested), so that a peer that sends and does not read
    /// cannot make the output grow without bound. Off unless set.
    ///
    /// For a channel whose output is made of its own input, as that of most servers. Two
    /// peers that both send more than the buffers hold before they read would wait for
    /// each other for ever.
    ///
    /// Without a buffer nothing is ever congested, and this has no effect.
    pub fn set_backpressure(&mut self, on: bool) {
        self.set(Flags::BACKPRESSURE, on);
    }

    /// Whether input waits until the output has drained.
    #[inline]
    pub(crate) fn is_held_back(&self) -> bool {
        self.flags
            .contains(Flags::BACKPRESSURE.union(Flags::CONGESTED))
    }

    /// Sets how many bytes are taken from a producer ahead of a write; 65,536
    /// unless set. asynchat's `ac_out_buffer_size`.
    pub fn set_out_buffer_size(&mut self, bytes: usize) {
        if let Some(output) = &mut self.output {
            output.set_pull(bytes);
        }
    }

    /// How many bytes are taken from a producer ahead of a write; 0 without a
    /// buffer.
    #[must_use]
    pub fn out_buffer_size(&self) -> usize {
        self.output.as_ref().map_or(0, Output::pull)
    }

    // --- for the dispatcher ----------------------------------------------------------

    /// Sends wait until the handler returns, so that a message of several parts
    /// leaves as one.
    pub(crate) fn set_gather(&mut self) {
        self.set(Flags::GATHER, true);
    }

    /// A write event begins: there is room, it says.
    pub(crate) fn begin_write_event(&mut self) {
        self.set(Flags::FLUSHED, false);
        self.set(Flags::BLOCKED, false);
    }

    /// Whether output was written, or tried, since the write event began.
    pub(crate) fn was_flushed(&self) -> bool {
        self.is(Flags::FLUSHED)
    }

    /// A handler begins: its first send is written at once.
    #[inline]
    pub(crate) fn begin_handler(&mut self) {
        self.flags -= Flags::SENT;
    }

    /// A handler has returned: writes what it left, unless there is no room. A
    /// close that waits is left to a write event, as in asynchat.
    pub(crate) fn end_of_handler(&mut self) -> Result<()> {
        if !self.is(Flags::UNFLUSHED) || self.is(Flags::BLOCKED) || self.stage == Stage::Closed {
            return Ok(());
        }
        self.write_waiting()
    }
}
