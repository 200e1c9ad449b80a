//! Performs conformance scenarios: small plays between channels in an event loop
//! and raw, blocking peers outside it. Prints what happened, as one JSON object a
//! line, so that it can be compared with what asyncore does with the same.
//!
//! ```text
//! cargo run --example conformance -- --backend poll tests/scenarios/echo.json
//! ```
//!
//! - `scenario.rs` reads scenarios;
//! - `actor.rs` is the handler of every channel: it notes what happens, and does
//!   what the scenario says;
//! - `stage.rs` performs the steps;
//! - `peer.rs` has the raw peers, and `trace.rs` what is printed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod actor;
mod peer;
mod scenario;
mod stage;
mod trace;

use std::process::ExitCode;

use fdloop::Backend;
use serde_json::Value;

use scenario::Scenario;

const USAGE: &str = "usage: conformance --backend select|poll SCENARIO.json...";

fn main() -> ExitCode {
    let mut backend = Backend::default();
    let mut files = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--backend" {
            match args.next().unwrap_or_default().parse() {
                Ok(named) => backend = named,
                Err(error) => return fail(&format!("{error}\n{USAGE}")),
            }
        } else if arg.starts_with('-') {
            return fail(&format!("unknown option {arg}\n{USAGE}"));
        } else {
            files.push(arg);
        }
    }
    if files.is_empty() {
        return fail(USAGE);
    }
    for file in files {
        match perform(&file, backend) {
            Ok(line) => println!("{line}"),
            Err(error) => return fail(&format!("{file}: {error}")),
        }
    }
    ExitCode::SUCCESS
}

fn perform(file: &str, backend: Backend) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let scenario = Scenario::parse(&value)?;
    stage::perform(&scenario, backend)
}

fn fail(message: &str) -> ExitCode {
    eprintln!("conformance: {message}");
    ExitCode::from(2)
}
