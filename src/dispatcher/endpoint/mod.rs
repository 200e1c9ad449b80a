//! The endpoint of a dispatcher: its transport, its phase and its pending output.

mod accept;
mod calls;
mod connecting;
mod ends;
mod forward;
mod input;
mod leave;
mod naming;
mod outlet;
mod output;
mod setup;
mod state;
mod timeout;
mod unread;

use std::fmt;
use std::os::fd::{BorrowedFd, RawFd};

use super::link::Link;
use super::socket::Socket;
use super::transport::Transport;
use crate::address::Address;
use crate::error::{Error, Result};
use state::{Activity, Congestion, Ending, Flow, Input, Listener, Phase};

use timeout::Timeout;

pub(super) use calls::{Call, Event, Turn};
pub(super) use forward::Moved;
pub(super) use outlet::Outlet;
pub(super) use timeout::Alarm;

/// A dispatcher without its handler: the descriptor, its phase and its output. It has
/// all of asyncore's methods.
///
/// You never construct one: [`Dispatcher`](crate::Dispatcher),
/// [`DispatcherWithSend`](crate::DispatcherWithSend),
/// [`FileDispatcher`](crate::FileDispatcher) and [`Io`](crate::Io) dereference to it.
///
/// # Lost connections
///
/// If a receive, a send or an event finds the connection gone, the endpoint records it
/// and the method returns 0; `handle_close` is called when the handler returns. So a
/// handler may send into another channel without checking whether that one still
/// exists: each lost connection ends its own channel. Data already buffered is lost.
///
/// ```
/// use fdloop::{DispatcherWithSend, EventLoop, Handler, Io, Result};
///
/// /// Sends back what it receives, and a farewell at the end of input.
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
    // The fields that an event needs come first, side by side after the handler: with
    // many channels, most are in no cache when their event arrives.
    /// `None` before a socket is made, and after the descriptor was given up.
    link: Option<Link>,
    phase: Phase,
    input: Input,
    flow: Flow,
    congestion: Congestion,
    ending: Ending,
    /// The descriptor's number; messages use it after the descriptor is gone, too.
    fd: RawFd,
    outlet: Outlet,
    activity: Activity,
    /// Unhandled priority events in a row.
    unhandled_priority: u8,
    /// The running handler has sent something at once.
    sent: bool,
    /// The handler has received, or tried to, since the event began.
    received: bool,
    /// Every send waits until the handler returns.
    gathers: bool,
    /// The channel does not read while its output is congested.
    backpressure: bool,
    /// Pending input is read before the channel closes, even if `readable` is false.
    keeps_unread: bool,
    /// [`Endpoint::shutdown_when_done`] was called.
    output_ended: bool,
    /// True if splice(2) has failed for this input.
    cannot_splice: bool,
    /// True if the number refers to another file than the loop knows.
    replaced: bool,
    /// Read events in a row in which the handler received nothing.
    unread_events: u16,
    /// The error that closes the channel, if any.
    reason: Option<Error>,
    addr: Option<Address>,
    /// Allocated if it is set, since most connections have none.
    timeout: Option<Box<Timeout>>,
}

impl Endpoint {
    /// Makes an endpoint without a descriptor.
    pub(in crate::dispatcher) fn unconnected(buffered: bool) -> Self {
        Self {
            link: None,
            phase: Phase::IDLE,
            input: Input::Open,
            flow: Flow::Clear,
            congestion: Congestion::No,
            ending: Ending::No,
            fd: -1,
            outlet: Outlet::new(buffered),
            activity: Activity::Unwatched,
            unhandled_priority: 0,
            sent: false,
            received: false,
            gathers: false,
            backpressure: false,
            keeps_unread: false,
            output_ended: false,
            cannot_splice: false,
            replaced: false,
            unread_events: 0,
            reason: None,
            addr: None,
            timeout: None,
        }
    }

    /// Makes an endpoint over a socket that is connected, listening, or neither.
    pub(in crate::dispatcher) fn adopt(socket: Socket, buffered: bool) -> Result<Self> {
        let mut endpoint = Self::unconnected(buffered);
        endpoint.take_up(socket)?;
        Ok(endpoint)
    }

    /// Takes ownership of a socket, and finds out its phase.
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
            // Not connected. Some systems return EINVAL for one that was.
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

    /// Makes an endpoint over another transport, which is always connected.
    pub(in crate::dispatcher) fn over(transport: Box<dyn Transport>, buffered: bool) -> Self {
        let mut endpoint = Self::unconnected(buffered);
        endpoint.set_link(Link::Other(transport));
        endpoint.phase = Phase::Connected;
        endpoint
    }

    /// Checks for the common case: a connection with nothing pending. An event then only
    /// calls the handler, and nothing is due when that has returned.
    #[inline]
    pub(in crate::dispatcher) fn is_usual(&self) -> bool {
        self.is_connection_with(Flow::Clear)
    }

    /// Checks whether nothing is due but to write the output that the handler has gathered.
    #[inline]
    pub(in crate::dispatcher) fn has_only_gathered(&self) -> bool {
        self.is_connection_with(Flow::Gathered)
    }

    /// Checks for a connection with this state of the output, and its other states as usual.
    #[inline]
    fn is_connection_with(&self, flow: Flow) -> bool {
        let states = [
            self.input as u8,
            self.flow as u8,
            self.congestion as u8,
            self.ending as u8,
        ];
        let expected = u32::from_ne_bytes([0, flow as u8, 0, 0]);
        matches!(self.phase, Phase::Connected) && u32::from_ne_bytes(states) == expected
    }

