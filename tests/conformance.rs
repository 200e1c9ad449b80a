//! The crate performs scenarios as asyncore does: those in `tests/scenarios`, whose
//! answers stand beside them, and random ones, compared with the reference itself
//! where that can be had.
//!
//! The reference needs a `python3` that still has asyncore and asynchat (3.11 and
//! before, or the packages pyasyncore and pyasynchat), and `oracle.py`, in
//! `../shared/conformance` or where the environment says:
//!
//! - `FDLOOP_ORACLE`: the path of `oracle.py`; if empty, tests do without it;
//! - `FDLOOP_SEED`: the seed of the first random scenario;
//! - `FDLOOP_SCENARIOS`: how many random scenarios there are;
//! - `FDLOOP_RECORD`: if set, the reference's answers are written beside the
//!   scenarios instead of being compared with what stands there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

#[path = "conformance/generator.rs"]
mod generator;
#[path = "conformance/performers.rs"]
mod performers;
#[path = "conformance/random.rs"]
mod random;
#[path = "conformance/recorded.rs"]
mod recorded;
#[path = "conformance/refused.rs"]
mod refused;

use performers::Performed;

/// What was performed, for a message.
fn shown(performed: &Performed) -> String {
    match performed {
        Ok(value) => value["trace"].to_string(),
        Err(error) => error.clone(),
    }
}
