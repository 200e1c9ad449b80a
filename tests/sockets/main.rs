//! Sockets of every family and type: connecting, datagrams, urgent data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod by_name;
mod connecting;
mod datagrams;
mod kinds;
mod racing;
mod silent_addresses;
mod urgent_data;
