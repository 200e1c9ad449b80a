//! Panics of channels: in a loop that catches them they are errors. Otherwise they end only the
//! channel, and pass through.

use std::any::Any;
use std::mem;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::EventLoop;
use super::channel::Channel;
use super::id::Key;
use super::pass::{Errand, Visited};
use super::watch::Watch;
use crate::error::{Error, Result};

/// A visit that is being made. Dropped without an [`end`](Service::end) if the channel panicked:
/// then its state is unknown, and no other channel's is.
pub(super) struct Service<'a> {
    pub(super) event_loop: &'a mut EventLoop,
    /// The channel that is being served around this one.
    outer: Option<Key>,
}

impl<'a> Service<'a> {
    #[inline]
    pub(super) fn begin(event_loop: &'a mut EventLoop, key: Key, outer: Option<Key>) -> Self {
        event_loop.serving = Some(key);
        Self { event_loop, outer }
    }

    /// Ends the visit: the channel has returned.
    #[inline]
    pub(super) fn end(self) {
        self.event_loop.serving = self.outer;
        if self.outer.is_none() {
            self.event_loop.ends = false;
        }
        mem::forget(self);
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if let Some(key) = mem::replace(&mut self.event_loop.serving, self.outer) {
            self.event_loop.remove_key(key);
        }
    }
}

impl EventLoop {
    /// Checks whether a panic of a handler is an error of its channel: see
    /// [`Builder::catch_panics`](crate::Builder::catch_panics).
    #[must_use]
    pub fn catches_panics(&self) -> bool {
        self.catch_panics
    }

    /// Visits a channel and asks for its interest. A panic in either is given to the
    /// channel as an error.
    #[inline(never)]
    pub(super) fn perform_catching(
        &mut self,
        key: Key,
        channel: &mut dyn Channel,
        errand: Errand<'_>,
    ) -> Visited {
        let performed = catch_unwind(AssertUnwindSafe(|| self.perform(key, channel, errand)));
        let mut result = performed.unwrap_or_else(|panic| self.police_panic(key, channel, &*panic));
        let asked = catch_unwind(AssertUnwindSafe(|| self.interest_of(key, channel)));
        let interest = asked.unwrap_or_else(|panic| {
            // It cannot be watched.
            let policed = self.police_panic(key, channel, &*panic);
            result = mem::replace(&mut result, Ok(())).and(policed);
            None
        });
        Visited { result, interest }
    }

    #[cold]
    fn police_panic(
        &mut self,
        key: Key,
        channel: &mut dyn Channel,
        panic: &(dyn Any + Send),
    ) -> Result<()> {
        let error = Err(Error::panicked(panic));
        let policed = catch_unwind(AssertUnwindSafe(|| self.police(channel, error)));
        policed.unwrap_or_else(|_| {
            let fd = key.fd;
            log::error!("the channel of fd {fd} panicked while it handled a panic: removed");
            self.doom(key);
            Ok(())
        })
    }

    /// Removes a channel whose predicates panicked. If panics are caught, it gets that one
    /// as an error first.
    #[cold]
    pub(super) fn predicate_panicked(
        &mut self,
        fd: RawFd,
        panic: Box<dyn Any + Send>,
    ) -> Result<()> {
        let Some(&Watch { serial, .. }) = self.watches.get(fd) else {
            resume_unwind(panic);
        };
        let key = Key { fd, serial };
        if !self.catch_panics {
            self.remove_key(key);
            resume_unwind(panic);
        }
        self.visit(key, Errand::Remove(Error::panicked(&*panic)))
    }

    /// Closes a channel. Nothing is left to which a panic could be reported, so one
    /// that the loop is to catch is logged.
    pub(super) fn catching(&self, fd: RawFd, close: impl FnOnce()) {
        if !self.catch_panics {
            return close();
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(close)) {
            log_panic(fd, &*panic);
        }
    }
}

#[cold]
fn log_panic(fd: RawFd, panic: &(dyn Any + Send)) {
    let error = Error::panicked(panic);
    log::error!("while the channel of fd {fd} was closed: {error}");
}
