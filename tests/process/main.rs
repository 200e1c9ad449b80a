//! The state of a process: limits, signals, memory, standard streams, the controlling
//! terminal. A test whose effect would remain runs in a process of its own
//! ([`common::in_own_process`]).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod chat_memory;
#[cfg(feature = "children")]
mod children;
mod clock_of_the_day;
mod controlling_terminal;
#[cfg(feature = "coroutines")]
mod coroutine_memory;
mod descriptor_limit;
mod forked_files;
mod forks;
mod high_numbers;
mod last_descriptor;
mod no_hidden_state;
mod redirections;
mod reopening_refused;
#[cfg(feature = "signals")]
mod signals;
mod signals_and_waits;
mod slow_names;
mod standard_streams;
