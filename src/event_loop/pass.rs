//! One pass, from top to bottom: settle, ask, wait, deliver, police, put back.
//!
//! After a system call every return is mispredicted (mitigations), and callgrind does not
//! show that. So what lies between the wait and the handler of the usual event is one function:
//! `deliver` is `inline(always)`, without which an event takes 22 instructions more (callgrind).

use std::io;
use std::mem;

use super::EventLoop;
use super::channel::{Channel, InService, Outcome};
use super::id::{Key, Serial};
use super::panics::Service;
use super::run::Stop;
use crate::error::{Error, Result};
use crate::poller::{Deadline, Event, Interest, Readiness};
use crate::sys::hint::{prefetch, rarely};

/// The number of events whose channels are fetched together.
pub(super) const AHEAD: usize = 16;

/// The number of channels from which on they are fetched. The memory of fewer stays in the caches of
/// the processor, and fetching it takes 1 to 2 % of the time of an event.
const MANY: usize = 1024;

/// The reason for which a channel is visited.
pub(super) enum Errand<'a> {
    /// It is ready.
    Deliver(Readiness),
    /// It was touched.
    Settle,
    /// Its timeout is over.
    Timeout,
    /// Its interest may have changed.
    Ask,
    /// One of its methods was called, and has returned an error.
    Police(Error),
    /// The program called [`EventLoop::with`].
    With(&'a mut dyn FnMut(&mut dyn Channel, &mut EventLoop) -> Result<()>),
    /// It gets an error, and is removed whatever it does about that.
    Remove(Error),
}

/// The outcome of a visit.
pub(super) struct Visited {
    /// The exit error, and no other.
    pub(super) result: Result<()>,
    /// The channel's interest now; `None` if it is over.
    pub(super) interest: Option<Interest>,
}

impl EventLoop {
    // --- ask ----------------------------------------------------------------------

    /// Asks, waits once and delivers.
    #[inline(always)]
    pub(super) fn serve(&mut self, deadline: Deadline) -> Result<usize> {
        if self.asking.is_costly() {
            if let Some(served) = self.pass_of_active(deadline)? {
                return Ok(served);
            }
        }
        if self.asking.is_needed() || cfg!(debug_assertions) {
            self.ask_channels()?;
        }
        self.wait_asked(self.deadline_now(deadline))?;
        self.deliver_all()
    }

    // --- wait ---------------------------------------------------------------------

    /// The deadline of a pass, after its channels were settled. That may have stopped
    /// the loop, touched others, or closed the last channel.
    fn deadline_now(&self, deadline: Deadline) -> Deadline {
        match deadline {
            _ if self.running && (self.stop != Stop::Unasked || !self.has_work()) => Deadline::Now,
            _ if !self.touched.is_empty() || !self.calls.is_empty() => Deadline::Now,
            _ if self.deferred.are_due() => Deadline::Now,
            // Otherwise nothing would end the wait.
            Deadline::Never if self.channels.is_empty() && self.timers.is_empty() => Deadline::Now,
            deadline => deadline,
        }
    }

    /// Waits until `deadline`, or until a channel is to be settled.
    #[inline]
    pub(super) fn wait(&mut self, mut deadline: Deadline) -> Result<()> {
        if !self.timers.are_at_rest() {
            deadline = self.deadline_with_timers(deadline);
        }
        self.ready.clear();
        let waited = self.poller.wait(deadline, &mut self.ready);
        waited.map_err(|e| Error::system("wait for descriptors", None, e))
    }

    /// Waits as [`wait`](EventLoop::wait) does, after channels were asked.
    pub(super) fn wait_asked(&mut self, deadline: Deadline) -> Result<()> {
        self.wait(deadline)?;
        if self.asking.is_costly() {
            self.asking.waited(!self.ready.is_empty());
        }
        Ok(())
    }

    // --- deliver ------------------------------------------------------------------

    /// Delivers the events of the wait.
    #[inline]
    pub(super) fn deliver_ready(&mut self) -> Result<()> {
        match *self.ready {
            [] => Ok(()),
            // The usual number.
            [event] => self.deliver(event, self.next_serial).map(drop),
            _ => self.deliver_all().map(drop),
        }
    }

    /// Delivers the events of the wait, however many. Returns the number of channels served.
    #[inline(never)]
    pub(super) fn deliver_all(&mut self) -> Result<usize> {
        // Channels from here on were not watched while the loop waited: an event on
        // their numbers was another channel's.
        let watched_until = self.next_serial;
        let asks = self.asking.is_costly();
        let fetches = self.ready.len() > 1 && self.channels.len() >= MANY;
        // One check for each event of the usual pass.
        let prepares = asks || fetches;
        let mut served = 0;
        let mut next = 0;
        while let Some(&event) = self.ready.get(next) {
            if rarely(prepares) {
                if fetches && next % AHEAD == 0 {
                    self.fetch_ahead(next);
                }
                if asks && !self.still_wants(event.fd, watched_until)? {
                    next += 1;
                    continue;
                }
            }
            next += 1;
            served += usize::from(self.deliver(event, watched_until)?);
        }
        Ok(served)
    }

