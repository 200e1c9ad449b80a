//! The endpoint of a dispatcher: its transport, its phase, and what waits to be written.

mod accept;
mod calls;
mod ends;
mod input;
mod output;
mod setup;
mod state;

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::queue::Queue;
use super::socket::Socket;
use super::transport::{Link, Transport};
use crate::address::Address;
use crate::error::{Error, Result};
use state::{Congestion, Ending, Flow, Input, Listener, Phase};

pub(crate) use calls::{Call, Event, Turn};

/// What every dispatcher is but for its handler: the descriptor, its phase, and
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
    // What an event needs comes first, so that it lies together, after a handler:
    // of many channels most are in no cache when their event comes.
    /// None before there is a socket, and after the descriptor was given up.
    link: Option<Link>,
    phase: Phase,
    input: Input,
    flow: Flow,
    congestion: Congestion,
    ending: Ending,
    /// The number of the descriptor, kept for messages when it is gone.
    fd: RawFd,
    outlet: Outlet,
    /// How many priority events in a row nobody has handled.
    unhandled_priority: u8,
    /// The handler that runs has sent something at once.
    sent: bool,
    /// The handler has received something, or tried, since the event began.
    received: bool,
    /// All sends wait until the handler returns.
    gathers: bool,
    /// No input is taken while the output is congested.
    backpressure: bool,
    /// Input is read before the channel closes, even if it is not wanted now.
    keeps_unread: bool,
    /// The output was told to end: see [`Endpoint::shutdown_when_done`].
    output_ended: bool,
    /// In how many read events in a row the handler received nothing.
    unread_events: u16,
    /// Why the channel closes.
    reason: Option<Error>,
    addr: Option<Address>,
}

/// Where output goes.
#[derive(Debug)]
enum Outlet {
    /// A send writes what there is room for.
    Direct {
        /// Nobody handles write events: see [`Endpoint::mute_writes`].
        muted: bool,
    },
    /// Output is kept and written when there is room. The buffer is made when it is first
    /// needed: most connections are idle.
    Buffered(Option<Box<Buffer>>),
}

/// The output that waits, and how much of it is too much.
#[derive(Debug)]
struct Buffer {
    queue: Queue,
    low_watermark: usize,
    high_watermark: usize,
}

impl Default for Buffer {
    /// See [`Endpoint::set_watermarks`].
    fn default() -> Self {
        Self {
            queue: Queue::default(),
            low_watermark: 16 * 1024,
            high_watermark: 64 * 1024,
        }
    }
}

impl Outlet {
    fn new(buffered: bool) -> Self {
        if buffered {
            Self::Buffered(None)
        } else {
            Self::Direct { muted: false }
        }
    }

    fn is_buffered(&self) -> bool {
        matches!(self, Self::Buffered(_))
    }

    /// The buffer, if there is one already.
    fn buffer(&self) -> Option<&Buffer> {
        match self {
            Self::Buffered(Some(buffer)) => Some(buffer),
            Self::Buffered(None) | Self::Direct { .. } => None,
        }
    }

    /// The buffer, which is made if output is to be kept.
    fn buffer_mut(&mut self) -> Option<&mut Buffer> {
        match self {
            Self::Buffered(buffer) => Some(buffer.get_or_insert_default()),
            Self::Direct { .. } => None,
        }
    }
}

/// How many priority events that nobody handles are taken for something that passes.
const UNHANDLED_PRIORITY: u8 = 64;

/// After how many read events in a row without a receive there is a warning.
const UNREAD_EVENTS: u16 = 1_000;

impl Endpoint {
    /// An endpoint without a descriptor.
    pub(crate) fn unconnected(buffered: bool) -> Self {
        Self {
            link: None,
            phase: Phase::IDLE,
            input: Input::Open,
            flow: Flow::Clear,
            congestion: Congestion::No,
            ending: Ending::No,
            fd: -1,
            outlet: Outlet::new(buffered),
            unhandled_priority: 0,
            sent: false,
            received: false,
            gathers: false,
            backpressure: false,
            keeps_unread: false,
            output_ended: false,
            unread_events: 0,
            reason: None,
            addr: None,
        }
    }

    /// An endpoint over a socket that is connected, listening, or neither.
    pub(crate) fn adopt(socket: Socket, buffered: bool) -> Result<Self> {
        let mut endpoint = Self::unconnected(buffered);
        endpoint.take_up(socket)?;
        Ok(endpoint)
    }

