//! The choice of the channels that a pass asks for their interest, of those whose predicates
//! may look at anything.
//!
//! asyncore asks all of them in every pass, since nothing else reports that an interest has
//! changed. With many channels, that takes longer than serving the few that are ready. So under
//! load the others are asked seldom, as the pollers seldom ask for idle descriptors: at the
//! latest in every 16th pass, in the first pass that begins more than a millisecond after they
//! were last asked, and before any wait that may block. Those that were recently ready are
//! asked in every pass, and any other before an event is delivered to it, so that no channel
//! gets an event that it does not want.

use std::cell::Cell;
use std::mem;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::EventLoop;
use super::channel::Channel;
use super::id::{Key, Serial};
use super::pass::{AHEAD, Errand};
use super::watch::{Watch, Watches};
use crate::error::Result;
use crate::poller::{Deadline, Interest, Trial};
use crate::sys::hint::prefetch;

/// Upper bound on passes in a row that ask only the active channels.
const PASSES: u8 = 15;

/// Upper bound on the duration of such a series of passes.
const TIME: Duration = Duration::from_millis(1);

/// Below this number all channels are asked in each pass: it costs next to nothing.
const MANY: usize = 64;

/// Fewer than one in so many channels are looked up to be asked.
const FEW: usize = 4;

/// The number of askings of all for which a channel counts as active after it was ready.
const WARM: u8 = 2;

/// The schedule of asking.
#[derive(Debug)]
pub(super) struct Asking {
    /// The number of channels whose predicates may look at anything.
    count: usize,
    /// Those channels, and some that are gone.
    keys: Vec<Key>,
    /// Those that were recently ready. Each has a watch that is warm, unless it is gone.
    active: Vec<Key>,
    /// The pass that is being made has asked all.
    all: bool,
    /// The number of passes in a row that have not.
    passes: u8,
    /// The time at which all were last asked, if that matters.
    all_asked: Option<Instant>,
    /// The trial of passes that ask only the active ones.
    trial: Trial,
}

impl Asking {
    pub(super) fn new() -> Self {
        Self {
            count: 0,
            keys: Vec::new(),
            active: Vec::new(),
            all: true,
            passes: 0,
            all_asked: None,
            trial: Trial::new(),
        }
    }

    /// Notes a channel that was added and must be asked.
    pub(super) fn add(&mut self, key: Key, watches: &Watches) {
        if self.keys.len() > 2 * self.count + FEW {
            self.forget_gone(watches);
        }
        self.count += 1;
        self.keys.push(key);
    }

    /// Forgets the channels that are gone.
    fn forget_gone(&mut self, watches: &Watches) {
        self.keys.retain(|key| watches.current(*key).is_some());
    }

    /// Counts a channel that was removed.
    pub(super) fn remove(&mut self, asked: bool) {
        self.count -= usize::from(asked);
    }

    /// Returns the channels to ask, and some that are gone, after a check of their number.
    #[cfg(test)]
    pub(super) fn keys(&self) -> &[Key] {
        assert!(self.keys.len() >= self.count);
        &self.keys
    }

    /// Checks whether there is any channel to ask.
    #[inline]
    pub(super) fn is_needed(&self) -> bool {
        self.count > 0
    }

    /// Checks whether there are so many that asking all in each pass is expensive.
    #[inline]
    pub(super) fn is_costly(&self) -> bool {
        self.count >= MANY
    }

    /// Checks whether the next pass need not ask all. It must not block then.
    fn can_wait(&self, now: Instant) -> bool {
        let lately = |asked| now.duration_since(asked) < TIME;
        self.trial.is_due() && self.passes < PASSES && self.all_asked.is_some_and(lately)
    }

    /// Records whether the wait of a pass has found `something`.
    pub(super) fn waited(&mut self, something: bool) {
        match (self.all, something) {
            (false, _) => self.trial.tried(something),
            (true, true) => self.trial.pass(),
            (true, false) => self.trial.rest(),
        }
    }

    /// Begins a pass that asks only the active ones.
    fn begin_active(&mut self) {
        self.all = false;
        self.passes += 1;
    }

    /// Begins a pass that asks all. Those that were not ready in the last two periods no longer
    /// count as active.
    pub(super) fn begin_all(&mut self, watches: &mut Watches, now: impl FnOnce() -> Instant) {
        self.all = true;
        self.passes = 0;
        self.all_asked = (self.is_costly() && self.trial.is_due_next()).then(now);
        if self.keys.len() > self.count {
            self.forget_gone(watches);
        }
        self.active.retain(|key| {
            watches.current_mut(*key).is_some_and(|watch| {
                watch.warmth -= 1;
                watch.warmth > 0
            })
        });
    }
}

impl EventLoop {
    /// Asks each channel whose predicates may look at anything for its interest, and
    /// passes to the poller what changed.
    #[inline(never)]
    pub(super) fn ask_channels(&mut self) -> Result<()> {
        let poller = &self.poller;
        self.asking.begin_all(&mut self.watches, || poller.now());
        // Looking a channel up takes longer than going on to the next one in the map.
        let few = self.asking.count < self.channels.len() / FEW;
        self.ask_each(|event_loop, asking, changes| {
            if few {
                event_loop.find_changes_of(&event_loop.asking.keys, asking, changes);
            }
            // A debug build checks the claims of the others.
            if !few || cfg!(debug_assertions) {
                event_loop.find_changes(event_loop.channels.iter(), asking, changes);
            }
        })
    }

