//! The chat as its handler sees it.

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};

use super::bytes::IntoBytes;
use super::state::State;
use super::terminator::Terminator;
use crate::dispatcher::{Endpoint, Io, Producer};
use crate::error::Result;

/// The chat that a [`ChatHandler`](crate::ChatHandler) is called for: terminator,
/// collected input and pushes.
///
/// It dereferences to the channel's [`Io`].
pub struct ChatIo<'a> {
    io: Io<'a>,
    pub(super) state: &'a mut State,
}

impl<'a> ChatIo<'a> {
    pub(super) fn new(io: Io<'a>, state: &'a mut State) -> Self {
        Self { io, state }
    }

    /// Queues `data` for output, after everything queued before. Owned data of 4,096
    /// bytes and more is not copied: see [`IntoBytes`]. The pushes of one handler call are
    /// coalesced and written when it returns. asynchat's `push`.
    ///
    /// After [`close_when_done`](Endpoint::close_when_done), `data` is dropped.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`].
    pub fn push<'d>(&mut self, data: impl IntoBytes<'d>) -> Result<()> {
        push(&mut self.io, data)
    }

    /// Queues a producer for output, after everything queued before. It is asked for
    /// more as fast as the peer reads. asynchat's `push_with_producer`.
    ///
    /// After [`close_when_done`](Endpoint::close_when_done), the producer is dropped.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`].
    pub fn push_with_producer(&mut self, producer: impl Producer) -> Result<()> {
        push_with_producer(&mut self.io, producer)
    }

    /// Sets the terminator of the input, from the very next byte on: bytes, a count, or
    /// none. A count ends one piece, and the terminator is none afterwards.
    ///
    /// A count of 0 is a complete piece without bytes, such as the body of a message with
    /// `Content-Length: 0`: [`found_terminator`](crate::ChatHandler::found_terminator)
    /// is called for it when the handler that sets it returns, without waiting for
    /// input. (If the connection is not established yet, it is called after
    /// `handle_connect`.) To collect all input, set [`Terminator::none`].
    ///
    /// If a handler sets a count of 0 more than 1,000 times in a row without any input in
    /// between, the chat [fails](Endpoint::fail) with `InvalidInput`, and the error is
    /// logged.
    ///
    /// ```
    /// use fdloop::{AsyncChat, ChatHandler, ChatIo, Error, EventLoop, Result};
    ///
    /// /// Echoes the bodies of messages; a line with the length comes before each.
    /// #[derive(Default)]
    /// struct Echo {
    ///     in_body: bool,
    /// }
    /// impl ChatHandler for Echo {
    ///     fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
    ///         let piece = io.take_data();
    ///         if self.in_body {
    ///             io.push(format!("{};", piece.escape_ascii()))?;
    ///             io.set_terminator("\n");
    ///         } else {
    ///             let length = std::str::from_utf8(&piece).map_err(Error::other)?;
    ///             let length: usize = length.parse().map_err(Error::other)?;
    ///             io.set_terminator(length); // of an empty body too
    ///         }
    ///         self.in_body = !self.in_body;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// use std::io::{Read, Write};
    /// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let mut chat = AsyncChat::new(ours, Echo::default())?;
    /// chat.set_terminator("\n");
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(chat)?;
    /// theirs.write_all(b"5\nhello0\n5\nworld0\n")?;
    /// theirs.shutdown(std::net::Shutdown::Write)?;
    /// event_loop.run()?;
    /// let mut reply = String::new();
    /// theirs.read_to_string(&mut reply)?;
    /// assert_eq!(reply, "hello;;world;;");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn set_terminator(&mut self, terminator: impl Into<Terminator>) {
        self.state.set_terminator(terminator.into());
    }

    /// Returns the terminator. A count is what is left of it, and none when it is used up.
    #[must_use]
    pub fn get_terminator(&self) -> &Terminator {
        self.state.scanner.terminator()
    }

    /// Sets the most bytes that a piece may have if its terminator is bytes: 65,536
    /// (64 KiB) unless set. `None` removes the limit: a peer can then send a piece that
    /// takes all memory.
    ///
    /// As soon as a piece exceeds the limit,
    /// [`handle_error`](crate::ChatHandler::handle_error) is called with
    /// [`Error::LineTooLong`](crate::Error::LineTooLong). Its default logs the error and
    /// ends the chat. If an override lets the chat go on, the whole piece is dropped: the
    /// bytes collected so far when `handle_error` returns, the others as they arrive.
    /// `found_terminator` is not called for it. The piece ends with its terminator, or
    /// when a count or none is set; [`discard_buffers`](ChatIo::discard_buffers) does not
    /// end it.
    ///
    /// The limit does not apply while the terminator is a count or none. Check a count that
    /// a peer has sent before you set it. When a terminator of bytes
    /// replaces a count or none, and after `discard_buffers`, counting begins again at 0.
    ///
    /// ```
    /// use fdloop::{AsyncChat, ChatHandler, ChatIo, Error, EventLoop, Result};
    ///
    /// struct Lines;
    /// impl ChatHandler for Lines {
    ///     fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
    ///         let line = io.take_data();
    ///         io.push(line)
    ///     }
    ///     fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
    ///         match error {
    ///             Error::LineTooLong(limit) => io.push(format!("at most {limit} bytes, ")),
    ///             error => Err(error), // logged, and ends the chat
    ///         }
    ///     }
    /// }
    ///
    /// use std::io::{Read, Write};
    /// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let mut chat = AsyncChat::new(ours, Lines)?;
    /// chat.set_terminator("\n");
    /// chat.set_limit(8);
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(chat)?;
    /// theirs.write_all(b"a line that is too long\nshort\n")?;
    /// theirs.shutdown(std::net::Shutdown::Write)?;
    /// event_loop.run()?;
    /// let mut reply = String::new();
    /// theirs.read_to_string(&mut reply)?;
    /// assert_eq!(reply, "at most 8 bytes, short");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn set_limit(&mut self, bytes: impl Into<Option<usize>>) {
        self.state.limit = bytes.into();
    }

    /// Appends `data` to the collected bytes, which [`take_data`](ChatIo::take_data)
    /// returns. The default of
    /// [`collect_incoming_data`](crate::ChatHandler::collect_incoming_data) calls this.
    /// asynchat's `_collect_incoming_data`.
    pub fn collect(&mut self, data: &[u8]) {
        self.state.data.extend_from_slice(data);
    }

    /// Takes the bytes collected since the last call: in `found_terminator` the whole
    /// piece, in `handle_eof` and `handle_close` the tail without a terminator.
    /// asynchat's `_get_data`.
    #[must_use]
    pub fn take_data(&mut self) -> Vec<u8> {
        mem::take(&mut self.state.data)
    }

    /// Returns the bytes collected so far.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.state.data
    }

    /// Drops all received input, collected or not, and all queued output.
    /// "Emergencies only!", says asynchat.
    pub fn discard_buffers(&mut self) {
        self.io.discard_output();
        self.state.discard();
    }

    /// Sets how many bytes are received at once, from 1 to 1,048,576; 65,536 unless set.
    /// asynchat's `ac_in_buffer_size`. (For its `ac_out_buffer_size`, see
    /// [`Endpoint::set_out_buffer_size`].)
    pub fn set_in_buffer_size(&mut self, bytes: usize) {
        self.state.in_buffer_size = bytes.max(1);
    }
}

