//! Performs conformance scenarios: scripts for channels in an event loop and for raw,
//! blocking peers outside it. Prints a trace of each as a line of JSON, to be compared with
//! the trace of asyncore for the same scenario.
//!
//! `tests/conformance/FORMAT.md` in the repository describes both. Scenarios are in
//! `tests/conformance/scenarios`: asyncore's trace of `NAME.json` is in `NAME.trace.json`.
//!
//! Try it:
//!
//! ```text
//! cargo run --example conformance -- tests/conformance/scenarios/two-servers.json
//! cargo run --example conformance -- --backend select tests/conformance/scenarios/chat-counts.json
//! ```
//!
//! - `scenario.rs` reads scenarios, and `node.rs` their values;
//! - `actor.rs` is the handler of every channel: it records the events, and does what the
//!   scenario says;
//! - `channel.rs` has the kinds of channels, and `performer.rs` their actions;
//! - `stage.rs` performs the steps;
//! - `peer.rs` has the raw peers, and `trace.rs` the record that is printed.

mod actor;
mod channel;
#[path = "../common/mod.rs"]
mod common;
mod node;
mod peer;
mod performer;
mod scenario;
mod stage;
mod trace;

use std::process::ExitCode;

use common::{Arguments, Failure};
use fdloop::Backend;
use serde_json::Value;

use scenario::Scenario;

const USAGE: &str = "\
usage: conformance [--backend select|poll|epoll] SCENARIO.json...
  prints a trace of each SCENARIO as a line of JSON; see tests/conformance/scenarios";

fn main() -> ExitCode {
    common::main(USAGE, &["--backend"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let mut files = Vec::new();
    while let Some(file) = arguments.operand()? {
        files.push(file);
    }
    arguments.finish()?;
    if files.is_empty() {
        return Err(Failure::usage("SCENARIO.json is missing"));
    }
    for file in files {
        let happened = perform(&file, backend);
        let happened = happened.map_err(|error| Failure::input(format!("{file}: {error}")))?;
        common::print(&format!("{happened}\n"))?;
    }
    Ok(())
}

fn perform(file: &str, backend: Backend) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let value = serde_json::from_str(&text).map_err(|e| format!("is not JSON: {e}"))?;
    let scenario = Scenario::parse(&value)?;
    stage::perform(&scenario, backend)
}
