//! Sending, and the pending output.

use std::io;

use super::super::link::{Link, uninterrupted};
use super::super::producer::Producer;
use super::super::queue::Mark;
use super::Endpoint;
use super::outlet::Outlet;
use super::state::{Activity, Congestion, Ending, Flow, Phase};
use crate::address::Address;
use crate::error::{Error, Result};

impl Endpoint {
    /// Sends `data`. Returns the number of bytes taken.
    ///
    /// With a buffer that is `data.len()`: bytes that cannot be written now are buffered, and
    /// written when there is room, or when the connection is established. The first send in a
    /// handler is written at once; later ones are coalesced and written when the handler
    /// returns. Without a buffer, and after
    /// [`close_when_done`](Endpoint::close_when_done), it is what send(2) took: 0
    /// if there is no room.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel is closed, is a listener, or has no socket (with a
    /// buffer, one can send before it has); `InvalidInput` after
    /// [`shutdown_when_done`](Endpoint::shutdown_when_done); else the transport's errors. A
    /// lost connection is not an error here: its data is dropped, and `handle_close` is
    /// called when the handler returns.
    #[inline]
    pub fn send(&mut self, data: &[u8]) -> Result<usize> {
        match &self.link {
            Some(Link::Socket(socket)) if self.sends_at_once() && !data.is_empty() => {
                self.sent = true;
                match socket.send(data) {
                    Ok(n) if n == data.len() => {
                        self.note_activity();
                        Ok(n)
                    }
                    result => self.sent_in_part(result, data),
                }
            }
            _ => self.send_unusual(data),
        }
    }

    /// Checks for the common case of a send: the first one of a handler, with nothing pending.
    #[inline]
    fn sends_at_once(&self) -> bool {
        self.is_usual() && !self.sent && !self.gathers && !self.output_ended
    }

