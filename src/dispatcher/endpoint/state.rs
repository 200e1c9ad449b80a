//! The states of an endpoint.
//!
//! ```text
//!            set_socket, a connect
//!            that came to nothing
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
//! `Unconnected` takes the same ways as `Idle`. A connect that is done at once goes from
//! either to `Announcing`. A connected or listening socket that is adopted begins in
//! `Connected` or `Listening`, and any other transport in `Connected`. `Closed` is reached
//! from everywhere by `close`, and left by nothing.
//!
//! Four small states beside the phase say how input, output, congestion and the end of the
//! channel are. Each is zero in the usual case, so that one comparison finds that case.

use std::os::fd::OwnedFd;

use super::super::attempts::Attempts;

/// Where the channel is on its way.
#[derive(Debug)]
pub(super) enum Phase {
    /// Without a socket, or with a stream socket of its own that was told neither to
    /// connect nor to listen. The descriptor would report a hang-up all the time.
    Idle {
        /// The socket failed to connect, and is of no use for another attempt.
        spent: bool,
    },
    /// A socket that is neither connected nor listening, and may have events all the same:
    /// one for datagrams, or one that was given so.
    Unconnected,
    Listening(Box<Listener>),
    Connecting(Box<Attempts>),
    /// The connection is established. `handle_connect` is due, or has begun.
    Announcing {
        begun: bool,
    },
    Connected,
    Closed,
}

impl Phase {
    pub(super) const IDLE: Self = Self::Idle { spent: false };
}

/// What a listener has beside its socket.
#[derive(Debug)]
pub(super) struct Listener {
    /// A descriptor in reserve, to refuse connections with when there is no other.
    pub(super) spare: Option<OwnedFd>,
    pub(super) admission: Admission,
}

/// What becomes of the connections to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// They are accepted.
    Open,
    /// They are refused, which was logged.
    Refusing,
    /// They can neither be accepted nor refused: no event is asked for, for a while.
    Paused,
}

/// How the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Input {
    Open = 0,
    /// It has ended, and `handle_eof` is due.
    Ended,
    /// It has ended, and nothing is due because of it.
    Over,
}

/// How the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Flow {
    /// Nothing waits to be written, not even a mark.
    Clear = 0,
    /// Something waits, to be written when the handler returns.
    Gathered,
    /// Something waits for a write event.
    Waiting,
    /// The connection is gone: nothing more is sent.
    Broken,
}

/// Whether too much waits to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Congestion {
    No = 0,
    /// The high watermark was reached, and since then not the low one.
    Congested,
    /// The low one was, and `handle_drain` is due.
    Drained,
}

/// Whether the channel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ending {
    No = 0,
    /// `handle_close` is due.
    Due,
    /// `handle_close` has begun.
    Begun,
}
