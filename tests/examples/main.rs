//! The examples, run as programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod chat_server;
mod command_lines;
mod compare;
mod conformance_usage;
#[cfg(feature = "coroutines")]
mod coroutine_fetch;
mod echo_server;
mod embed;
mod http_client;
mod http_client_file;
#[cfg(feature = "expect")]
mod login;
mod multi_client;
mod port_forward;
mod prefork;
#[cfg(feature = "tty")]
mod pump;
#[cfg(all(feature = "tty", feature = "children"))]
mod record;
#[cfg(all(feature = "tty", feature = "children"))]
mod record_tmux;
mod refuse;
mod reuseport_echo;
mod slow_names;
mod smtp;
mod timeouts;
mod usages;