    /// Finishes a first send that did not take all of `data`.
    #[inline(never)]
    fn sent_in_part(&mut self, sent: io::Result<usize>, data: &[u8]) -> Result<usize> {
        let sent = match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.send_now(data)?,
            sent => self.sent_now(sent)?,
        };
        if !self.is_buffered() {
            return Ok(sent);
        }
        let kept_from = self.kept_from(sent, data.len());
        Ok(self.keep(data, kept_from))
    }

    /// Sends in the cases that are not the common one.
    #[inline(never)]
    fn send_unusual(&mut self, data: &[u8]) -> Result<usize> {
        if !self.is_buffered() {
            self.check_can_send()?;
            return self.send_now(data);
        }
        if self.will_close() {
            return self.send_behind_close(data);
        }
        let kept_from = self.send_ahead(data)?;
        Ok(self.keep(data, kept_from))
    }

    /// Buffers `data` from an index on, unless that is `None`. Returns the length of `data`.
    fn keep(&mut self, data: &[u8], from: Option<usize>) -> usize {
        if let (Some(buffer), Some(from)) = (self.outlet.buffer_mut(), from) {
            buffer.queue.push(&data[from..]);
            self.pushed();
        }
        data.len()
    }

    /// Sends `data` as [`send`](Endpoint::send) does, and takes ownership of it. With a
    /// buffer, 4,096 or more bytes that cannot be written now are buffered without a copy.
    ///
    /// # Errors
    ///
    /// As for [`send`](Endpoint::send).
    pub fn send_owned(&mut self, data: Vec<u8>) -> Result<usize> {
        if !self.is_buffered() || self.will_close() {
            return self.send(&data);
        }
        let (len, kept_from) = (data.len(), self.send_ahead(&data)?);
        if let (Some(buffer), Some(from)) = (self.outlet.buffer_mut(), kept_from) {
            buffer.queue.push_owned(data, from);
            self.pushed();
        }
        Ok(len)
    }

    /// Sends the output of `producer` after the pending output, as fast as the peer takes it.
    /// After [`close_when_done`](Endpoint::close_when_done), `producer` is dropped.
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
        if self.will_close() || self.has_no_reader() {
            return Ok(());
        }
        if let Some(buffer) = self.outlet.buffer_mut() {
            buffer.queue.push_producer(Box::new(producer));
            self.pushed();
        }
        Ok(())
    }

    /// Checks whether the connection is known to be lost, or the channel ends.
    fn has_no_reader(&self) -> bool {
        self.is_broken() || self.ending == Ending::Due
    }

    /// Checks whether there is a transport that can send now.
    pub(super) fn has_peer(&self) -> bool {
        let unconnected = matches!(
            self.phase,
            Phase::Idle { .. } | Phase::Resolving(_) | Phase::Connecting(_)
        );
        self.link.is_some() && !unconnected
    }

    /// Refuses a send in the wrong phase. With a buffer, one can send before there is a socket.
    fn check_can_send(&mut self) -> Result<()> {
        if self.output_ended {
            let fd = self.fd;
            let message = format!(
                "cannot send on fd {fd}: its output ends (`shutdown_when_done` was called)"
            );
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        }
        match self.phase {
            Phase::Listening(_) => Err(self.listens("send")),
            Phase::Idle { .. } | Phase::Unconnected if self.is_buffered() => Ok(()),
            _ => self.link_for("send").map(drop),
        }
    }

    /// Sends `data` directly if nothing is pending. Returns the index from which on it must be
    /// buffered, or `None` if nothing of it is left: all was sent, or the connection is lost.
    fn send_ahead(&mut self, data: &[u8]) -> Result<Option<usize>> {
        self.check_can_send()?;
        if data.is_empty() || self.has_no_reader() {
            return Ok(None);
        }
        if self.flow != Flow::Clear || self.gathers || self.sent || !self.has_peer() {
            return Ok(Some(0));
        }
        self.sent = true;
        let sent = self.send_now(data)?;
        Ok(self.kept_from(sent, data.len()))
    }

    /// Returns the index from which on data of `len` bytes must be buffered, of which `sent` were
    /// sent directly. `None` if nothing of it is left.
    fn kept_from(&mut self, sent: usize, len: usize) -> Option<usize> {
        if self.has_no_reader() || sent == len {
            return None;
        }
        self.flow = Flow::Waiting;
        Some(sent)
    }

    /// Sends after `close_when_done`, without buffering: a handler that adds to the buffer for
    /// ever would keep the channel from closing.
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

    /// Updates the state after data was buffered.
    fn pushed(&mut self) {
        let buffer = self.outlet.buffer();
        if buffer.is_some_and(|buffer| buffer.queue.pending() >= buffer.high_watermark) {
            self.congestion = Congestion::Congested;
        }
        if self.flow == Flow::Clear {
            self.flow = Flow::Gathered;
        }
    }

    /// Updates the state after a mark was buffered, which a write event has to reach.
    pub(super) fn wait_for_room(&mut self) {
        if self.flow == Flow::Clear {
            self.flow = Flow::Waiting;
        }
    }

    /// Checks whether data or a mark is pending.
    #[inline]
    pub(in crate::dispatcher) fn has_output(&self) -> bool {
        matches!(self.flow, Flow::Gathered | Flow::Waiting)
    }

    /// Sends once, without buffering. Returns the number of bytes sent.
    fn send_now(&mut self, data: &[u8]) -> Result<usize> {
        if self.is_broken() {
            return Ok(0);
        }
        let link = self.link_for("send")?;
        let sent = uninterrupted(|| link.send(data));
        self.sent_now(sent)
    }

    /// Interprets what the transport returned.
    fn sent_now(&mut self, sent: io::Result<usize>) -> Result<usize> {
        match sent {
            Ok(n) => {
                self.note_activity();
                self.check_held_by_transport();
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) if self.connecting() => {
                self.failed_early(error);
                Ok(0)
            }
            Err(error) => {
                let verb = self.link.as_ref().map_or("send", |link| link.verbs()[1]);
                self.send_failed(Error::system(verb, Some(self.fd), error))
            }
        }
    }

    /// Handles an error of a send. If the connection is lost, nothing more is sent, and the
    /// channel ends after its pending input was read.
    #[cold]
    pub(super) fn send_failed(&mut self, error: Error) -> Result<usize> {
        if !error.is_disconnected() {
            return Err(error);
        }
        self.break_output();
        self.give_up_if_closed(error.raw_os_error());
        self.fail(error);
        Ok(0)
    }

    /// Handles a failed send or receive during a connect. It may have taken the socket's error,
    /// which is then kept for the check of the connect.
    #[cold]
    pub(super) fn failed_early(&mut self, error: io::Error) {
        match &mut self.phase {
            Phase::Connecting(attempts) if error.kind() != io::ErrorKind::NotConnected => {
                attempts.failed_early(error);
            }
            _ => {}
        }
    }

    /// Sends out-of-band data, ahead of the pending output. TCP makes only the last byte of
    /// it urgent. See `MSG_OOB` in send(2).
    ///
    /// # Errors
    ///
    /// `Unsupported` if the transport is not a socket; else as for
    /// [`send`](Endpoint::send).
    pub fn send_oob(&mut self, data: &[u8]) -> Result<usize> {
        match self.socket_for("send out of band")?.send_oob(data) {
            Ok(n) => {
                self.note_activity();
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => self.lost(Error::system("send out of band", Some(self.fd), error)),
        }
    }

    /// Sends a whole datagram to an address, without buffering. See sendto(2).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room now; `Unsupported` if the transport is not
    /// a socket; `NotConnected` if the channel is closed; else the errors of sendto(2).
    pub fn send_to(&mut self, data: &[u8], to: &Address) -> Result<usize> {
        let sent = self.socket_for("send a datagram")?.send_to(data, to);
        if sent.is_ok() {
            self.note_activity();
        }
        sent.map_err(|e| Error::system(format!("send a datagram to {to}"), Some(self.fd), e))
    }

    /// Writes as much of the pending output as one system call takes. asyncore's
    /// `initiate_send`. A dispatcher with a buffer does this by itself, on write
    /// events and when a handler returns.
    ///
    /// # Errors
    ///
    /// As for [`send`](Endpoint::send), and the errors of a producer.
    pub fn flush(&mut self) -> Result<()> {
        self.write_waiting()?;
        if self.may_write() {
            self.reach_marks()?;
        }
        Ok(())
    }

    /// Checks whether a write makes sense.
    fn may_write(&self) -> bool {
        self.has_peer() && !self.has_no_reader()
    }

    /// Writes pending output, and leaves marks alone.
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
        if written.is_ok() && self.activity == Activity::Quiet {
            self.activity = Activity::Active;
        }
        if buffer.queue.is_empty() {
            self.flow = Flow::Clear;
        }
        let drained = buffer.queue.pending() <= buffer.low_watermark;
        self.check_held_by_transport();
        match written {
            Err(error) if !error.would_block() => return self.send_failed(error).map(drop),
            _ => {}
        }
        if drained && self.congestion == Congestion::Congested {
            self.congestion = Congestion::Drained;
        }
        Ok(())
    }

    /// Acts on the marks before which everything was written.
    fn reach_marks(&mut self) -> Result<()> {
        while self.ending != Ending::Due {
            let Outlet::Buffered(Some(buffer)) = &mut self.outlet else {
                break;
            };
            let Some(mark) = buffer.queue.take_mark() else {
                break;
            };
            if buffer.queue.is_empty() {
                self.flow = Flow::Clear;
            }
            match mark {
                Mark::Close => self.make_close_due(),
                Mark::Shutdown => match self.shutdown_now() {
                    Err(error) if error.would_block() => {
                        self.put_back_shutdown();
                        break;
                    }
                    result => result?,
                },
            }
        }
        Ok(())
    }

    /// Puts back a mark for which there was no room. A write event reaches it again.
    #[cold]
    fn put_back_shutdown(&mut self) {
        if let Some(queue) = self.outlet.queue_mut() {
            queue.put_back_shutdown();
            self.wait_for_room();
        }
    }

    pub(super) fn shutdown_now(&mut self) -> Result<()> {
        let result = self.link_for("end the output")?.shutdown_write();
        match result {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let message = format!("cannot end the output of fd {}: {error}", self.fd);
                Err(Error::misuse(io::ErrorKind::Unsupported, message))
            }
            // The connection is lost, and its output with it.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            Err(error) => Err(Error::system("end the output", Some(self.fd), error)),
            Ok(()) => Ok(()),
        }
    }

    // --- for the dispatcher ----------------------------------------------------------

    /// Makes every send wait until the handler returns, so that the parts of a message are
    /// coalesced.
    pub(crate) fn set_gather(&mut self) {
        self.gathers = true;
    }

    /// Begins a handler's call: its first send is written at once.
    #[inline]
    pub(in crate::dispatcher) fn begin_handler(&mut self) {
        self.sent = false;
    }

    /// Begins a write event: there is room, so pending output is written at the latest when
    /// the handler has returned.
    pub(super) fn begin_write_event(&mut self) {
        if self.flow == Flow::Waiting {
            self.flow = Flow::Gathered;
        }
    }

    /// Ends a write event: flushes the output if the handler did not.
    pub(super) fn end_write_event(&mut self) -> Result<()> {
        if self.flow == Flow::Gathered && !self.is_over() {
            return self.flush();
        }
        Ok(())
    }

    /// Writes the output that a handler gathered, unless there is no room. A pending close is
    /// left to a write event, as in asynchat.
    #[inline]
    pub(in crate::dispatcher) fn write_what_was_gathered(&mut self) -> Result<()> {
        if self.flow == Flow::Gathered && !matches!(self.phase, Phase::Closed) {
            return self.write_waiting();
        }
        Ok(())
    }
}
