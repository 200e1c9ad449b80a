//! What users of the crate meet first: identities, misuse, messages, and what the compiler
//! says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod diagnostics;
mod ids;
mod messages;
mod misuse;
mod send;
