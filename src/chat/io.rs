//! What a chat's handler is given.

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};

use super::bytes::IntoBytes;
use super::scanner::Scanner;
use super::terminator::Terminator;
use crate::dispatcher::{Endpoint, Io, Producer};
use crate::error::{Error, Result};

/// How much is received at once, unless said otherwise. asynchat's
/// `ac_in_buffer_size`.
const IN_BUFFER_SIZE: usize = 65536;

/// See [`ChatIo::set_limit`]. A peer that never sends a terminator costs no more memory
/// than this; asynchat takes all that it sends.
const LIMIT: usize = 64 * 1024;

/// What a chat is beside its endpoint and its handler.
#[derive(Debug)]
pub(super) struct State {
    pub(super) scanner: Scanner,
    pub(super) in_buffer_size: usize,
    /// What `ChatIo::collect` gathered.
    data: Vec<u8>,
    /// The most bytes that a piece with a terminator of bytes may have.
    limit: Option<usize>,
    /// How many bytes of the piece were handed out.
    piece: usize,
    /// The piece is over the limit: what comes of it is dropped, up to its end.
    pub(super) too_long: bool,
    /// What was received is to be dropped, since the buffers were discarded.
    pub(super) discarded: bool,
    /// The input has ended, and `handle_eof` was not called yet.
    pub(super) eof_due: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            scanner: Scanner::default(),
            in_buffer_size: IN_BUFFER_SIZE,
            data: Vec::new(),
            limit: Some(LIMIT),
            piece: 0,
            too_long: false,
            discarded: false,
            eof_due: false,
        }
    }
}

impl State {
    /// Counts bytes of the piece; the answer is the limit, if they go beyond it.
    pub(super) fn count(&mut self, bytes: usize) -> Option<usize> {
        // A piece may be longer than the memory of a 32-bit machine.
        self.piece = self.piece.saturating_add(bytes);
        let limit = self.limit?;
        let limited = self.scanner.terminator().as_bytes().is_some();
        (limited && self.piece > limit).then_some(limit)
    }

    pub(super) fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit;
    }

    /// Changes the terminator. With one of another kind the piece is counted from
    /// here, and is no longer too long, unless its end was seen already.
    ///
    /// # Errors
    ///
    /// As for [`Terminator::check`].
    pub(super) fn set_terminator(&mut self, terminator: Terminator) -> Result<()> {
        let terminator = terminator.check()?;
        if !terminator.is_like(self.scanner.terminator()) && !self.scanner.found() {
            self.drop_too_long();
            self.too_long = false;
            self.piece = 0;
        }
        self.scanner.set_terminator(terminator);
        Ok(())
    }

    /// Takes what was received and did not become a piece.
    pub(super) fn take_input(&mut self) -> Vec<u8> {
        let mut input = mem::take(&mut self.data);
        input.extend(self.scanner.take_held());
        self.piece = 0;
        input
    }

    /// Forgets all input that was received, collected or held back.
    pub(super) fn discard(&mut self) {
        self.discarded = true;
        self.scanner.discard();
        self.data = Vec::new();
        self.piece = 0;
    }

    /// What was collected of a piece that is too long is neither the beginning of
    /// the next nor a tail.
    pub(super) fn drop_too_long(&mut self) {
        if self.too_long {
            self.data = Vec::new();
        }
    }

    /// The piece ends. Whether it was within the limit.
    pub(super) fn end_piece(&mut self) -> bool {
        self.piece = 0;
        !mem::take(&mut self.too_long)
    }
}

/// What a [`ChatHandler`](crate::ChatHandler) does its work with: the methods of a
/// chat, and by dereferencing those of an [`Io`].
pub struct ChatIo<'a> {
    io: Io<'a>,
    pub(super) state: &'a mut State,
}

impl<'a> ChatIo<'a> {
    pub(super) fn new(io: Io<'a>, state: &'a mut State) -> Self {
        Self { io, state }
    }

