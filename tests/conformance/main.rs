//! The crate performs scenarios as asyncore does. `FORMAT.md` describes scenarios.
//!
//! - Each scenario in `scenarios/` must give the trace recorded beside it. `oracle.py`
//!   made these traces: it performs scenarios on the real asyncore.
//! - If an interpreter with asyncore and asynchat is found, `oracle.py` performs the
//!   recorded scenarios and random ones at the same time, and the traces must be equal.
//!   Python up to 3.11 has both modules, and the packages pyasyncore and pyasynchat
//!   bring them back to later versions. Without an interpreter, a line on stderr says
//!   that the comparison was left out.
//!
//! Environment variables:
//!
//! - `FDLOOP_SCENARIO_DIR`: a directory of further scenarios, `*.json`. Where there is no
//!   interpreter, each needs its trace beside it, as in `scenarios/`.
//! - `FDLOOP_PYTHON`: the interpreter for `oracle.py`. If empty, none is used.
//! - `FDLOOP_SEED`: the seed of the first random scenario.
//! - `FDLOOP_SCENARIOS`: the number of random scenarios.
//! - `FDLOOP_RECORD`: if set, the traces of `oracle.py` replace the recorded ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod generator;
mod performers;
mod random;
mod recorded;
mod refused;

use std::io::{self, Write};

use performers::Performed;

/// Returns the trace of a performance, for a message.
fn shown(performed: &Performed) -> String {
    match performed {
        Ok(value) => value["trace"].to_string(),
        Err(error) => error.clone(),
    }
}

/// Writes a line to stderr that is shown although the test passes: the test harness
/// captures only what is printed by macros.
fn notice(line: &str) {
    let _ = writeln!(io::stderr(), "conformance: {line}");
}