    /// Checks whether nothing became due in a call of `handle_read` that received something.
    #[inline]
    pub(crate) fn is_still_usual(&self) -> bool {
        self.received && self.is_usual() && !self.is_active() && !self.replaced
    }

    /// Checks whether the number refers to another file than the loop knows.
    #[inline]
    pub(in crate::dispatcher) fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// Records that the loop knows the file.
    pub(in crate::dispatcher) fn end_replaced(&mut self) {
        self.replaced = false;
    }

    fn set_link(&mut self, link: Link) {
        self.fd = link.raw_fd();
        self.link = Some(link);
        self.check_held();
    }

    // --- state ------------------------------------------------------------------

    /// Returns true while the connection is established. asyncore's attribute of that name.
    #[must_use]
    pub fn connected(&self) -> bool {
        matches!(self.phase, Phase::Connected | Phase::Announcing { .. })
    }

    /// Returns true for a listener. asyncore's attribute of that name.
    #[must_use]
    pub fn accepting(&self) -> bool {
        matches!(self.phase, Phase::Listening(_))
    }

    /// Returns true while a connect is in progress, or the name to connect to is being resolved.
    /// asyncore's attribute of that name.
    #[must_use]
    pub fn connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_) | Phase::Resolving(_))
    }

    /// Returns true once the channel is closed, or another one takes its
    /// [place](crate::Io::replace). None of its handlers is called any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Leaving(_))
    }

    /// Checks whether there is input that the descriptor does not report.
    #[inline]
    pub(in crate::dispatcher) fn holds_input(&self) -> bool {
        self.input == Input::Held
    }

    /// Finds out whether there is such input, after the transport was read or set.
    fn check_held(&mut self) {
        if !self.input_ended() {
            let held = self.link.as_ref().is_some_and(Link::holds_input);
            self.input = if held { Input::Held } else { Input::Open };
        }
    }

    /// Also checked after a send: a transport of the program's may receive in it.
    #[inline]
    pub(super) fn check_held_by_transport(&mut self) {
        if !matches!(self.link, Some(Link::Socket(_))) {
            self.check_held();
        }
    }

    /// Returns the address of the peer, or of a listener or bound socket its own address.
    /// asyncore's attribute of that name.
    #[must_use]
    pub fn addr(&self) -> Option<&Address> {
        self.addr.as_ref()
    }

    /// Returns the address that the socket is bound to, with the port that the system
    /// chose. See getsockname(2).
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel has no descriptor; `Unsupported` if that is not a
    /// socket; else the errors of getsockname(2).
    pub fn local_addr(&self) -> Result<Address> {
        self.socket_for("ask for its address")?.local_addr()
    }

    /// Returns the socket, if the transport is one.
    #[must_use]
    pub fn socket(&self) -> Option<&Socket> {
        self.link.as_ref()?.socket()
    }

    /// Returns the descriptor, or `None` before one is made and after it was given up.
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref()?.as_fd()
    }

    pub(in crate::dispatcher) fn raw_fd(&self) -> RawFd {
        if self.link.is_some() { self.fd } else { -1 }
    }

    /// Checks whether the channel takes events. A channel that is over, paused, or neither
    /// connected nor connecting does not.
    pub(crate) fn has_events(&self) -> bool {
        let idle = match &self.phase {
            Phase::Idle { .. } | Phase::Resolving(_) => true,
            Phase::Connecting(attempts) => attempts.is_out(),
            _ => false,
        };
        !self.is_over() && !idle && !self.is_paused()
    }

    /// Checks whether the connection is in use: from the call of `handle_connect` on, if it
    /// was made here, until it is closed.
    pub(crate) fn is_established(&self) -> bool {
        matches!(
            self.phase,
            Phase::Connected | Phase::Announcing { begun: true }
        )
    }

    /// Returns true if the channel closes once the pending output is written, because of
    /// [`close_when_done`](Endpoint::close_when_done) or the end of the input.
    #[must_use]
    pub fn will_close(&self) -> bool {
        let buffer = self.outlet.buffer();
        self.ending == Ending::Due || buffer.is_some_and(|buffer| buffer.queue.will_close())
    }

    /// Returns true after the end of the input: the peer closed its side, or a file was
    /// read to its end.
    #[must_use]
    pub fn input_ended(&self) -> bool {
        self.input >= Input::Ended
    }

    /// Returns the error that closes the channel, for its `handle_close`: `None` if the
    /// input ended, or the channel was closed in order.
    #[must_use]
    pub fn reason(&self) -> Option<&Error> {
        self.reason.as_ref()
    }

    /// Returns what `writable` returns by default: with a buffer, true while output is
    /// pending; without one, true, as in asyncore, until a write event was not handled.
    #[must_use]
    pub fn writable(&self) -> bool {
        match self.outlet {
            Outlet::Direct { muted } => !muted,
            Outlet::Buffered(_) => self.has_output(),
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
    /// Writes the form used in logs: `fd 7, connected to 127.0.0.1:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Idle { .. } | Phase::Unconnected => "unconnected",
            Phase::Listening(_) => "listening on",
            Phase::Connecting(_) | Phase::Resolving(_) => "connecting to",
            Phase::Announcing { .. } | Phase::Connected => "connected to",
            Phase::Leaving(_) | Phase::Closed => "closed",
        };
        write!(f, "fd {}", self.fd)?;
        if let Some(name) = self.name_in_question() {
            return write!(f, ", {phase} {name:?}");
        }
        match (&self.addr, self.socket()) {
            (Some(addr), _) => write!(f, ", {phase} {addr}"),
            (None, Some(_)) => write!(f, ", {}", phase.trim_end_matches(" to")),
            (None, None) => Ok(()),
        }
    }
}
