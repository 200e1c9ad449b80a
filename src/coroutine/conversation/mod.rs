//! A chat that a coroutine drives: a protocol as one function.

mod feeder;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use feeder::{AHEAD, Feeder, Shared};
use memchr::memmem;

use super::handle::Handle;
use crate::chat::{AsyncChat, IntoBytes, Terminator};
use crate::dispatcher::{IntoSocket, Transport};
use crate::error::{Error, Result};
use crate::event_loop::{ChannelId, EventLoop};

/// The longest piece that [`Conversation::read_until`] returns, unless set.
const LIMIT: usize = 64 * 1024;

/// An [`AsyncChat`] that a coroutine drives, so that a protocol is one function. It is a channel of
/// its loop. Output is queued and sent together before the loop waits.
///
/// Dropping a future that reads loses no input: the next call finds it. Dropping the conversation
/// closes it when its output is sent.
///
/// ```
/// use fdloop::{Conversation, EventLoop, Result, Socket};
///
/// /// Reads a length and as many bytes, and replies with their sum.
/// async fn serve(mut chat: Conversation) -> Result<()> {
///     chat.push("send a length\r\n")?;
///     while let Some(line) = chat.read_until("\r\n").await? {
///         let length = std::str::from_utf8(&line)?.parse()?;
///         let data = chat.read_exact(length).await?;
///         let sum: u32 = data.iter().map(|byte| u32::from(*byte)).sum();
///         chat.push(format!("{sum}\r\n"))?;
///     }
///     chat.flush().await
/// }
///
/// let (ours, theirs) = Socket::pair()?;
/// let mut event_loop = EventLoop::new()?;
/// let handle = event_loop.handle();
/// event_loop.block_on(async move {
///     let server = Conversation::new(&handle, ours)?;
///     let server = handle.spawn(serve(server));
///     let mut client = Conversation::new(&handle, theirs)?;
///     assert_eq!(client.read_until("\r\n").await?.unwrap(), b"send a length");
///     client.push("3\r\n\x01\x02\x03")?;
///     assert_eq!(client.read_until("\r\n").await?.unwrap(), b"6");
///     drop(client);
///     server.await
/// })??;
/// # Ok::<(), fdloop::Error>(())
/// ```
pub struct Conversation {
    handle: Handle,
    id: ChannelId<AsyncChat<Feeder>>,
    shared: Rc<Shared>,
    limit: Option<usize>,
    /// The terminator that was last searched for, and the length of the input known not to contain
    /// it.
    sought: (Vec<u8>, usize),
}

/// A part of a piece: see [`Conversation::read_part`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the piece, without its terminator. May be empty.
    pub data: Vec<u8>,
    /// True if the piece ends here: its terminator follows.
    pub is_last: bool,
}

impl Conversation {
    /// Begins a conversation over a connected socket.
    ///
    /// # Errors
    ///
    /// As for [`AsyncChat::new`], [`EventLoop::add`] and [`Handle::with`].
    pub fn new(handle: &Handle, socket: impl IntoSocket) -> Result<Self> {
        let shared = Rc::default();
        let chat = AsyncChat::new(socket, Feeder::new(&shared))?;
        Self::begin(handle, chat, shared)
    }

