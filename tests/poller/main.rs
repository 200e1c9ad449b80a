//! The pollers: how they adapt, how long they wait, and what they report.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod alone;
mod epoll;
mod hangup_interest;
mod pace;
mod waits;
