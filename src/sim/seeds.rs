//! Running a test under many seeds.

use std::error::Error as StdError;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::World;
use crate::error::{Error, Result};

/// The variable of the environment that names the only seed to run.
const VARIABLE: &str = "FDLOOP_SIM_SEED";

/// The number of steps that a failure shows.
const STEPS: usize = 40;

/// Calls `test` with the worlds of the seeds from 0 to `count` − 1, until it fails: returns an
/// error or panics.
///
/// If `FDLOOP_SIM_SEED` is set in the environment, only that seed is run:
///
/// ```text
/// FDLOOP_SIM_SEED=17 cargo test lines_are_counted
/// ```
///
/// # Errors
///
/// The message of the error names the seed, and has the last steps of its [trace](World::trace).
/// Its source is the test's error. `InvalidInput` if `FDLOOP_SIM_SEED` is not a number.
pub fn for_seeds(count: u64, test: impl FnMut(&World) -> Result<()>) -> Result<()> {
    match std::env::var_os(VARIABLE) {
        None => for_each(0..count, test),
        Some(text) => for_each(std::iter::once(only_seed(&text)?), test),
    }
}

/// Reads the value of the variable.
fn only_seed(text: &OsStr) -> Result<u64> {
    let seed = text.to_str().and_then(|text| text.trim().parse().ok());
    seed.ok_or_else(|| {
        let message = format!(
            "{VARIABLE} is {text:?}, which is not a number from 0 to {}: set it to a seed, or \
             remove it",
            u64::MAX
        );
        Error::misuse(io::ErrorKind::InvalidInput, message)
    })
}

fn for_each(
    seeds: impl Iterator<Item = u64>,
    mut test: impl FnMut(&World) -> Result<()>,
) -> Result<()> {
    for seed in seeds {
        let world = World::with_seed(seed);
        let result = catch_unwind(AssertUnwindSafe(|| test(&world)));
        let result = result.unwrap_or_else(|panic| Err(Error::panicked(&*panic)));
        world.forget_scheduled();
        result.map_err(|error| Error::other(Failure::new(&world, error)))?;
    }
    Ok(())
}

/// A seed for which a test fails.
#[derive(Debug)]
struct Failure {
    seed: u64,
    error: Error,
    steps: Vec<String>,
    omitted: usize,
}

impl Failure {
    fn new(world: &World, error: Error) -> Self {
        let trace = world.trace();
        let omitted = trace.len().saturating_sub(STEPS);
        Self {
            seed: world.seed(),
            error,
            steps: trace[omitted..].iter().map(ToString::to_string).collect(),
            omitted,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, error, .. } = self;
        write!(
            f,
            "the test fails with seed {seed}: {error}\nset {VARIABLE}={seed} to run this seed \
             alone; its last steps, after {} others:",
            self.omitted
        )?;
        self.steps.iter().try_for_each(|step| write!(f, "\n{step}"))
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_of_64_bits_is_a_seed() {
        use std::os::unix::ffi::OsStrExt;
        let seed = |text: &[u8]| only_seed(OsStr::from_bytes(text)).ok();
        assert_eq!(seed(b" 17\n"), Some(17));
        assert_eq!(seed(b"18446744073709551615"), Some(u64::MAX));
        for text in [&b""[..], b"-1", b"18446744073709551616", b"1.5", b"\xff"] {
            assert_eq!(seed(text), None);
        }
    }

    #[test]
    #[allow(clippy::panic, reason = "the test's own")]
    fn the_first_failing_seed_is_named_whether_by_an_error_or_a_panic() {
        let failure = for_each(0..10, |world| match world.seed() {
            3 => Err(Error::other("wrong")),
            _ => Ok(()),
        });
        let text = failure.map_or_else(|e| e.to_string(), |()| String::new());
        assert!(
            text.starts_with("the test fails with seed 3: wrong"),
            "{text}"
        );
        assert!(text.contains("FDLOOP_SIM_SEED=3"), "{text}");
        let failure = for_each(7..10, |_| panic!("broken"));
        let text = failure.map_or_else(|e| e.to_string(), |()| String::new());
        assert!(
            text.contains("seed 7: a handler panicked: broken"),
            "{text}"
        );
        assert!(for_each(0..10, |_| Ok(())).is_ok());
    }
}
