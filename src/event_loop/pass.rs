//! One pass: ask, wait, deliver.

use std::cell::Cell;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::EventLoop;
use super::channel::Channel;
use super::id::{Key, Serial};
use super::run::Stop;
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::poller::{Deadline, Event, Interest, Readiness};
use crate::sys::prefetch::prefetch;

/// How many events' channels are fetched at a time.
const AHEAD: usize = 16;

impl EventLoop {
    /// Asks, waits once and delivers; see [`EventLoop::turn`].
    ///
    /// This and what it calls on its way to the system and to a handler are inlined: after
    /// a system call each return to a caller is one that the processor has forgotten.
    #[inline(always)]
    pub(super) fn one_pass(&mut self, timeout: Option<Duration>) -> Result<usize> {
        let deadline = Deadline::after(timeout);
        self.guarded(|event_loop| {
            if !event_loop.touched.is_empty() {
                event_loop.settle_touched()?;
            }
            if event_loop.asking.is_costly()
                && let Some(served) = event_loop.pass_of_active(deadline)?
            {
                return Ok(served);
            }
            if event_loop.asking.is_needed() || cfg!(debug_assertions) {
                event_loop.ask_channels()?;
            }
            event_loop.wait_and_deliver(deadline)
        })
        .inspect_err(|_| self.write_gathered())
    }

    /// The part of a pass before its wait. Doing it twice is harmless.
    pub(super) fn prepare_pass(&mut self) -> Result<()> {
        if self.touched.is_empty() {
            return Ok(());
        }
        self.guarded(Self::settle_touched)
    }

    /// Runs `part` of a pass, and refuses if one is going on: its handlers were
    /// called by the one, and the list of what is ready is the one's.
    #[inline(always)]
    fn guarded<R>(&mut self, part: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        /// Ends the pass, also by a panic.
        struct Pass<'a>(&'a mut EventLoop);