    /// Takes a socket for its own, in the phase that it is in.
    fn take_up(&mut self, mut socket: Socket) -> Result<()> {
        let peer = match socket.take_peer() {
            Some(peer) => Ok(peer),
            None => socket.peer_addr(),
        };
        match peer {
            Ok(peer) => {
                self.phase = Phase::Connected;
                self.addr = Some(peer);
            }
            // Not connected (some systems say EINVAL when it no longer is).
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOTCONN | libc::EINVAL) if socket.is_listening() => {
                    self.phase = Phase::Listening(Box::new(Listener::of(&socket)));
                    self.addr = socket.local_addr().ok();
                }
                Some(libc::ENOTCONN | libc::EINVAL) => self.phase = Phase::Unconnected,
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
        endpoint.phase = Phase::Connected;
        endpoint
    }

    /// Whether it is a connection of which nothing else is to be said: an event is
    /// the handler's, and when that has returned there is nothing to see to.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        let states = [
            self.input as u8,
            self.flow as u8,
            self.congestion as u8,
            self.ending as u8,
        ];
        matches!(self.phase, Phase::Connected) && u32::from_ne_bytes(states) == 0
    }

    fn set_link(&mut self, link: Link) {
        self.fd = link.as_fd().map_or(-1, |fd| fd.as_raw_fd());
        self.link = Some(link);
    }

    // --- what it is and how it stands -------------------------------------------

    /// Whether the connection stands. asyncore's attribute of that name.
    #[must_use]
    pub fn connected(&self) -> bool {
        matches!(self.phase, Phase::Connected | Phase::Announcing { .. })
    }

    /// Whether it listens. asyncore's attribute of that name.
    #[must_use]
    pub fn accepting(&self) -> bool {
        matches!(self.phase, Phase::Listening(_))
    }

    /// Whether a connection is being made. asyncore's attribute of that name.
    #[must_use]
    pub fn connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_))
    }

    /// Whether it was closed. No handler runs any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
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
        self.outlet.is_buffered()
    }

    /// How many bytes of output wait to be written. Always 0 without a buffer.
    #[must_use]
    pub fn pending(&self) -> usize {
        let buffer = self.outlet.buffer();
        buffer.map_or(0, |buffer| buffer.queue.pending())
    }

    /// Whether the channel closes when what waits is written, because of
    /// [`close_when_done`](Endpoint::close_when_done) or the end of the input.
    #[must_use]
    pub fn will_close(&self) -> bool {
        let buffer = self.outlet.buffer();
        self.ending == Ending::Due || buffer.is_some_and(|buffer| buffer.queue.will_close())
    }

    /// Whether the input has ended: the peer closed its side, or a file was read
    /// to its end.
    #[must_use]
    pub fn input_ended(&self) -> bool {
        self.input != Input::Open
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
        match self.outlet {
            Outlet::Direct { muted } => !muted,
            Outlet::Buffered(_) => self.has_output(),
        }
    }

    /// Nobody handled a priority event. They could come for ever: after some in a row,
    /// no more are asked for until there is something to read.
    pub(crate) fn note_unhandled_priority(&mut self) {
        // A poller of the user's own may report what is not asked for.
        self.unhandled_priority = self.unhandled_priority.saturating_add(1);
    }

    /// Whether priority events are of use.
    pub(crate) fn wants_priority(&self) -> bool {
        self.unhandled_priority < UNHANDLED_PRIORITY
    }

    /// Stops [`writable`](Endpoint::writable) from answering true for ever: what
    /// the default of `handle_write` does, since a loop that wakes for write
    /// events that nobody handles would only spin.
    pub(crate) fn mute_writes(&mut self) {
        if let Outlet::Direct { muted } = &mut self.outlet {
            *muted = true;
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("fd", &self.fd)
            .field("phase", &self.phase)
            .field("addr", &self.addr)
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Endpoint {
    /// As in a log: `fd 7, connected to 127.0.0.1:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Idle { .. } | Phase::Unconnected => "unconnected",
            Phase::Listening(_) => "listening on",
            Phase::Connecting(_) => "connecting to",
            Phase::Announcing { .. } | Phase::Connected => "connected to",
            Phase::Closed => "closed",
        };
        write!(f, "fd {}", self.fd)?;
        match (&self.addr, self.socket()) {
            (Some(addr), _) => write!(f, ", {phase} {addr}"),
            (None, Some(_)) => write!(f, ", {}", phase.trim_end_matches(" to")),
            (None, None) => Ok(()),
        }
    }
}
