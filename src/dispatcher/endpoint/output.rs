//! Sending, and what waits to be sent.

use std::io;

use super::super::producer::Producer;
use super::super::queue::Mark;
use super::super::transport::uninterrupted;
use super::state::{Congestion, Ending, Flow, Phase};
use super::{Buffer, Endpoint, Outlet};
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
        if !self.is_buffered() {
            self.check_can_send()?;
            return self.send_now(data);
        }
        if self.will_close() {
            return self.send_behind_close(data);
        }
        let written = self.send_ahead(data)?;
        if let (Some(buffer), Some(written)) = (self.outlet.buffer_mut(), written) {
            buffer.queue.push(&data[written..]);
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
        if !self.is_buffered() || self.will_close() {
            return self.send(&data);
        }
        let (len, written) = (data.len(), self.send_ahead(&data)?);
        if let (Some(buffer), Some(written)) = (self.outlet.buffer_mut(), written) {
            buffer.queue.push_owned(data, written);
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
        if !self.is_buffered() {
            let message = format!(
                "cannot send what a producer makes on fd {}: the channel has no buffer; use a \
                 DispatcherWithSend or an AsyncChat",
                self.fd
            );
            return Err(Error::misuse(io::ErrorKind::Unsupported, message));
        }
        if !self.will_close()
            && !self.has_no_reader()
            && let Some(buffer) = self.outlet.buffer_mut()
        {
            buffer.queue.push_producer(Box::new(producer));
            self.pushed();
        }
        Ok(())
    }

    /// Whether the connection is known to be gone, so that sending is of no use.
    fn has_no_reader(&self) -> bool {
        self.is_broken() || self.ending == Ending::Due
    }

    /// Whether there is somebody to send to, as far as is known.
    pub(super) fn has_peer(&self) -> bool {
        self.link.is_some() && !matches!(self.phase, Phase::Idle { .. } | Phase::Connecting(_))
    }

    /// With a buffer, one may send before there is even a socket.
    fn check_can_send(&mut self) -> Result<()> {
        if self.output_ended {
            let fd = self.fd;
            let message =
                format!("cannot send on fd {fd}: its output was told to end (shutdown_when_done)");
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        }
        match self.phase {
            Phase::Listening(_) => Err(self.listens("send")),
            Phase::Idle { .. } | Phase::Unconnected if self.is_buffered() => Ok(()),
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
        if self.flow != Flow::Clear || self.gathers || self.sent || !self.has_peer() {
            return Ok(Some(0));
        }
        self.sent = true;
        let written = self.send_now(data)?;
        if self.has_no_reader() || written == data.len() {
            return Ok(None);
        }
        self.flow = Flow::Waiting;
        Ok(Some(written))
    }

    /// A send although the channel closes when what waits is written: that would
    /// never come if one could add to it.
    #[cold]
    fn send_behind_close(&mut self, data: &[u8]) -> Result<usize> {
        self.check_can_send()?;
        self.write_waiting()?;
        let buffer = self.outlet.buffer();
        let all_written = buffer.is_some_and(|buffer| buffer.queue.is_written());
        if all_written && self.may_write() {
            return self.send_now(data);
        }
        Ok(0)
    }

    /// After something was put into the buffer.
    fn pushed(&mut self) {
        if let Some(buffer) = self.outlet.buffer()
            && buffer.queue.pending() >= buffer.high_watermark
        {
            self.congestion = Congestion::Congested;
        }
        if self.flow == Flow::Clear {
            self.flow = Flow::Gathered;
        }
    }

    /// After a mark was put into the buffer, which a write event is to reach.
    pub(super) fn wait_for_room(&mut self) {
        if self.flow == Flow::Clear {
            self.flow = Flow::Waiting;
        }
    }

    /// Whether something waits to be written, or a mark to be reached.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        matches!(self.flow, Flow::Gathered | Flow::Waiting)
    }

    /// One send, without a buffer.
    #[inline(always)]
    fn send_now(&mut self, data: &[u8]) -> Result<usize> {
        let connecting = self.connecting();
        if self.is_broken() {
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
        self.break_output();
        self.fail(error);
        Ok(0)
    }

    /// A send before the connection stood failed. If that took away the error of
    /// the connection itself, it has to be kept for when it is looked for.
    #[cold]
    fn sent_too_early(&mut self, error: io::Error) {
        if error.kind() != io::ErrorKind::NotConnected
            && let Phase::Connecting(attempts) = &mut self.phase
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

    fn may_write(&self) -> bool {
        self.has_peer() && !self.has_no_reader()
    }

    /// The part of [`flush`](Endpoint::flush) that closes nothing.
    fn write_waiting(&mut self) -> Result<()> {
        if !self.has_output() {
            return Ok(());
        }
        self.flow = Flow::Waiting;
        if !self.may_write() {
            return Ok(());
        }
        let (Outlet::Buffered(Some(buffer)), Some(link)) = (&mut self.outlet, &mut self.link)
        else {
            return Ok(());
        };
        let written = buffer.queue.write_to(link, self.fd);
        if buffer.queue.is_empty() {
            self.flow = Flow::Clear;
        }
        match written {
            Err(error) if !error.would_block() => return self.send_failed(error).map(drop),
            _ => {}
        }
        if self.congestion == Congestion::Congested
            && buffer.queue.pending() <= buffer.low_watermark
        {
            self.congestion = Congestion::Drained;
        }
        Ok(())
    }

    /// Does what was to be done when everything before it was written.
    fn reach_marks(&mut self) -> Result<()> {
        while self.ending != Ending::Due
            && let Outlet::Buffered(Some(buffer)) = &mut self.outlet
            && let Some(mark) = buffer.queue.take_mark()
        {
            if buffer.queue.is_empty() {
                self.flow = Flow::Clear;
            }
            match mark {
                Mark::Close => self.make_close_due(),
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
        let Some(buffer) = self.outlet.buffer_mut() else {
            return;
        };
        buffer.low_watermark = low.min(high);
        buffer.high_watermark = high;
        if buffer.queue.pending() >= high.max(1) {
            self.congestion = Congestion::Congested;
        } else if self.congestion == Congestion::Congested {
            // Whoever waits for it to end hears of that.
            self.congestion = Congestion::Drained;
        }
    }

    /// Whether so much waits to be written that whoever makes it should stop. Once
    /// the high watermark is reached this stays true until the low one is, of which
    /// [`handle_drain`](crate::Handler::handle_drain) tells.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.congestion == Congestion::Congested
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
        self.backpressure = on;
    }

    /// Whether input waits until the output has drained.
    #[inline]
    pub(crate) fn is_held_back(&self) -> bool {
        self.backpressure && self.is_congested()
    }

    /// Sets how many bytes are taken from a producer ahead of a write; 65,536
    /// unless set. asynchat's `ac_out_buffer_size`.
    pub fn set_out_buffer_size(&mut self, bytes: usize) {
        if let Some(buffer) = self.outlet.buffer_mut() {
            buffer.queue.set_pull(bytes);
        }
    }

    /// How many bytes are taken from a producer ahead of a write; 0 without a
    /// buffer.
    #[must_use]
    pub fn out_buffer_size(&self) -> usize {
        match &self.outlet {
            Outlet::Direct { .. } => 0,
            Outlet::Buffered(None) => Buffer::default().queue.pull(),
            Outlet::Buffered(Some(buffer)) => buffer.queue.pull(),
        }
    }

    // --- for the dispatcher ----------------------------------------------------------

    /// Sends wait until the handler returns, so that a message of several parts
    /// leaves as one.
    pub(crate) fn set_gather(&mut self) {
        self.gathers = true;
    }

    /// A handler begins: its first send is written at once.
    #[inline]
    pub(crate) fn begin_handler(&mut self) {
        self.sent = false;
    }

    /// Whether a drain is due, which a write event is to be waited for.
    pub(crate) fn is_drain_due(&self) -> bool {
        self.congestion == Congestion::Drained
    }

    /// There is room, says a write event: what waits is to be written, at the latest when
    /// the handler of the event has returned.
    pub(super) fn begin_write_event(&mut self) {
        if self.flow == Flow::Waiting {
            self.flow = Flow::Gathered;
        }
    }

    /// The handler of the write event has returned. If it wrote nothing, this does.
    pub(super) fn end_write_event(&mut self) -> Result<()> {
        if self.flow == Flow::Gathered && !self.is_over() {
            return self.flush();
        }
        Ok(())
    }

    /// A handler has returned: writes what it left, unless there is no room. A
    /// close that waits is left to a write event, as in asynchat.
    #[inline]
    pub(super) fn write_what_was_gathered(&mut self) -> Result<()> {
        if self.flow == Flow::Gathered && !self.is_closed() {
            return self.write_waiting();
        }
        Ok(())
    }
}
