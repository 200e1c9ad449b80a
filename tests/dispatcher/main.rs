//! Dispatchers over streams: input, output, backpressure, and how a channel ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod backpressure;
mod ends;
mod failed_sends;
mod hangups;
mod orders;
mod own_transports;
mod random_orders;
mod replace;
mod shared_buffer;
mod timeouts;
mod what_is_next;
