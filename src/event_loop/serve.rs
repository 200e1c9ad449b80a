//! Calling a channel's methods: taking it out of the map, what becomes of its
//! errors and panics, and putting it back.

use std::any::Any;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::EventLoop;
use super::channel::{Channel, InService};
use super::id::Key;
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::poller::Interest;

/// The service of a channel: it is out of the map, and one of its methods runs.
/// Forgotten when that has returned, so dropped only if it panicked: then its state
/// is unknown, and nobody else's is.
struct Service<'a> {
    event_loop: &'a mut EventLoop,
    /// The channel that is being served around this one.
    outer: Option<Key>,
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if let Some(key) = mem::replace(&mut self.event_loop.serving, self.outer) {
            let channel = self.event_loop.forget(key);
            self.event_loop.discard(channel);
        }
    }
}

/// What came of visiting a channel.
struct Served {
    /// The exit error, and no other.
    result: Result<()>,
    /// What the channel waits for now; `None` if it is over.
    interest: Option<Interest>,
}

impl EventLoop {
    /// Takes a channel out of the map, calls `visit` with it, and puts it back,
    /// unless it is over then. `visit` gives the errors of the channel's methods
    /// to [`police`](EventLoop::police), so what it returns is the exit error.
    ///
    /// A channel that is being served already is left alone.
    #[inline(always)]
    pub(super) fn serve(
        &mut self,
        key: Key,
        visit: impl FnOnce(&mut dyn Channel, &mut Self) -> Result<()>,
    ) -> Result<()> {
        let Some(mut channel) = self.take_out(key) else {
            return Ok(());
        };
        let outer = self.serving.replace(key);
        let service = Service {
            event_loop: self,
            outer,
        };
        let served = service.event_loop.visit(key, &mut *channel, visit);
        mem::forget(service);
        self.serving = outer;
        let result = self.put_back(key, channel, served);
        if result.is_err() {
            // What became due is done when the loop runs again.
            self.touch(key);
        }
        result
    }

    /// Takes a channel out of the map, and puts nothing in its place; `None` if it is
    /// gone, or being served already.
    #[inline(always)]
    fn take_out(&mut self, key: Key) -> Option<Box<dyn Channel>> {
        let watch = self.watches.current_mut(key)?;
        if watch.in_service {
            return None;
        }
        let slot = self.channels.get_mut(&key.fd)?;
        watch.in_service = true;
        // A box of nothing allocates nothing.
        Some(mem::replace(slot, Box::new(InService)))
    }

    /// Visits a channel that is out of the map, and asks what it waits for then.
    #[inline(always)]
    fn visit(
        &mut self,
        key: Key,
        channel: &mut dyn Channel,
        visit: impl FnOnce(&mut dyn Channel, &mut Self) -> Result<()>,
    ) -> Served {
        if self.catch_panics {
            return self.visit_catching(key, channel, visit);
        }
        let result = visit(channel, self);
        let over = self.is_doomed(key);
        Served {
            result,
            interest: if over { None } else { channel.interest(self) },
        }
    }

