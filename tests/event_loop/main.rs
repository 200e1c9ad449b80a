//! The event loop: what a pass asks, waits for and delivers, what handlers may do to the
//! loop, how it ends, and what becomes of errors and panics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod adding;
mod asking;
mod channel_ends;
mod deferred;
mod ended;
mod errors;
mod exchanged;
mod fairness;
mod fatal;
mod hints;
mod leaving;
mod matrix;
mod panics;
mod reach;
mod remote;
mod resolver;
mod rules;
mod running;
mod shared_state;
mod timers;
mod timers_in_handlers;
mod timers_model;