    /// Makes the processor fetch the memory for the next events, which is in no cache if there
    /// are many: watches and places in the map by looking at them, and channels. Fetched
    /// together, they take about as long as one alone.
    #[inline(never)]
    fn fetch_ahead(&self, from: usize) {
        for event in self.ready.iter().skip(from).take(AHEAD) {
            if self.watches.get(event.fd).is_some() {
                if let Some(channel) = self.channels.get(&event.fd) {
                    prefetch(&**channel);
                }
            }
        }
    }

    /// Delivers an event to the channel that has its number, unless that was added since: channels
    /// from `watched_until` on. Returns true if there is one.
    ///
    /// Does the same as [`visit`](EventLoop::visit), in fewer steps for the usual event: one that
    /// makes the channel readable, and whose handler returns no error.
    #[inline(always)]
    fn deliver(&mut self, event: Event, watched_until: Serial) -> Result<bool> {
        let Event { fd, readiness } = event;
        let Some(serial) = self.watches.serial_below(fd, watched_until) else {
            return Ok(false);
        };
        let key = Key { fd, serial };
        if rarely(readiness != Readiness::READABLE || self.catch_panics) {
            self.visit(key, Errand::Deliver(readiness))?;
            return Ok(true);
        }
        let Some(mut channel) = self.take_out(key) else {
            return Ok(true);
        };
        let service = Service::begin(self, key, None);
        let mut outcome = Outcome::default();
        if let Err(error) = channel.deliver_read(service.event_loop, &mut outcome) {
            mem::forget(service);
            self.make_visit(key, channel, Errand::Police(error), None)?;
            return Ok(true);
        }
        service.end();
        self.put_back(key, channel, &outcome)?;
        Ok(true)
    }

    /// Takes a channel out of the map, calls it, deals with its error, and puts it back
    /// unless it is over. Leaves a channel alone that is being served already. Returns
    /// the exit error and no other.
    pub(super) fn visit(&mut self, key: Key, errand: Errand<'_>) -> Result<()> {
        let Some(channel) = self.take_out(key) else {
            return Ok(());
        };
        self.make_visit(key, channel, errand, self.serving)
    }

    /// Visits a channel that was taken out of the map, while `outer` is being served.
    #[inline(never)]
    fn make_visit(
        &mut self,
        key: Key,
        mut channel: Box<dyn Channel>,
        errand: Errand<'_>,
        outer: Option<Key>,
    ) -> Result<()> {
        let service = Service::begin(self, key, outer);
        let event_loop = &mut *service.event_loop;
        let Visited { result, interest } = if event_loop.catch_panics {
            event_loop.perform_catching(key, &mut *channel, errand)
        } else {
            let result = event_loop.perform(key, &mut *channel, errand);
            let interest = event_loop.interest_of(key, &*channel);
            Visited { result, interest }
        };
        let fd = channel.as_raw_fd();
        service.end();
        let put_back = self.put_back(key, channel, &Outcome { fd, interest });
        if result.is_err() {
            // Duties that became due are done when the loop runs again.
            self.touch(key);
        }
        result.and(put_back)
    }

    /// Takes a channel out of the map, and puts nothing in its place; `None` if it is
    /// gone, or being served already.
    #[inline]
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

    pub(super) fn perform(
        &mut self,
        key: Key,
        channel: &mut dyn Channel,
        errand: Errand<'_>,
    ) -> Result<()> {
        match errand {
            Errand::Deliver(readiness) => self.deliver_several(key, channel, readiness),
            Errand::Settle => {
                let settled = channel.settle(self);
                self.police(channel, settled)
            }
            Errand::Timeout => {
                let result = channel.handle_timeout(self);
                self.police(channel, result)
            }
            Errand::Ask => Ok(()),
            Errand::Police(error) => self.police(channel, Err(error)),
            Errand::With(visit) => {
                let result = visit(channel, self);
                self.police(channel, result)?;
                let settled = channel.settle(self);
                self.police(channel, settled)
            }
            Errand::Remove(error) => {
                let result = self.police(channel, Err(error));
                self.doom(key);
                result
            }
        }
    }