    /// Begins a conversation over a transport: a [`FileWrapper`](crate::FileWrapper), or one of
    /// your own.
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::add`] and [`Handle::with`].
    pub fn over(handle: &Handle, transport: impl Transport) -> Result<Self> {
        let shared = Rc::default();
        let chat = AsyncChat::over(transport, Feeder::new(&shared));
        Self::begin(handle, chat, shared)
    }

    fn begin(handle: &Handle, mut chat: AsyncChat<Feeder>, shared: Rc<Shared>) -> Result<Self> {
        // The coroutine cuts the input into pieces when it asks for them.
        chat.set_terminator(Terminator::none());
        // `flush` waits until nothing is pending.
        chat.set_watermarks(0, 1);
        Ok(Self {
            handle: handle.clone(),
            id: handle.with(|event_loop| event_loop.add(chat))??,
            shared,
            limit: Some(LIMIT),
            sought: (Vec::new(), 0),
        })
    }

    /// Sets the longest piece that [`read_until`](Conversation::read_until) returns, in bytes
    /// without the terminator; `None` for no limit. 65,536 unless set.
    pub fn set_limit(&mut self, bytes: impl Into<Option<usize>>) {
        self.limit = bytes.into();
    }

    /// Waits for input up to a terminator, and returns it without the terminator. Returns `None` at
    /// the end of the input. Each byte is searched once, however the input arrives.
    ///
    /// # Errors
    ///
    /// [`Error::LineTooLong`] if the piece is longer than the [limit](Conversation::set_limit): the
    /// piece stays in the input. `UnexpectedEof` if the input ends within a piece, which
    /// [`take_input`](Conversation::take_input) returns. `InvalidInput` if the terminator is empty.
    /// If the chat was closed by an error, that error.
    pub async fn read_until(&mut self, terminator: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let terminator = terminator.as_ref();
        check_terminator(terminator)?;
        poll_fn(|cx| self.poll_until(terminator, cx)).await
    }

    fn poll_until(
        &mut self,
        terminator: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Vec<u8>>>> {
        let found = self.find(terminator);
        let length = found.unwrap_or(self.kept().saturating_sub(terminator.len() - 1));
        if let Some(limit) = self.limit.filter(|limit| length > *limit) {
            return Poll::Ready(Err(Error::LineTooLong(limit)));
        }
        if let Some(length) = found {
            let mut piece = self.take(length + terminator.len());
            piece.truncate(length);
            return Poll::Ready(Ok(Some(piece)));
        }
        match self.poll_more(self.kept() + 1, cx) {
            Poll::Ready(Ok(false)) if self.kept() > 0 => Poll::Ready(Err(cut_off())),
            more => more.map(|more| more.map(|_| None)),
        }
    }

    /// Waits for a part of a piece that ends with a terminator: as much as has arrived. For pieces
    /// that are too long to be kept. Returns `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// As for [`read_until`](Conversation::read_until), without a limit.
    pub async fn read_part(&mut self, terminator: impl AsRef<[u8]>) -> Result<Option<Part>> {
        let terminator = terminator.as_ref();
        check_terminator(terminator)?;
        poll_fn(|cx| {
            if let Some(length) = self.find(terminator) {
                let mut data = self.take(length + terminator.len());
                data.truncate(length);
                let is_last = true;
                return Poll::Ready(Ok(Some(Part { data, is_last })));
            }
            // The input may end with the beginning of the terminator.
            let certain = self.kept().saturating_sub(terminator.len() - 1);
            if certain > 0 {
                let (data, is_last) = (self.take(certain), false);
                return Poll::Ready(Ok(Some(Part { data, is_last })));
            }
            match self.poll_more(self.kept() + 1, cx) {
                Poll::Ready(Ok(false)) if self.kept() > 0 => Poll::Ready(Err(cut_off())),
                more => more.map(|more| more.map(|_| None)),
            }
        })
        .await
    }

    /// Waits for exactly `count` bytes. If the peer announces the length, check it against a limit
    /// first.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the input ends before. If the chat was closed by an error, that error.
    pub async fn read_exact(&mut self, count: usize) -> Result<Vec<u8>> {
        poll_fn(|cx| {
            if self.kept() >= count {
                return Poll::Ready(Ok(self.take(count)));
            }
            self.poll_more(count, cx)
                .map(|more| more.and_then(|_| Err(cut_off())))
        })
        .await
    }

    /// Takes the input that was received and not read.
    pub fn take_input(&mut self) -> Vec<u8> {
        self.take(self.kept())
    }

