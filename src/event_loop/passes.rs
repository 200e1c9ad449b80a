//! The passes that a loop makes: one of a turn, or many of a run.
//!
//! Most passes of a run are *calm*: nothing is to be done before they ask and wait. A loop of their
//! own makes those, without the checks of the others.
//!
//! The function of a whole pass is inlined into its callers, since after a system call every return
//! is mispredicted.

use std::io;
use std::time::Duration;

use super::EventLoop;
use super::run::Stop;
use crate::error::{Error, Result};
use crate::poller::Deadline;

/// Passes that are being made. No other pass can be made meanwhile.
pub(super) struct Pass<'a>(pub(super) &'a mut EventLoop);

impl Drop for Pass<'_> {
    /// Ends the passes, also by a panic.
    fn drop(&mut self) {
        self.0.end_passes();
    }
}

impl EventLoop {
    /// Ends passes, so that others can be made.
    pub(super) fn end_passes(&mut self) {
        self.in_pass = false;
        if self.timers.are_unsettled() {
            self.date_timers();
        }
    }

    /// Settles, asks, waits once and delivers; see [`EventLoop::turn`].
    #[inline(always)]
    pub(super) fn one_pass(&mut self, deadline: Deadline) -> Result<usize> {
        let pass = self.begin_pass()?;
        let served = pass.0.whole_pass(deadline);
        if served.is_err() {
            pass.0.write_gathered();
        }
        served
    }

    /// Refuses a pass within another: the list of ready descriptors belongs to that one.
    pub(super) fn begin_pass(&mut self) -> Result<Pass<'_>> {
        self.check_not_in_pass()?;
        self.in_pass = true;
        Ok(Pass(self))
    }

    /// Makes at most `limit` passes. Stops before one that is not [calm](EventLoop::is_calm), or
    /// when no channel keeps `run` going. If `ASKS`, also stops when no channel is to be asked, and
    /// otherwise when one is. Returns the number of passes.
    #[inline(never)]
    pub(super) fn calm_passes<const ASKS: bool>(
        &mut self,
        timeout: Option<Duration>,
        limit: u64,
    ) -> Result<u64> {
        let mut made = 0;
        while made < limit
            && self.is_calm()
            && self.asking.is_needed() == ASKS
            && self.channels.len() > self.background
        {
            let deadline = self.deadline_after(timeout);
            if ASKS || cfg!(debug_assertions) {
                self.serve(deadline)?;
            } else {
                self.wait(deadline)?;
                self.deliver_ready()?;
            }
            self.end_pass()?;
            made += 1;
        }
        Ok(made)
    }

    /// Checks whether the next pass has nothing to do before it asks and waits, as most have.
    #[inline]
    fn is_calm(&self) -> bool {
        self.touched.is_empty()
            && self.calls.is_empty()
            && self.deferred.is_empty()
            && self.stop == Stop::Unasked
    }

    /// Makes a pass from top to bottom.
    #[inline(always)]
    pub(super) fn whole_pass(&mut self, mut deadline: Deadline) -> Result<usize> {
        // The caller of a turn may wait for an effect of these calls. (`run` has made them
        // already, and checked.)
        if self.deferred.are_needed() && self.call_deferred()? {
            deadline = Deadline::Now;
        }
        if !self.touched.is_empty() {
            self.settle_touched()?;
        }
        let served = self.serve(deadline)?;
        self.end_pass()?;
        Ok(served)
    }

    /// Ends a pass after its events: fires timers, and makes the calls of other threads.
    #[inline]
    fn end_pass(&mut self) -> Result<()> {
        if !self.timers.is_empty() {
            self.fire_timers()?;
        }
        if !self.calls.is_empty() {
            self.make_calls()?;
        }
        Ok(())
    }

    /// Begins a pass: makes deferred calls, and settles channels. A second call is harmless.
    pub(super) fn prepare_pass(&mut self) -> Result<()> {
        if self.deferred.are_needed() {
            self.call_deferred()?;
        }
        self.settle_touched()
    }

    /// Refuses what a handler, or a visit by `with`, cannot do: the loop would wait
    /// for a channel that is out of its map.
    pub(crate) fn check_not_in_pass(&self) -> Result<()> {
        if self.in_pass || self.serving.is_some() {
            let message = "the loop is in the middle of a pass, or of a visit by `with`: it cannot \
                           be run again from there; return from the handler or the visit instead";
            return Err(Error::misuse(io::ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}
