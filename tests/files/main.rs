//! Channels over files that are not sockets: pipes, FIFOs, devices, terminals.
//!
//! No test here starts a program: pseudo-terminals are not close-on-exec from the
//! beginning, and a program that inherits one delays its hang-up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod flags;
mod forward;
mod hung_up_terminals;
mod kinds;
mod one_way;
mod rearm;
mod shared;
