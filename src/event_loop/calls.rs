//! Calls that belong to no channel, at the end of a pass.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::EventLoop;
use crate::error::{Effect, Error, Result};

pub(super) type Call = Box<dyn FnOnce(&mut EventLoop) -> Result<()> + Send>;

impl EventLoop {
    /// Has `call` made at the end of the pass, after those that were made before. It handles the
    /// errors that do not count as those of a remote call.
    #[cfg(feature = "signals")]
    pub(crate) fn call_at_end(
        &mut self,
        call: impl FnOnce(&mut EventLoop) -> Result<()> + Send + 'static,
    ) {
        self.calls.push_back(Box::new(call));
    }

    /// Makes the calls of other threads that have arrived.
    #[inline(never)]
    pub(super) fn make_calls(&mut self) -> Result<()> {
        for _ in 0..self.calls.len() {
            let Some(call) = self.calls.pop_front() else {
                break;
            };
            self.call_free("a remote call", call)?;
        }
        if self.calls.is_empty() {
            self.calls = VecDeque::new();
        }
        Ok(())
    }

    /// Calls a function that belongs to no channel. An error that does not leave the loop is
    /// logged, and so is a panic in a loop that catches panics.
    pub(crate) fn call_free(
        &mut self,
        what: impl fmt::Display,
        act: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let result = if self.catch_panics {
            catch_unwind(AssertUnwindSafe(|| act(self)))
                .unwrap_or_else(|panic| Err(Error::panicked(&*panic)))
        } else {
            act(self)
        };
        result.or_else(|error| police_free(&what, error))
    }
}

/// Returns an error that leaves the loop, and logs any other.
// Apart from `call_free`, which is compiled for each kind of call.
#[cold]
fn police_free(what: &dyn fmt::Display, error: Error) -> Result<()> {
    match error.effect(|_| false) {
        Effect::Exit => Err(error),
        Effect::Nothing => Ok(()),
        Effect::End | Effect::Failure => {
            log::error!("uncaptured error of {what}: {error}");
            Ok(())
        }
    }
}
