//! Terminals: raw mode on every way out, the size of the window, pseudo-terminals.
//!
//! The programs are these tests, started again on pseudo-terminals, which are close-on-exec from
//! the beginning, so that no program inherits those of another test.
#![cfg(feature = "tty")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "expect")]
mod expect;
mod job_control;
#[cfg(target_os = "linux")]
mod killed;
mod on_a_terminal;
mod pty;
mod raw_mode;
mod shared;
mod window_size;
