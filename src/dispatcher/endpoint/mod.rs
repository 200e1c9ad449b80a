//! The state of a dispatcher: its transport, what stage it is at, and what waits
//! to be written.

mod accept;
mod ends;
mod input;
mod output;
mod setup;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use bitflags::bitflags;

use super::attempts::Attempts;
use super::output::Output;
use super::socket::Socket;
use super::transport::{Link, Transport};
use crate::address::Address;
use crate::error::{Error, Result};
use crate::sys;

/// What every dispatcher is but for its handler: the descriptor, its stage, and
/// its output. All of asyncore's methods are here.
///
/// One does not make it: a [`Dispatcher`](crate::Dispatcher) and its kin, and the
/// [`Io`](crate::Io) that a handler is given, all dereference to it.
///
/// # Ends
///
/// Whatever finds that the connection is gone (a receive, a send, an event) notes
/// it here, and `handle_close` follows when the handler returns; the methods
/// themselves answer 0. So a channel that another one's handler writes to can be
/// gone without that handler having to know: each channel hears of its own end.
/// (What a buffer took before that was known is lost with the connection.)
///
/// ```
/// use fdloop::{DispatcherWithSend, EventLoop, Handler, Io, Result};
///
/// /// Answers what it gets, says goodbye at the end, and says why it ended.
/// struct Polite;
/// impl Handler for Polite {
///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
///         let mut buf = [0; 1024];
///         let n = io.recv(&mut buf)?; // 0 at the end: handle_eof follows
///         io.send(&buf[..n])?;
///         Ok(())
///     }
///     fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
///         io.send(b"goodbye")?;
///         io.close_when_done();
///         Ok(())
///     }
///     fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
///         assert!(io.input_ended() && io.reason().is_none());
///         Ok(())
///     }
/// }
///
/// use std::io::{Read, Write};
/// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
/// let channel = DispatcherWithSend::new(ours, Polite)?;
/// assert!(channel.connected() && !channel.accepting()); // methods of the endpoint
/// let mut event_loop = EventLoop::new()?;
/// event_loop.add(channel)?;
/// theirs.write_all(b"hello ")?;
/// theirs.shutdown(std::net::Shutdown::Write)?;
/// event_loop.run()?;
/// let mut answer = String::new();
/// theirs.read_to_string(&mut answer)?;
/// assert_eq!(answer, "hello goodbye");
/// # Ok::<(), fdloop::Error>(())
/// ```
#[repr(C)]
pub struct Endpoint {
    // What an event needs comes first, so that it lies together, behind a handler:
    // of many channels most are in no cache when their event comes.
    /// None before there is a socket, and after the descriptor was given up.
    link: Option<Link>,
    flags: Flags,
    /// The number of the descriptor, kept for messages when it is gone.
    fd: RawFd,
    stage: Stage,
    /// How many priority events in a row nobody has handled.
    unhandled_priority: u8,
    /// In how many read events in a row the handler received nothing.
    unread_events: u16,
    /// Output is kept and written when there is room; without it, a send writes
    /// what there is room for.
    output: Option<Output>,
    low_watermark: usize,
    high_watermark: usize,
    /// Why the channel closes.
    reason: Option<Error>,
    addr: Option<Address>,
    /// While a connection is being made.
    attempts: Option<Box<Attempts>>,
    /// Of a listener: a descriptor in reserve, to refuse connections with when there
    /// is no other.
    spare: Option<OwnedFd>,
}