    /// Visits a channel and asks what it waits for; a panic in either is given to
    /// the channel as an error.
    #[inline(never)]
    fn visit_catching(
        &mut self,
        key: Key,
        channel: &mut dyn Channel,
        visit: impl FnOnce(&mut dyn Channel, &mut Self) -> Result<()>,
    ) -> Served {
        let visited = catch_unwind(AssertUnwindSafe(|| visit(channel, self)));
        let result = visited.unwrap_or_else(|panic| self.police_panic(key, channel, &*panic));
        let mut served = Served {
            result,
            interest: None,
        };
        if !self.is_doomed(key) {
            match catch_unwind(AssertUnwindSafe(|| channel.interest(self))) {
                Ok(interest) => served.interest = interest,
                // It cannot be watched.
                Err(panic) => {
                    let policed = self.police_panic(key, channel, &*panic);
                    served.result = served.result.and(policed);
                }
            }
        }
        served
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

    fn is_doomed(&self, key: Key) -> bool {
        self.dooms && self.watches.current(key).is_none_or(|watch| watch.doomed)
    }

    /// Puts a channel back into the map, and tells the poller what it waits for now;
    /// one that waits for nothing any more is removed.
    #[inline(always)]
    fn put_back(&mut self, key: Key, channel: Box<dyn Channel>, served: Served) -> Result<()> {
        // A handler may have put another loop in the place of this one. The channel
        // then belongs to no loop, and dropping it closes it.
        let Some(watch) = self.watches.current_mut(key) else {
            self.discard(Some(channel));
            return served.result;
        };
        watch.in_service = false;
        let unchanged = served.interest == Some(watch.interest);
        let exchanged = channel.as_raw_fd() != key.fd;
        if let Some(slot) = self.channels.get_mut(&key.fd) {
            // What stood there is nothing, and need not be dropped.
            mem::forget(mem::replace(slot, channel));
        }
        if exchanged && served.interest.is_some() {
            let removed = self.remove_exchanged(key);
            return served.result.and(removed);
        }
        if unchanged {
            return served.result;
        }
        let heeded = self.heed_interest(key, served.interest);
        served.result.and(heeded)
    }

    /// Tells the poller of a changed interest; removes a channel that has none any
    /// more.
    pub(super) fn heed_interest(&mut self, key: Key, interest: Option<Interest>) -> Result<()> {
        match interest {
            Some(interest) => self.watch_for(key, interest),
            None => {
                let channel = self.forget(key);
                self.discard(channel);
                Ok(())
            }
        }
    }

    /// The channel under `key` has another descriptor than when it was added: another
    /// channel, or another descriptor, was put in its place. It gets an error that says
    /// so, and is removed, which closes the descriptor that it has now.
    #[cold]
    fn remove_exchanged(&mut self, key: Key) -> Result<()> {
        let Key { fd, .. } = key;
        let number = self
            .channels
            .get(&fd)
            .map_or(-1, |channel| channel.as_raw_fd());
        let with = if number < 0 {
            "one without a descriptor".to_owned()
        } else {
            format!("that of fd {number}")
        };
        self.serve(key, |channel, event_loop| {
            let message = format!(
                "the channel of fd {fd} was exchanged for {with} while the loop had it, and is \
                 removed: a channel keeps its descriptor for as long as it is in a loop; close \
                 it and add the other one"
            );
            let misuse = Err(Error::misuse(io::ErrorKind::InvalidInput, message));
            let result = event_loop.police(channel, misuse);
            event_loop.doom(key);
            result
        })
    }

    /// A channel whose predicates panicked, when it was asked, hears of it if
    /// panics are caught, and is removed.
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
            let channel = self.forget(key);
            self.discard(channel);
            resume_unwind(panic);
        }
        self.serve(key, |channel, event_loop| {
            let result = event_loop.police_panic(key, channel, &*panic);
            event_loop.doom(key);
            result
        })
    }

    /// What becomes of an error that a channel's method returned: see [`Error`].
    /// Returns the exit error and no other.
    #[inline]
    pub(super) fn police(&mut self, channel: &mut dyn Channel, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.police_error(channel, error),
        }
    }

    #[cold]
    fn police_error(&mut self, channel: &mut dyn Channel, error: Error) -> Result<()> {
        if error.is_exit() {
            return Err(error);
        }
        if error.would_block() {
            return Ok(());
        }
        if channel.is_own_end(&error) {
            return self.end(channel, Some(error));
        }
        self.report(channel, error)
    }

    /// Gives an error to the channel's `handle_error`; the channel ends if that
    /// fails too.
    fn report(&mut self, channel: &mut dyn Channel, error: Error) -> Result<()> {
        match channel.handle_error(self, error) {
            Ok(()) => Ok(()),
            Err(error) if error.is_exit() => Err(error),
            Err(error) => {
                log::error!(
                    "uncaptured error, closing the channel of fd {}: {error}",
                    channel.as_raw_fd()
                );
                self.close_down(channel, None).map(drop)
            }
        }
    }

    /// Ends a channel: its `handle_close`, and then it is removed.
    pub(super) fn end(&mut self, channel: &mut dyn Channel, reason: Option<Error>) -> Result<()> {
        match self.close_down(channel, reason)? {
            None => Ok(()),
            Some(error) => match channel.handle_error(self, error) {
                Err(error) if error.is_exit() => Err(error),
                Ok(()) => Ok(()),
                Err(error) => {
                    log::error!("uncaptured error while closing: {error}");
                    Ok(())
                }
            },
        }
    }

    /// Calls `handle_close` and dooms the channel; gives what that returned,
    /// unless it was the exit error.
    fn close_down(
        &mut self,
        channel: &mut dyn Channel,
        reason: Option<Error>,
    ) -> Result<Option<Error>> {
        let key = self.serving;
        let first = match key.and_then(|key| self.watches.current_mut(key)) {
            Some(watch) => !mem::replace(&mut watch.ended, true),
            None => true,
        };
        let closed = if first && !channel.is_closed() {
            channel.handle_close(self, reason)
        } else {
            Ok(())
        };
        if let Some(key) = key {
            self.doom(key);
        }
        match closed {
            Ok(()) => Ok(None),
            Err(error) if error.is_exit() => Err(error),
            Err(error) if error.would_block() => Ok(None),
            Err(error) => Ok(Some(error)),
        }
    }

    /// Marks a channel that is being served to be removed afterwards.
    pub(super) fn doom(&mut self, key: Key) {
        if let Some(watch) = self.watches.current_mut(key) {
            watch.doomed = true;
            self.dooms = true;
        }
    }

    /// Closes and removes a channel, now or when its method has returned.
    pub(super) fn close_key(&mut self, key: Key) -> Result<()> {
        if let Some(watch) = self.watches.current_mut(key)
            && watch.in_service
        {
            watch.doomed = true;
            self.dooms = true;
            return Ok(());
        }
        let Some(mut channel) = self.forget(key) else {
            return Ok(());
        };
        let mut closed = Ok(());
        self.catching(key.fd, || closed = channel.close_descriptor());
        self.discard(Some(channel));
        match closed {
            Err(error) if error.raw_os_error() != Some(libc::EBADF) => Err(error),
            _ => Ok(()),
        }
    }

    /// Drops a channel that is not in the map any more.
    pub(super) fn discard(&self, channel: Option<Box<dyn Channel>>) {
        if let Some(channel) = channel {
            let fd = channel.as_raw_fd();
            self.catching(fd, || drop(channel));
        }
    }

    /// Closes a channel. Nothing is left to which a panic could be reported, so one
    /// that the loop is to catch is logged.
    fn catching(&self, fd: RawFd, close: impl FnOnce()) {
        if !self.catch_panics {
            return close();
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(close)) {
            let error = Error::panicked(&*panic);
            log::error!("while the channel of fd {fd} was closed: {error}");
        }
    }

    /// Removes a channel from the map, the watches and the poller.
    pub(super) fn forget(&mut self, key: Key) -> Option<Box<dyn Channel>> {
        let watch = self.watches.remove(key)?;
        self.asking.remove(watch.asked);
        if let Err(error) = self.poller.set(key.fd, Interest::empty()) {
            log::error!("the poller does not forget fd {}: {error}", key.fd);
        }
        let channel = self.channels.remove(&key.fd)?;
        let number = channel.as_raw_fd();
        if number != key.fd {
            self.release(number);
        }
        Some(channel)
    }

    /// Has the poller forget a number that another channel was added with, and which is
    /// about to be closed: two channels were exchanged with each other. The other one is
    /// found out before the next wait.
    #[cold]
    fn release(&mut self, fd: RawFd) {
        let Some(&Watch { serial, .. }) = self.watches.get(fd) else {
            return;
        };
        let other = Key { fd, serial };
        self.touch(other);
        if let Err(error) = self.watch_for(other, Interest::empty()) {
            log::error!("{error}");
        }
    }
}