    /// Sends `data` behind what waits. What is owned, and not small, is not copied:
    /// see [`IntoBytes`]. All that a handler pushes leaves together, when it
    /// returns. asynchat's `push`.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`].
    pub fn push<'d>(&mut self, data: impl IntoBytes<'d>) -> Result<()> {
        push(&mut self.io, data)
    }

    /// Sends what a producer makes behind what waits, as fast as the peer takes
    /// it. asynchat's `push_with_producer`.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`].
    pub fn push_with_producer(&mut self, producer: impl Producer) -> Result<()> {
        push_with_producer(&mut self.io, producer)
    }

    /// Sets what ends a piece of input, from the very next byte on: bytes, a
    /// count, or none. A count holds for one piece, and is none afterwards.
    ///
    /// A count of 0 is a complete piece without bytes, such as the body of a message with
    /// `Content-Length: 0`: [`found_terminator`](crate::ChatHandler::found_terminator)
    /// is called for it when the handler that sets it returns, without waiting for
    /// input. (If the connection is not established yet, it is called after
    /// `handle_connect`.) To collect all input, set [`Terminator::none`].
    ///
    /// A negative count [fails](Endpoint::fail) the chat: it ends, with the reason
    /// `InvalidInput`, which is logged. So does a handler that sets a count of 0 more
    /// than 1,000 times in a row without any input in between.
    ///
    /// ```
    /// use fdloop::{AsyncChat, ChatHandler, ChatIo, Error, EventLoop, Result};
    ///
    /// /// Echoes the bodies of messages; before each comes a line with its length.
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
    ///             let length = str::from_utf8(&piece).map_err(Error::other)?;
    ///             let length: u16 = length.parse().map_err(Error::other)?;
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
    /// let mut answer = String::new();
    /// theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "hello;;world;;");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn set_terminator(&mut self, terminator: impl Into<Terminator>) {
        if let Err(error) = self.state.set_terminator(terminator.into()) {
            refuse(&mut self.io, error);
        }
    }

    /// What ends a piece; of a count, what is left of it, and none when it is used up.
    #[must_use]
    pub fn get_terminator(&self) -> &Terminator {
        self.state.scanner.terminator()
    }

    /// Sets the most bytes that a piece may have if its terminator is bytes: 65,536
    /// (64 KiB) unless set. `None` removes the limit: a peer can then send a piece that
    /// takes all memory.
    ///
    /// A longer piece is an [`Error::LineTooLong`](crate::Error::LineTooLong), which
    /// [`handle_error`](crate::ChatHandler::handle_error) gets as soon as the limit is
    /// exceeded. Its default logs the error and ends the chat. If an override lets the
    /// chat go on, the whole piece is dropped: the bytes collected so far when
    /// `handle_error` returns, the others as they arrive, and `found_terminator` is not
    /// called for it. The piece ends with its terminator, or when a count or none is
    /// set; [`discard_buffers`](ChatIo::discard_buffers) does not end it.
    ///
    /// The limit does not apply while the terminator is a count or none. A count that a
    /// peer has sent needs a check of its own before it is set. When a terminator of bytes
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
    /// let mut answer = String::new();
    /// theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "at most 8 bytes, short");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn set_limit(&mut self, bytes: impl Into<Option<usize>>) {
        self.state.set_limit(bytes.into());
    }

    /// Adds `data` to what [`take_data`](ChatIo::take_data) gives: what
    /// `collect_incoming_data` does unless it is overridden. asynchat's
    /// `_collect_incoming_data`.
    pub fn collect(&mut self, data: &[u8]) {
        self.state.data.extend_from_slice(data);
    }

    /// All that was collected since this was last called: in `found_terminator`,
    /// the whole piece; in `handle_close`, the tail that had no terminator.
    /// asynchat's `_get_data`.
    #[must_use]
    pub fn take_data(&mut self) -> Vec<u8> {
        mem::take(&mut self.state.data)
    }

    /// What was collected so far.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.state.data
    }

    /// Forgets all that was received, whether it was collected yet or not, and all
    /// that waits to be sent. "Emergencies only!", says asynchat.
    pub fn discard_buffers(&mut self) {
        self.io.discard_output();
        self.state.discard();
    }

    /// Sets how many bytes are received at once; 1 to 1,048,576, and 65,536 unless
    /// set. asynchat's `ac_in_buffer_size`. (For its `ac_out_buffer_size`, see
    /// [`Endpoint::set_out_buffer_size`].)
    pub fn set_in_buffer_size(&mut self, bytes: usize) {
        self.state.in_buffer_size = bytes.max(1);
    }
}

/// Ends a chat that was given a terminator which cannot be.
pub(super) fn refuse(endpoint: &mut Endpoint, error: Error) {
    log::error!("{endpoint}: {error}");
    endpoint.fail(error);
}

/// asynchat's push writes, and so comes upon a close that waits; what is pushed
/// behind that is never sent.
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