bitflags! {
    /// All that is either so or not. In one word, so that the usual case, in which
    /// next to nothing is, is found out at once.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Flags: u32 {
        /// Due when the handler has returned: the connection stands, `handle_connect`.
        const CONNECT_DUE = 1 << 0;
        /// Due: the input has ended, `handle_eof`.
        const EOF_DUE = 1 << 1;
        /// That comes before the close: the close waited for it.
        const EOF_FIRST = 1 << 2;
        /// Due: the channel ends, `handle_close`.
        const CLOSE_DUE = 1 << 3;
        /// Due: congested output has drained, `handle_drain`.
        const DRAIN_DUE = 1 << 4;
        const DUE = 0b1_1111;

        /// Nothing more comes in.
        const INPUT_ENDED = 1 << 5;
        /// A send found the connection gone: nothing more is sent.
        const BROKEN = 1 << 6;
        /// A socket made here that was told neither to connect nor to listen. Its
        /// descriptor would report a hang-up all the time.
        const IDLE = 1 << 7;
        /// `handle_close` ran or runs.
        const CLOSE_HANDLED = 1 << 8;
        /// Something was put into the buffer since it was last written from.
        const UNFLUSHED = 1 << 9;
        /// Nobody handled the last priority event.
        const EXPT_UNHANDLED = 1 << 10;
        /// Nor many before it: no more of them until there is something to read.
        const EXPT_MUTE = 1 << 11;
        /// A listener that can neither accept nor refuse, for a while.
        const PAUSED = 1 << 12;
        /// `handle_connect` runs, or has panicked.
        const CONNECT_RUNS = 1 << 13;
        /// Whatever makes an event, or the end of a handler, more than usual.
        const UNUSUAL = 0b11_1111_1111_1111;

        /// Something was sent at once by the handler that runs.
        const SENT = 1 << 14;
        /// The handler received something, or tried, since this was last cleared.
        const RECEIVED = 1 << 15;
        /// Input is read before the channel closes, even if it is not wanted now.
        const KEEPS_UNREAD = 1 << 16;
        /// The socket failed to connect, and is of no use for another attempt.
        const SPENT = 1 << 17;
        /// Nobody handles write events: see [`Endpoint::mute_writes`].
        const MUTE = 1 << 18;
        /// Sends wait until the handler returns.
        const GATHER = 1 << 19;
        /// The last write found no room for all that waited.
        const BLOCKED = 1 << 20;
        /// Output was written, or tried, during the write event that is going on.
        const FLUSHED = 1 << 21;
        /// The high watermark was reached, and since then not the low one.
        const CONGESTED = 1 << 22;
        /// Connections are being refused, which was logged.
        const REFUSING = 1 << 23;
        /// The output was told to end: see [`Endpoint::shutdown_when_done`].
        const OUTPUT_ENDED = 1 << 24;
        /// There is an output buffer: said here too, as looking for it takes another cache
        /// line of a channel.
        const BUFFERED = 1 << 25;
        /// Input waits while the output is congested.
        const BACKPRESSURE = 1 << 26;
    }
}

/// How many priority events that nobody handles are taken for something that passes.
const UNHANDLED_PRIORITY: u8 = 64;

/// After how many read events in a row without a receive there is a warning.
const UNREAD_EVENTS: u16 = 1_000;

/// See [`Endpoint::set_watermarks`].
const LOW_WATERMARK: usize = 16 * 1024;
const HIGH_WATERMARK: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unconnected,
    Accepting,
    Connecting,
    Connected,
    Closed,
}

/// What the dispatcher must see to when the handler has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    Connect,
    Eof,
    Close,
    Drain,
}

impl Endpoint {
    /// An endpoint without a descriptor.
    pub(crate) fn unconnected(buffered: bool) -> Self {
        Self {
            link: None,
            fd: -1,
            stage: Stage::Unconnected,
            unhandled_priority: 0,
            unread_events: 0,
            flags: if buffered {
                Flags::BUFFERED
            } else {
                Flags::empty()
            },
            output: buffered.then(Output::default),
            addr: None,
            attempts: None,
            spare: None,
            low_watermark: LOW_WATERMARK,
            high_watermark: HIGH_WATERMARK,
            reason: None,
        }
    }

    /// An endpoint over a socket that is connected, listening, or neither.
    pub(crate) fn adopt(socket: Socket, buffered: bool) -> Result<Self> {
        let mut endpoint = Self::unconnected(buffered);
        endpoint.take_up(socket)?;
        Ok(endpoint)
    }

