//! The simulated world: its promises, and the crate and the servers of the examples in it.
//!
//! `FDLOOP_SIM_SEED=17 cargo test --features sim --test sim NAME` runs one seed of a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]
#![allow(clippy::duplicate_mod, reason = "each example has its `common`")]

mod broken;
mod chat_server;
mod chats;
mod checked;
mod connections;
#[cfg(feature = "coroutines")]
mod coroutines;
mod echo_servers;
#[cfg(all(target_os = "linux", feature = "poll"))]
mod fidelity;
mod limits;
mod multi_client;
mod pollers;
mod port_forward;
mod rules;
mod smtp_sink;
mod speaker;
mod stage;
mod worlds;

/// The number of seeds of a test of the crate or an example.
const SEEDS: u64 = 10_000;
