//! Descriptor numbers: which are open, which are free, who owns one.
//!
//! The tests close numbers that others own, expect that a number is free, or count the open
//! ones. So one test runs at a time ([`alone`]), and no other test belongs here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod behind_the_back;
#[cfg(feature = "coroutines")]
mod coroutines;
mod epoll_set;
mod leaks;
mod number_reuse;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test runs, and keeps others from running.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
