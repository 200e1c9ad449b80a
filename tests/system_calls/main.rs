//! The number of system calls, and the effects if one fails in a way that only
//! strace can cause. Without strace the tests pass and say that they were skipped.
//!
//! No test here holds a descriptor that is not close-on-exec: a traced program of another
//! test would inherit it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod accept_errors;
mod chat_calls;
#[cfg(feature = "coroutines")]
mod coroutine_calls;
#[cfg(target_os = "linux")]
mod forward_calls;
mod idle_calls;
mod nodelay;
