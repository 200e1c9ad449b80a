//! Chats: pieces of input, output and producers, errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod asynchat;
mod conversions;
mod empty_pieces;
mod errors;
mod hostile;
mod input;
mod limit;
mod output;
mod property;
mod random;