    /// In order: read, write, priority, hang-up.
    fn deliver_several(
        &mut self,
        key: Key,
        channel: &mut dyn Channel,
        readiness: Readiness,
    ) -> Result<()> {
        if readiness.intersects(Readiness::INVALID | Readiness::REFUSED) {
            return self.deliver_loss(key, channel, readiness);
        }
        if readiness.contains(Readiness::READABLE) {
            let result = channel.handle_read_event(self);
            self.police(channel, result)?;
        }
        if readiness.contains(Readiness::WRITABLE) && !self.is_over(key, channel) {
            let result = channel.handle_write_event(self);
            self.police(channel, result)?;
        }
        if readiness.contains(Readiness::PRIORITY) && !self.is_over(key, channel) {
            let result = channel.handle_expt_event(self);
            self.police(channel, result)?;
        }
        // A readable channel is read to its end, and then closes itself.
        let gone = readiness.intersects(Readiness::HANGUP | Readiness::ERROR);
        let tells = !readiness.contains(Readiness::READABLE) && !self.is_over(key, channel);
        if gone && tells && channel.ends_by_hangup() {
            return self.end(channel, None);
        }
        Ok(())
    }

    /// Ends a channel that the system call cannot wait for: its descriptor is not open any
    /// more, or it is open and refused.
    #[cold]
    fn deliver_loss(
        &mut self,
        key: Key,
        channel: &mut dyn Channel,
        readiness: Readiness,
    ) -> Result<()> {
        let Key { fd, .. } = key;
        let invalid = readiness.contains(Readiness::INVALID);
        let error = if invalid {
            channel.descriptor_lost();
            let closed = io::Error::from_raw_os_error(libc::EBADF);
            let action = "watch a descriptor that was closed behind the loop's back";
            Error::system(action, Some(fd), closed)
        } else {
            let message = format!(
                "fd {fd} is open, but the system call of the loop cannot wait for it: poll(2) \
                 and epoll(7) refuse O_PATH descriptors (open the file for reading or writing instead) and, \
                 poll(2) on Apple systems terminals and other devices (use Backend::Select)"
            );
            Error::misuse(io::ErrorKind::Unsupported, message)
        };
        let mut result = self.police(channel, Err(error));
        if result.is_ok() && !invalid && !self.is_over(key, channel) {
            // The handler of the error wants to go on, but would get it in every pass.
            result = self.end(channel, None);
        }
        self.doom(key);
        result
    }

    /// Checks whether a channel that is being served gets no further event.
    fn is_over(&self, key: Key, channel: &dyn Channel) -> bool {
        self.interest_of(key, channel).is_none()
    }

    // --- put back -----------------------------------------------------------------

    /// Returns the channel's interest; `None` if it is over.
    #[inline]
    pub(super) fn interest_of(&self, key: Key, channel: &dyn Channel) -> Option<Interest> {
        if self.is_ending(key) {
            return None;
        }
        channel.interest(self)
    }

    /// Does the same as [`put_back_apart`](EventLoop::put_back_apart), in fewer steps for a channel
    /// whose interest is unchanged. (By value, the outcome is read in one piece, for which the
    /// processor waits until its parts are in the cache.)
    #[inline]
    fn put_back(&mut self, key: Key, channel: Box<dyn Channel>, outcome: &Outcome) -> Result<()> {
        let watch = self.watches.current_mut(key);
        if let Some(watch) = watch.filter(|watch| outcome.interest == Some(watch.interest)) {
            if outcome.fd == key.fd {
                watch.in_service = false;
                let fd = key.fd;
                if let Some(slot) = self.channels.get_mut(&fd) {
                    // The placeholder has no content, and need not be dropped.
                    mem::forget(mem::replace(slot, channel));
                    return Ok(());
                }
            }
        }
        self.put_back_apart(key, channel, outcome)
    }

    /// Puts a channel back into the map, and passes its interest to the poller if that
    /// has changed. Removes a channel that is over.
    #[inline(never)]
    fn put_back_apart(
        &mut self,
        key: Key,
        channel: Box<dyn Channel>,
        outcome: &Outcome,
    ) -> Result<()> {
        // It has left the loop (`vacate`), or a handler has put another loop in the place of
        // this one. The channel then belongs to no loop, and dropping it closes it.
        let Some(watch) = self.watches.current_mut(key) else {
            self.retire(key, channel);
            return Ok(());
        };
        watch.in_service = false;
        let unchanged = outcome.interest == Some(watch.interest);
        let exchanged = outcome.fd != key.fd;
        if let Some(slot) = self.channels.get_mut(&key.fd) {
            mem::forget(mem::replace(slot, channel));
        }
        match outcome.interest {
            Some(_) if exchanged => self.remove_exchanged(key),
            Some(_) if unchanged => Ok(()),
            interest => self.heed_interest(key, interest),
        }
    }
}