    /// Asks the channels that were ready lately.
    fn ask_active(&mut self) -> Result<()> {
        self.asking.begin_active();
        self.ask_each(|event_loop, asking, changes| {
            event_loop.find_changes_of(&event_loop.asking.active, asking, changes);
        })
    }

    /// Calls `find` to collect the channels whose interest has changed, and passes the changes
    /// to the poller.
    #[inline]
    fn ask_each(
        &mut self,
        find: impl FnOnce(&Self, &Cell<RawFd>, &mut Vec<(Key, Option<Interest>)>),
    ) -> Result<()> {
        let mut changes = mem::take(&mut self.changes);
        let asking = Cell::new(-1);
        let asked = catch_unwind(AssertUnwindSafe(|| find(self, &asking, &mut changes)));
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

    /// Finds those channels of `keys` whose interest has changed: see
    /// [`find_changes`](EventLoop::find_changes).
    fn find_changes_of(
        &self,
        keys: &[Key],
        asking: &Cell<RawFd>,
        changes: &mut Vec<(Key, Option<Interest>)>,
    ) {
        let channels = keys.iter();
        let channels = channels.filter_map(|key| self.channels.get_key_value(&key.fd));
        self.find_changes(channels, asking, changes);
    }

    /// Finds those `channels` whose interest has changed. `asking` is the number of the one
    /// that is being asked, should it panic.
    ///
    /// With many channels, none is in a cache: some are fetched together before the first of
    /// them is asked.
    #[inline]
    fn find_changes<'a>(
        &self,
        mut channels: impl Iterator<Item = (&'a RawFd, &'a Box<dyn Channel>)>,
        asking: &Cell<RawFd>,
        changes: &mut Vec<(Key, Option<Interest>)>,
    ) {
        if !self.asking.is_costly() {
            for (fd, channel) in channels {
                self.find_change(*fd, &**channel, asking, changes);
            }
            return;
        }
        let mut some = [None; AHEAD];
        loop {
            let mut count = 0;
            // The array comes first in `zip`, so that no channel is taken without a place.
            for (place, (&fd, channel)) in some.iter_mut().zip(&mut channels) {
                prefetch(&**channel);
                *place = Some((fd, &**channel));
                count += 1;
            }
            for (fd, channel) in some[..count].iter().flatten() {
                self.find_change(*fd, *channel, asking, changes);
            }
            if count < AHEAD {
                break;
            }
        }
    }

    /// Asks the channel of `fd` for its interest, if it must be asked.
    #[inline]
    fn find_change(
        &self,
        fd: RawFd,
        channel: &dyn Channel,
        asking: &Cell<RawFd>,
        changes: &mut Vec<(Key, Option<Interest>)>,
    ) {
        let Some(watch) = self.watches.to_ask(fd) else {
            return;
        };
        asking.set(fd);
        let interest = channel.interest(self);
        if interest != Some(watch.interest) {
            changes.push((changed(fd, watch, interest), interest));
        }
    }

    /// Makes a pass that asks only the active channels and does not block, if that is
    /// permitted. Returns the number of channels served, or `None` if a whole pass must be
    /// made.
    #[inline(never)]
    pub(super) fn pass_of_active(&mut self, deadline: Deadline) -> Result<Option<usize>> {
        let now = self.now();
        if deadline == Deadline::Now || !self.touched.is_empty() || !self.asking.can_wait(now) {
            return Ok(None);
        }
        self.ask_active()?;
        self.wait_asked(Deadline::At(now))?;
        let served = self.deliver_all()?;
        Ok((!self.ready.is_empty()).then_some(served))
    }

    /// Checks whether a ready channel still wants its event. A channel that this pass has not
    /// asked is asked now.
    #[inline(never)]
    pub(super) fn still_wants(&mut self, fd: RawFd, watched_until: Serial) -> Result<bool> {
        let Some(serial) = self.watches.serial_below(fd, watched_until) else {
            return Ok(false);
        };
        let key = Key { fd, serial };
        let Some(watch) = self.watches.current_mut(key) else {
            return Ok(false);
        };
        if !watch.asked {
            return Ok(true);
        }
        let (cold, interest) = (watch.warmth == 0, watch.interest);
        watch.warmth = WARM;
        if cold {
            self.asking.active.push(key);
        }
        if !cold || self.asking.all {
            return Ok(true);
        }
        self.visit(key, Errand::Ask)?;
        // Events that it still wants are reported again in the next wait.
        let now = self.watches.current(key).map(|watch| watch.interest);
        Ok(now == Some(interest))
    }
}

/// Returns the key of a channel whose interest has changed.
#[cold]
fn changed(fd: RawFd, watch: &Watch, interest: Option<Interest>) -> Key {
    if !watch.asked {
        log::error!(
            "the predicates of fd {fd} changed from {:?} to {interest:?} although they claim to \
             depend on the channel's own state alone (Predicates::OnChange)",
            watch.interest
        );
    }
    let serial = watch.serial;
    Key { fd, serial }
}