    /// Takes a socket for its own, at the stage that it is at.
    fn take_up(&mut self, mut socket: Socket) -> Result<()> {
        let peer = match socket.take_peer() {
            Some(peer) => Ok(peer),
            None => socket.peer_addr(),
        };
        match peer {
            Ok(peer) => {
                self.stage = Stage::Connected;
                self.addr = Some(peer);
            }
            // Not connected (some systems say EINVAL when it no longer is).
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOTCONN | libc::EINVAL) if socket.is_listening() => {
                    self.stage = Stage::Accepting;
                    self.spare = sys::fd::duplicate(socket.as_fd()).ok();
                    self.addr = socket.local_addr().ok();
                }
                Some(libc::ENOTCONN | libc::EINVAL) => {}
                _ => return Err(error),
            },
        }
        self.set_link(Link::Socket(socket));
        Ok(())
    }

    /// An endpoint over any other transport, which is connected by nature.
    pub(crate) fn over(transport: Box<dyn Transport>, buffered: bool) -> Self {
        let mut endpoint = Self::unconnected(buffered);
        endpoint.set_link(Link::Other(transport));
        endpoint.stage = Stage::Connected;
        endpoint
    }

    fn is(&self, flag: Flags) -> bool {
        self.flags.intersects(flag)
    }

    fn set(&mut self, flag: Flags, value: bool) {
        self.flags.set(flag, value);
    }

    /// Whether it is a connection of which nothing else is to be said: an event is
    /// the handler's, and when that has returned there is nothing to see to.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        self.stage == Stage::Connected && !self.is(Flags::UNUSUAL)
    }

    /// Whether there is a buffer, and something in it.
    pub(crate) fn has_output(&self) -> bool {
        self.is(Flags::BUFFERED)
            && self
                .output
                .as_ref()
                .is_some_and(|output| !output.is_empty())
    }

    fn set_link(&mut self, link: Link) {
        self.fd = link.as_fd().map_or(-1, |fd| fd.as_raw_fd());
        self.link = Some(link);
    }

    // --- what it is and how it stands -------------------------------------------

    /// Whether the connection stands. asyncore's attribute of that name.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.stage == Stage::Connected || self.is(Flags::CONNECT_DUE)
    }

    /// Whether it listens. asyncore's attribute of that name.
    #[must_use]
    pub fn accepting(&self) -> bool {
        self.stage == Stage::Accepting
    }

    /// Whether a connection is being made. asyncore's attribute of that name.
    #[must_use]
    pub fn connecting(&self) -> bool {
        self.stage == Stage::Connecting && !self.is(Flags::CONNECT_DUE)
    }

    /// Whether it was closed. No handler runs any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// The address of the peer, or the one that was bound or is listened on.
    /// asyncore's attribute of that name.
    #[must_use]
    pub fn addr(&self) -> Option<&Address> {
        self.addr.as_ref()
    }

    /// The address that the socket is bound to, with the port that the system
    /// chose. See getsockname(2).
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is no descriptor; `Unsupported` if it is not a
    /// socket; else what getsockname(2) answers.
    pub fn local_addr(&self) -> Result<Address> {
        self.socket_for("ask for its address")?.local_addr()
    }

    /// The socket, if the transport is one.
    #[must_use]
    pub fn socket(&self) -> Option<&Socket> {
        self.link.as_ref()?.socket()
    }

    /// The descriptor, unless there is none yet or it is given up.
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref()?.as_fd()
    }

    /// Whether output is kept and written when there is room, as in a
    /// [`DispatcherWithSend`](crate::DispatcherWithSend).
    #[must_use]
    pub fn is_buffered(&self) -> bool {
        self.output.is_some()
    }

    /// How many bytes of output wait to be written. Always 0 without a buffer.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.output.as_ref().map_or(0, Output::pending)
    }

    /// Whether the channel closes when what waits is written, because of
    /// [`close_when_done`](Endpoint::close_when_done) or the end of the input.
    #[must_use]
    pub fn will_close(&self) -> bool {
        self.output.as_ref().is_some_and(Output::will_close) || self.is(Flags::CLOSE_DUE)
    }

    /// Whether the input has ended: the peer closed its side, or a file was read
    /// to its end.
    #[must_use]
    pub fn input_ended(&self) -> bool {
        self.is(Flags::INPUT_ENDED)
    }

    /// Why the channel closes, for its `handle_close`: `None` if the input ended
    /// or the channel was closed in order.
    #[must_use]
    pub fn reason(&self) -> Option<&Error> {
        self.reason.as_ref()
    }

    /// What a dispatcher without a say in it answers to `writable`: with a buffer,
    /// whether something waits; without, true, as in asyncore, until a write event
    /// found that nobody handles those.
    #[must_use]
    pub fn writable(&self) -> bool {
        match &self.output {
            Some(output) => !output.is_empty(),
            None => !self.is(Flags::MUTE),
        }
    }

    /// Nobody handled a priority event. They could come for ever: after some in a row,
    /// no more are asked for until there is something to read.
    pub(crate) fn note_unhandled_priority(&mut self) {
        if !self.is(Flags::EXPT_UNHANDLED) {
            self.set(Flags::EXPT_UNHANDLED, true);
            self.unhandled_priority = 0;
        }
        // A poller of the user's own may report what is not asked for.
        self.unhandled_priority = self.unhandled_priority.saturating_add(1);
        self.set(
            Flags::EXPT_MUTE,
            self.unhandled_priority >= UNHANDLED_PRIORITY,
        );
    }

    /// Whether priority events are of use.
    pub(crate) fn wants_priority(&self) -> bool {
        !self.is(Flags::EXPT_MUTE)
    }

    /// Stops [`writable`](Endpoint::writable) from answering true for ever: what
    /// the default of `handle_write` does, since a loop that wakes for write
    /// events that nobody handles would only spin.
    pub(crate) fn mute_writes(&mut self) {
        self.set(Flags::MUTE, true);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("fd", &self.fd)
            .field("stage", &self.stage)
            .field("addr", &self.addr)
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Endpoint {
    /// As in a log: `fd 7, connected to 127.0.0.1:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Unconnected => "unconnected",
            Stage::Accepting => "listening on",
            Stage::Connecting => "connecting to",
            Stage::Connected => "connected to",
            Stage::Closed => "closed",
        };
        write!(f, "fd {}", self.fd)?;
        match (&self.addr, self.socket()) {
            (Some(addr), _) => write!(f, ", {stage} {addr}"),
            (None, Some(_)) => write!(f, ", {}", stage.trim_end_matches(" to")),
            (None, None) => Ok(()),
        }
    }
}