        impl Drop for Pass<'_> {
            fn drop(&mut self) {
                self.0.in_pass = false;
                if self.0.serving.is_none() {
                    self.0.dooms = false;
                }
            }
        }

        self.check_not_in_pass()?;
        self.in_pass = true;
        part(Pass(self).0)
    }

    /// Refuses what a handler, or a visit by `with`, cannot do: the loop would wait
    /// for a channel that is out of its map.
    pub(super) fn check_not_in_pass(&self) -> Result<()> {
        if self.in_pass || self.serving.is_some() {
            let message = "the loop is in the middle of a pass, or of a visit by `with`: it cannot \
                           be run again from there; return from the handler or the visit instead";
            return Err(Error::misuse(io::ErrorKind::Unsupported, message));
        }
        Ok(())
    }

    /// Notes that a channel must be settled and asked before the next wait.
    pub(super) fn touch(&mut self, key: Key) {
        if let Some(watch) = self.watches.current_mut(key)
            && !watch.touched
        {
            watch.touched = true;
            self.touched.push_back(key);
        }
    }

    /// Settles and asks every touched channel. Settling may touch others: those are
    /// settled in the next pass, for which this one does not wait. (Two that fill
    /// each other's output could go on for ever.)
    fn settle_touched(&mut self) -> Result<()> {
        for _ in 0..self.touched.len() {
            let Some(key) = self.touched.pop_front() else {
                break;
            };
            if let Some(watch) = self.watches.current_mut(key) {
                watch.touched = false;
                self.serve(key, |channel, event_loop| {
                    let settled = channel.settle(event_loop);
                    event_loop.police(channel, settled)
                })?;
            }
        }
        Ok(())
    }

    /// Asks each channel whose predicates may look at anything what it waits for, and
    /// tells the poller what changed.
    #[inline(never)]
    fn ask_channels(&mut self) -> Result<()> {
        self.asking.begin_all(&mut self.watches);
        let mut changes = mem::take(&mut self.changes);
        let asking = Cell::new(-1);
        let asked = catch_unwind(AssertUnwindSafe(|| {
            self.find_changes(&asking, &mut changes)
        }));
        let mut result = Ok(());
        for (key, interest) in changes.drain(..) {
            result = result.and_then(|()| self.heed_interest(key, interest));
        }
        self.changes = changes;
        result?;
        match asked {
            Err(panic) => self.predicate_panicked(asking.get(), panic),
            Ok(()) => Ok(()),
        }
    }

    /// The channels that wait for something else than before. `asking` is the number
    /// of the one that is being asked, should it panic.
    ///
    /// Where there are many, a channel is in no cache: some are fetched together before the
    /// first of them is asked.
    fn find_changes(&self, asking: &Cell<RawFd>, changes: &mut Vec<(Key, Option<Interest>)>) {
        let mut channels = self.channels.iter();
        let mut some = [None; AHEAD];
        loop {
            let mut count = 0;
            // The array first: what it has no place for stays in the map's iterator.
            for (place, (&fd, channel)) in some.iter_mut().zip(&mut channels) {
                prefetch(&**channel);
                *place = Some((fd, &**channel));
                count += 1;
            }
            for (fd, channel) in some[..count].iter().flatten() {
                let Some(watch) = self.watches.to_ask(*fd) else {
                    continue;
                };
                asking.set(*fd);
                let interest = channel.interest(self);
                if interest != Some(watch.interest) {
                    changes.push((changed(*fd, watch, interest), interest));
                }
            }
            if count < AHEAD {
                break;
            }
        }
    }

    /// Tells the poller what a channel waits for now, if that changed.
    pub(super) fn watch_for(&mut self, key: Key, interest: Interest) -> Result<()> {
        let Some(watch) = self.watches.current_mut(key) else {
            return Ok(());
        };
        // It took the descriptor before, so this fails only if the poller is broken.
        let set = self.poller.set(key.fd, interest);
        set.map_err(|e| Error::system("watch a descriptor", Some(key.fd), e))?;
        watch.interest = interest;
        Ok(())
    }

    #[inline(always)]
    fn wait_and_deliver(&mut self, deadline: Deadline) -> Result<usize> {
        let deadline = match deadline {
            // Settling may have stopped the loop, touched others, or closed the last
            // channel.
            _ if self.running && self.stop != Stop::Unasked => Deadline::Now,
            _ if !self.touched.is_empty() => Deadline::Now,
            Deadline::Never if self.channels.is_empty() => return Ok(0),
            deadline => deadline,
        };
        if !self.later.is_empty() {
            return self.wait_with_later(deadline);
        }
        self.wait_until(deadline)
    }

    #[inline(always)]
    pub(super) fn wait_until(&mut self, deadline: Deadline) -> Result<usize> {
        // Channels from here on were not watched while the loop waited, so what
        // happened on their numbers happened to somebody else.
        let watched_until = self.next_serial;
        self.ready.clear();
        let waited = self.poller.wait(deadline, &mut self.ready);
        waited.map_err(|e| Error::system("wait for descriptors", None, e))?;
        if self.asking.is_costly() {
            self.asking.waited(!self.ready.is_empty());
        }
        self.deliver_all(watched_until)
    }

    /// The same while channels are to be settled at some time.
    #[cold]
    fn wait_with_later(&mut self, deadline: Deadline) -> Result<usize> {
        let first = self.later.iter().map(|(time, _)| *time).min();
        let served = self.wait_until(match (deadline, first) {
            (Deadline::Never, Some(first)) => Deadline::At(first),
            (Deadline::At(time), Some(first)) => Deadline::At(time.min(first)),
            (deadline, _) => deadline,
        })?;
        let now = Instant::now();
        let mut later = mem::take(&mut self.later);
        later.retain(|(time, key)| {
            let due = *time <= now;
            if due {
                self.touch(*key);
            }
            !due
        });
        self.later.append(&mut later);
        Ok(served)
    }

    #[inline(always)]
    fn deliver_all(&mut self, watched_until: Serial) -> Result<usize> {
        let mut served = 0;
        let mut next = 0;
        while let Some(&Event { fd, readiness }) = self.ready.get(next) {
            if next % AHEAD == 0 && self.ready.len() > 1 {
                self.fetch_ahead(next);
            }
            next += 1;
            let Some(serial) = self.watches.serial_below(fd, watched_until) else {
                continue;
            };
            let key = Key { fd, serial };
            if self.asking.is_costly() && !self.still_wants(key)? {
                continue;
            }
            served += 1;
            self.deliver(key, readiness)?;
        }
        Ok(served)
    }

    /// Serves one channel for what it is ready for.
    #[inline(always)]
    fn deliver(&mut self, key: Key, readiness: Readiness) -> Result<()> {
        self.serve(key, |channel, event_loop| {
            if readiness == Readiness::READABLE {
                let result = channel.handle_read_event(event_loop);
                event_loop.police(channel, result)
            } else {
                event_loop.deliver_several(key, channel, readiness)
            }
        })
    }

    /// Has the processor fetch what the next events need, which, where there are many,
    /// is in no cache: watches and places in the map by looking at them, and channels.
    /// Together they take about as long as one would take by itself, when its turn has
    /// come.
    #[inline(never)]
    fn fetch_ahead(&self, from: usize) {
        for event in self.ready.iter().skip(from).take(AHEAD) {
            if self.watches.get(event.fd).is_some()
                && let Some(channel) = self.channels.get(&event.fd)
            {
                prefetch(&**channel);
            }
        }
    }

    /// In order: read, write, priority, hang-up.
    #[inline(never)]
    fn deliver_several(
        &mut self,
        key: Key,
        channel: &mut dyn Channel,
        readiness: Readiness,
    ) -> Result<()> {
        if readiness.contains(Readiness::INVALID) {
            channel.descriptor_lost();
            let lost = Err(Error::system(
                "watch a descriptor that was closed behind the loop's back",
                Some(key.fd),
                io::Error::from_raw_os_error(libc::EBADF),
            ));
            let result = self.police(channel, lost);
            self.doom(key);
            return result;
        }
        if readiness.contains(Readiness::REFUSED) {
            return self.deliver_refusal(key, channel);
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
        // What is readable is read to its end, and then closes itself.
        let gone = readiness.intersects(Readiness::HANGUP | Readiness::ERROR);
        let tells = !readiness.contains(Readiness::READABLE) && !self.is_over(key, channel);
        if gone && tells && channel.ends_by_hangup() {
            return self.end(channel, None);
        }
        Ok(())
    }

    /// Ends a channel that the system call cannot wait for. Its descriptor is open and
    /// its own, so it is closed like any other.
    #[cold]
    fn deliver_refusal(&mut self, key: Key, channel: &mut dyn Channel) -> Result<()> {
        let message = format!(
            "fd {} is open, but the system call of the loop cannot wait for it: poll(2) refuses \
             O_PATH descriptors (open the file for reading or writing instead) and, on Apple \
             systems, terminals and other devices (use Backend::Select)",
            key.fd
        );
        let refused = Error::misuse(io::ErrorKind::Unsupported, message);
        let mut result = self.police(channel, Err(refused));
        if result.is_ok() && !self.is_over(key, channel) {
            // The handler of the error wants to go on, but would get it in every pass.
            result = self.end(channel, None);
        }
        self.doom(key);
        result
    }

    /// Whether a channel that is being served gets no further events.
    fn is_over(&self, key: Key, channel: &dyn Channel) -> bool {
        channel.is_closed() || self.watches.current(key).is_none_or(|watch| watch.doomed)
    }
}

/// Of which channel the interest changed.
#[cold]
fn changed(fd: RawFd, watch: &Watch, interest: Option<Interest>) -> Key {
    if !watch.asked {
        log::error!(
            "the predicates of fd {fd} changed from {:?} to {interest:?} although they claim to \
             depend on the channel's own state alone (Predicates::OwnState)",
            watch.interest
        );
    }
    let serial = watch.serial;
    Key { fd, serial }
}
