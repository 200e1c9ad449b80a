//! The states of an endpoint.
//!
//! ```text
//!            set_socket,
//!            failed connect
//!               ┌───────────┐
//!               ▼           │
//!   listen    ┌────┐ connect│   ┌──────────┐ ready   ┌──────────┐ handle_connect ┌─────────┐
//!  ┌──────────┤Idle├────────┴──►│Connecting├────────►│Announcing├───────────────►│Connected│
//!  ▼          └────┘            └──▲───────┘         └────┬─────┘    succeeds    └─────────┘
//! ┌─────────┐                      └──────────────────────┘
//! │Listening│                        handle_connect fails
//! └─────────┘
//! ```
//!
//! `Unconnected` has the same transitions as `Idle`. An immediate connect leads from either to
//! `Announcing`. A connect by name leads from either through `Resolving`, and from there on as
//! `connect` does, or back to `Idle`. An adopted socket begins in `Connected`, `Listening` or
//! `Unconnected`, and every other transport in `Connected`. `close` leads from every phase to
//! `Closed`, which is final. `replace` leads from `Connected` to `Leaving`, and from there to
//! `Closed` when the handler has returned.
//!
//! Beside the phase there are four small states: of the input, of the output, of its
//! congestion, and of the end of the channel. Each is zero in the common case, so that one
//! comparison recognizes it.

use std::os::fd::OwnedFd;

use super::super::attempts::Attempts;
use super::leave::Leave;
use super::naming::Naming;

/// The phase of a channel.
#[derive(Debug)]
pub(super) enum Phase {
    /// No socket, or a stream socket made here that neither connects nor listens. Such a
    /// descriptor would report a hang-up in every wait.
    Idle {
        /// The socket failed to connect, and cannot be used for another attempt.
        spent: bool,
    },
    /// A socket that is neither connected nor listening but may have events: a datagram
    /// socket, or one that was adopted in this state.
    Unconnected,
    Listening(Box<Listener>),
    /// The name of the peer is being resolved.
    Resolving(Box<Naming>),
    Connecting(Box<Attempts>),
    /// The connection is established, and `handle_connect` is due or has begun.
    Announcing {
        begun: bool,
    },
    Connected,
    /// The connection goes to another channel when the running handler has returned.
    Leaving(Box<Leave>),
    Closed,
}

impl Phase {
    pub(super) const IDLE: Self = Self::Idle { spent: false };
}

/// The state of a listener beside its socket.
#[derive(Debug)]
pub(super) struct Listener {
    /// A descriptor in reserve, to refuse connections with when the process has no other.
    pub(super) spare: Option<OwnedFd>,
    pub(super) admission: Admission,
}

/// The treatment of incoming connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Accepted.
    Open,
    /// Refused, which was logged.
    Refusing,
    /// Neither accepted nor refused: no event is asked for until the pause is over.
    Paused,
}

/// The state of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Input {
    Open = 0,
    /// Open, and the transport holds input that the descriptor does not report.
    Held,
    /// At its end; `handle_eof` is due.
    Ended,
    /// At its end; nothing is due.
    Over,
}

/// The state of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Flow {
    /// Nothing is pending, not even a mark.
    Clear = 0,
    /// Pending, and written when the handler returns.
    Gathered,
    /// Pending until a write event.
    Waiting,
    /// Lost with the connection: nothing more is sent.
    Broken,
}

/// The congestion of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Congestion {
    No = 0,
    /// The high watermark was reached, and the low one was not since.
    Congested,
    /// The low watermark was reached; `handle_drain` is due.
    Drained,
}

/// The activity of the connection, for its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Activity {
    /// There is no timeout.
    Unwatched = 0,
    /// No bytes were received or sent since the dispatcher last looked.
    Quiet,
    /// Bytes were received or sent, or the timeout was set: it begins anew.
    Active,
}

/// The end of the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ending {
    No = 0,
    /// `handle_close` is due.
    Due,
    /// `handle_close` has begun.
    Begun,
}