/// Queues `data`. If a close is queued, only flushes, since nothing is sent after a close:
/// asynchat's push writes at once, and so performs a close that is pending.
pub(super) fn push<'d>(endpoint: &mut Endpoint, data: impl IntoBytes<'d>) -> Result<()> {
    if endpoint.will_close() {
        return endpoint.flush();
    }
    match data.into_bytes() {
        Cow::Borrowed(data) => endpoint.send(data),
        Cow::Owned(data) => endpoint.send_owned(data),
    }
    .map(drop)
}

/// Queues a producer. If a close is queued, only flushes: see [`push`].
pub(super) fn push_with_producer(endpoint: &mut Endpoint, producer: impl Producer) -> Result<()> {
    if endpoint.will_close() {
        return endpoint.flush();
    }
    endpoint.send_with_producer(producer)
}

impl<'a> Deref for ChatIo<'a> {
    type Target = Io<'a>;

    fn deref(&self) -> &Io<'a> {
        &self.io
    }
}

impl<'a> DerefMut for ChatIo<'a> {
    fn deref_mut(&mut self) -> &mut Io<'a> {
        &mut self.io
    }
}

impl<'a> AsMut<Io<'a>> for ChatIo<'a> {
    fn as_mut(&mut self) -> &mut Io<'a> {
        &mut self.io
    }
}

impl fmt::Debug for ChatIo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatIo")
            .field("io", &self.io)
            .field("terminator", self.get_terminator())
            .finish_non_exhaustive()
    }
}