    /// Queues output. It is sent before the loop next waits, as far as there is room.
    ///
    /// # Errors
    ///
    /// As for [`AsyncChat::push`]; `NotConnected` if the chat was closed; those of
    /// [`Handle::with`].
    pub fn push<'d>(&mut self, data: impl IntoBytes<'d>) -> Result<()> {
        let id = self.id;
        self.handle
            .with(|event_loop| match event_loop.get_mut(id) {
                Some(chat) => chat.push(data),
                None => Err(self.closed()),
            })?
    }

    /// Waits until everything that was pushed is sent: for backpressure, and before a program ends.
    ///
    /// # Errors
    ///
    /// If the chat was closed before: the error that closed it, or `BrokenPipe` if it was closed
    /// without one.
    pub async fn flush(&mut self) -> Result<()> {
        let id = self.id;
        poll_fn(|cx| {
            let pending = self.handle.with(|event_loop| {
                let chat = event_loop.get(id);
                chat.map(|chat| chat.pending())
            });
            match pending {
                Err(error) => Poll::Ready(Err(error)),
                Ok(None) => Poll::Ready(Err(self.closed())),
                Ok(Some(0)) => Poll::Ready(Ok(())),
                Ok(Some(_)) => {
                    self.shared.wait(cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Returns the number of bytes that were pushed and not sent yet; 0 once the chat is closed.
    #[must_use]
    pub fn pending(&self) -> usize {
        let pending = self.handle.with(|event_loop| {
            let chat = event_loop.get(self.id);
            chat.map_or(0, |chat| chat.pending())
        });
        pending.unwrap_or(0)
    }

    /// Returns the number of bytes that are kept.
    fn kept(&self) -> usize {
        self.shared.input.borrow().len()
    }

    /// Searches for a terminator in the input that was not searched for it before.
    fn find(&mut self, terminator: &[u8]) -> Option<usize> {
        let (sought, searched) = &mut self.sought;
        if sought != terminator {
            *sought = terminator.to_vec();
            *searched = 0;
        }
        let mut input = self.shared.input.borrow_mut();
        let input = input.make_contiguous();
        let begin = searched.saturating_sub(terminator.len() - 1);
        let found = memmem::find(input.get(begin..)?, terminator);
        let found = found.map(|at| begin + at);
        // A terminator that was found is searched for again if the piece is too long.
        *searched = found.unwrap_or(input.len());
        found
    }

    /// Takes `count` bytes of input, so that more is received.
    fn take(&mut self, count: usize) -> Vec<u8> {
        self.sought.1 = 0;
        let mut input = self.shared.input.borrow_mut();
        let count = count.min(input.len());
        let taken = input.drain(..count).collect();
        let kept = input.len();
        drop(input);
        self.want(kept + AHEAD);
        taken
    }

    /// Has the channel receive until `wanted` bytes are kept.
    fn want(&self, wanted: usize) {
        let id = self.id;
        self.handle.0.perform(move |event_loop| {
            let Some(chat) = event_loop.get(id) else {
                return;
            };
            if chat.handler().has_room && chat.handler().wanted >= wanted {
                return;
            }
            if let Some(chat) = event_loop.get_mut(id) {
                let feeder = chat.handler_mut();
                feeder.wanted = wanted.max(AHEAD);
                feeder.has_room = feeder.shared.input.borrow().len() < feeder.wanted;
            }
        });
    }

    /// Waits for more input than has arrived. Returns false at the end of the input.
    fn poll_more(&self, wanted: usize, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        if self.shared.closed.get() {
            let failure = self.shared.failure.take();
            return Poll::Ready(failure.map_or(Ok(false), Err));
        }
        if self.shared.ended.get() {
            return Poll::Ready(Ok(false));
        }
        self.shared.wait(cx);
        self.want(wanted);
        Poll::Pending
    }

    #[cold]
    fn closed(&self) -> Error {
        let failure = self.shared.failure.take();
        failure.unwrap_or_else(|| {
            let message = format!("the conversation on fd {} was closed", self.id.fd());
            Error::misuse(io::ErrorKind::BrokenPipe, message)
        })
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let id = self.id;
        self.handle.0.perform(move |event_loop: &mut EventLoop| {
            if let Some(chat) = event_loop.get_mut(id) {
                chat.close_when_done();
            }
        });
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("fd", &self.id.fd())
            .field("kept", &self.kept())
            .finish_non_exhaustive()
    }
}

fn check_terminator(terminator: &[u8]) -> Result<()> {
    if !terminator.is_empty() {
        return Ok(());
    }
    let message = "the terminator is empty, so that no piece would end: pass at least one byte, \
                   or read a number of bytes with read_exact";
    Err(Error::misuse(io::ErrorKind::InvalidInput, message))
}

#[cold]
fn cut_off() -> Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the input has ended within a piece",
    )
    .into()
}
