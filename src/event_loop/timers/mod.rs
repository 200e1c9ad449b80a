//! Timers: functions that the loop calls at a time.

mod fire;
mod fresh;
mod places;
mod queue;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::time::{Duration, Instant};

use super::EventLoop;
use super::cancel::Cancel;
use super::id::{Key, Serial};
use crate::error::Result;
use crate::poller::Deadline;
use crate::sys::once::Once;
use fresh::Fresh;
use places::Places;
use queue::{Entry, Queue};

/// The id of a timer: small and copyable. [`EventLoop::call_later`], [`EventLoop::call_at`] and
/// [`EventLoop::call_every`] return it; [`EventLoop::cancel`] and [`EventLoop::reset`] take it.
///
/// The id of a timer that has fired for the last time, or was cancelled, finds nothing.
#[derive(Clone, Copy)]
pub struct TimerId {
    slot: u32,
    serial: Serial,
}

impl Cancel for TimerId {
    #[inline]
    fn cancel(self, event_loop: &mut EventLoop) -> bool {
        if event_loop.timers.get_mut(self).is_none() {
            return false;
        }
        let timer = event_loop.timers.remove(self.slot);
        event_loop.skip_stale_timers();
        timer.is_some()
    }
}

impl PartialEq for TimerId {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for TimerId {}

impl Hash for TimerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.serial.hash(state);
    }
}

impl fmt::Debug for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerId(#{:x})", self.serial)
    }
}

/// A periodic timer. Its n-th call is at `start` + n × `period`, in nanoseconds.
pub(super) struct Periodic<F: ?Sized> {
    start: u64,
    period: u64,
    act: F,
}

type Every = Box<Periodic<dyn FnMut(&mut EventLoop) -> Result<()>>>;

/// The effect of a timer.
pub(super) enum Action {
    Once(Once<EventLoop, Result<()>>),
    Every(Every),
    /// A periodic timer whose function runs, and its start.
    Running(u64),
    /// A channel is settled: see [`EventLoop::settle_later`].
    Settle(Key),
    /// A channel's timeout is over: see [`EventLoop::set_timeout`].
    Timeout(Key),
}

/// The place of a timer. It fills a cache line: timers are cancelled in any order, and each line is
/// in no cache then.
// Not an enum with this alignment, for which the compiler adds a tag.
#[repr(align(64))]
struct Place(Slot);

impl Place {
    fn is_taken(&self) -> bool {
        matches!(self.0, Slot::Taken(_))
    }
}

enum Slot {
    Vacant { next: Option<u32> },
    Taken(Timer),
}

struct Timer {
    serial: Serial,
    /// The generation of the timer's entry, and the list that has the entry: [`FRESH`],
    /// [`COLLECTED`], or else the queue. Other entries of the place are stale.
    seq: u64,
    action: Action,
}

/// The pass has collected the timer's entry.
const COLLECTED: u64 = 1 << 63;

/// The timer's entry is among the fresh ones.
const FRESH: u64 = 1 << 62;

impl Timer {
    /// Checks whether `entry`, which was collected, belongs to the timer.
    #[inline]
    fn is_at(&self, entry: &Entry) -> bool {
        self.seq & !COLLECTED == entry.seq
    }
}

/// The timers of a loop.
#[derive(Default)]
pub(super) struct Timers {
    /// The time from which entries count, long before the first timer is made. Earlier times count
    /// as this one.
    epoch: Option<Instant>,
    queue: Queue,
    /// Stale entries in the queue.
    stale: usize,
    /// The entries of timers that have a delay and not yet a time.
    fresh: Fresh,
    slots: Places,
    /// The first vacant place.
    vacant: Option<u32>,
    /// Timers whose time has come and which the pass has not reached, in descending order.
    due: Vec<Entry>,
    count: usize,
    /// Timers that keep `run` going.
    one_shots: usize,
    next_seq: u64,
}

/// The time before the first timer within which past deadlines keep their order.
const PAST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A time that no clock reaches. (After 584 years.)
const NEVER: u64 = u64::MAX - 1;

/// Fewer stale entries than this are left alone.
const FEW: usize = 1024;

/// The number of timers whose memory is kept for later ones.
const KEPT: usize = 16 * 1024;

impl Timers {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Checks whether a timer keeps `run` going.
    #[inline]
    pub(super) fn has_one_shots(&self) -> bool {
        self.one_shots > 0
    }

    /// Returns the time of the first timer.
    pub(super) fn deadline(&self) -> Deadline {
        if !self.due.is_empty() {
            return Deadline::Now;
        }
        let first = match self.queue.first() {
            Some(first) if self.stale == 0 || Self::is_live(&self.slots, &first) => Some(first.at),
            // The last pass has ended early, after timers were cancelled.
            _ => self.first_live(),
        };
        let (Some(first), Some(epoch)) = (first, self.epoch) else {
            return Deadline::Never;
        };
        let at = epoch.checked_add(Duration::from_nanos(first));
        match at {
            Some(at) if first < NEVER => Deadline::At(at),
            _ => Deadline::Never,
        }
    }

    /// Searches for the first time in the queue.
    #[cold]
    fn first_live(&self) -> Option<u64> {
        let live = |entry: &&Entry| Self::is_live(&self.slots, entry);
        self.queue.iter().filter(live).map(|entry| entry.at).min()
    }

    /// Converts a time to nanoseconds. The first such time is not long before the present.
    #[inline]
    fn nanos(&mut self, at: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert_with(|| {
            // Some clocks begin at 0, before which no time can be expressed.
            at.checked_sub(PAST).unwrap_or(at)
        });
        nanos(at.saturating_duration_since(epoch))
    }

    /// Converts the time `delay` after `now` to nanoseconds.
    #[inline]
    fn nanos_after(&mut self, now: Instant, delay: Duration) -> u64 {
        self.nanos(now).saturating_add(nanos(delay)).min(NEVER)
    }

    /// Adds a timer, to be scheduled next.
    #[inline]
    fn add(&mut self, serial: Serial, action: Action) -> TimerId {
        let timer = Timer {
            serial,
            seq: COLLECTED,
            action,
        };
        self.one_shots += usize::from(matches!(timer.action, Action::Once(_)));
        self.count += 1;
        let slot = match self.vacant {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot) {
                    if let Slot::Vacant { next } = mem::replace(&mut place.0, Slot::Taken(timer)) {
                        self.vacant = next;
                    }
                }
                slot
            }
            None => self.slots.push(Place(Slot::Taken(timer))),
        };
        TimerId { slot, serial }
    }

    /// Adds an entry for a timer to the queue. Any older one becomes stale.
    fn schedule(&mut self, slot: u32, at: u64) {
        if let Some(seq) = self.renew(slot, 0) {
            self.queue.push(Entry { at, seq, slot });
        }
    }

    /// Adds an entry for a timer to the fresh ones. Any older one becomes stale.
    #[inline]
    fn schedule_fresh(&mut self, slot: u32, delay: u64) {
        if let Some(seq) = self.renew(slot, FRESH) {
            let at = delay;
            self.fresh.push(Entry { at, seq, slot });
        }
    }

    /// Gives a timer a new generation, whose entry is to be in the list of that flag.
    #[inline]
    fn renew(&mut self, slot: u32, list: u64) -> Option<u64> {
        let Some(Place(Slot::Taken(timer))) = self.slots.get_mut(slot) else {
            return None;
        };
        let seq = self.next_seq;
        self.next_seq += 1;
        let before = mem::replace(&mut timer.seq, seq | list);
        self.note_stale(before);
        Some(seq)
    }

    #[inline]
    fn get_mut(&mut self, id: TimerId) -> Option<&mut Timer> {
        match self.slots.get_mut(id.slot) {
            Some(Place(Slot::Taken(timer))) if timer.serial == id.serial => Some(timer),
            _ => None,
        }
    }

    /// Checks whether an entry is the one of its timer, in the list of that flag.
    #[inline]
    fn is_at(slots: &Places, entry: &Entry, list: u64) -> bool {
        match slots.get(entry.slot) {
            Some(Place(Slot::Taken(timer))) => timer.seq == entry.seq | list,
            _ => false,
        }
    }

    /// Checks whether an entry of the queue is the one of its timer.
    #[inline]
    fn is_live(slots: &Places, entry: &Entry) -> bool {
        Self::is_at(slots, entry, 0)
    }

    /// Removes a timer. Its entry becomes stale.
    #[inline]
    fn remove(&mut self, slot: u32) -> Option<Timer> {
        let next = self.vacant;
        let place = self.slots.get_mut(slot)?;
        let Slot::Taken(timer) = mem::replace(&mut place.0, Slot::Vacant { next }) else {
            return None;
        };
        self.vacant = Some(slot);
        self.count -= 1;
        self.one_shots -= usize::from(matches!(timer.action, Action::Once(_)));
        self.note_stale(timer.seq);
        self.free_if_empty();
        Some(timer)
    }

    /// Removes a periodic timer whose function has panicked, unless that had cancelled it.
    fn end_running(&mut self, entry: Entry) {
        if let Some(Place(Slot::Taken(timer))) = self.slots.get(entry.slot) {
            if matches!(timer.action, Action::Running(_)) {
                self.remove(entry.slot);
            }
        }
    }

    /// Notes that the entry of a timer's generation has become stale. The caller sees to
    /// [`skip_stale`](Self::skip_stale) before the first entry is needed.
    #[inline]
    fn note_stale(&mut self, seq: u64) {
        match seq & (FRESH | COLLECTED) {
            0 => {
                self.stale += 1;
                if self.stale > FEW && self.stale > self.count {
                    self.tidy();
                }
            }
            FRESH => {
                let slots = &self.slots;
                let is_live = |entry: &Entry| Self::is_at(slots, entry, FRESH);
                self.fresh.note_stale(seq & !FRESH, is_live);
            }
            _ => {}
        }
    }

    /// Clears the queue after the last timer, and frees the memory of many.
    #[inline]
    fn free_if_empty(&mut self) {
        if self.count > 0 {
            return;
        }
        self.fresh.clear();
        if self.stale > 0 {
            self.stale = 0;
            self.queue.clear();
        }
        if self.slots.capacity() > KEPT {
            self.queue = Queue::default();
            self.slots = Places::default();
            self.vacant = None;
        }
    }

    /// Removes stale entries from the front of the queue, so that the first one is live.
    #[inline]
    fn skip_stale(&mut self) {
        loop {
            match self.queue.first() {
                Some(first) if self.stale > 0 && !Self::is_live(&self.slots, &first) => {
                    self.queue.remove_first();
                    self.stale -= 1;
                }
                Some(_) => return,
                None if self.queue.refill() => {}
                None => return,
            }
        }
    }

    /// Frees the memory of stale entries of the queue, and of the vacant places if all of the later half are.
    #[cold]
    fn tidy(&mut self) {
        let slots = &self.slots;
        self.queue.retain(|entry| Self::is_live(slots, entry));
        self.stale = 0;
        if self.slots.shorten() {
            self.vacant = self.slots.link_vacant();
        }
    }
}

impl EventLoop {
    /// Calls `act` once, after `delay`, unless it is [cancelled](EventLoop::cancel) before.
    /// Timers are called in the order of their times, those of one time in the order in which
    /// they were made, and never early. Each pass calls those whose time has come, after the
    /// handlers. A delay past the end of the clock never ends.
    ///
    /// Outside of a pass, the delay counts from this call. Within a pass (in a handler, or any other
    /// function that the loop calls), it counts from the next time that the loop reads its clock:
    /// when the handlers of the pass have returned, or before it waits. One reading is then for all
    /// timers of the pass. So a timer is late at most by the rest of the pass that made it, beside
    /// the pass that is being made when its time comes. For a delay from an exact time, use
    /// [`call_at`](EventLoop::call_at).
    ///
    /// The timer keeps [`run`](EventLoop::run) going until it has fired.
    ///
    /// [`Error::ExitNow`](crate::Error::ExitNow) and [fatal](crate::Error::fatal) errors of `act`
    /// leave the loop. Others are logged. A panic passes through the loop, unless that
    /// [catches panics](crate::Builder::catch_panics): it is then logged.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::time::{Duration, Instant};
    ///
    /// let begin = Instant::now();
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.call_later(Duration::from_millis(5), move |_| {
    ///     assert!(begin.elapsed() >= Duration::from_millis(5));
    ///     Ok(())
    /// });
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn call_later(
        &mut self,
        delay: Duration,
        act: impl FnOnce(&mut Self) -> Result<()> + 'static,
    ) -> TimerId {
        self.add_timer_after(delay, Action::Once(Once::new(act)))
    }

    /// Calls `act` once, at `time`, or in the next pass if that has passed: see
    /// [`call_later`](EventLoop::call_later).
    pub fn call_at(
        &mut self,
        time: Instant,
        act: impl FnOnce(&mut Self) -> Result<()> + 'static,
    ) -> TimerId {
        if self.timers.epoch.is_none() {
            self.timers.nanos(self.poller.now());
        }
        let at = self.timers.nanos(time);
        let id = self.add_timer(Action::Once(Once::new(act)));
        self.timers.schedule(id.slot, at);
        id
    }

    /// Calls `act` again and again, the n-th time n × `period` from now, so that delays of single
    /// calls do not add up. Calls that were missed are made up for by a single one. A `period` of
    /// 0 counts as a nanosecond: `act` is called in each pass, and the loop does not sleep.
    ///
    /// The timer does not keep [`run`](EventLoop::run) going. It ends when it is
    /// [cancelled](EventLoop::cancel), also by `act` itself, or when `act` panics. After an error
    /// it goes on. Errors and panics are otherwise treated as in
    /// [`call_later`](EventLoop::call_later).
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let calls = event_loop.keep(0);
    /// let tick = event_loop.call_every(Duration::from_millis(2), move |event_loop| {
    ///     *event_loop.state_mut(calls).unwrap() += 1;
    ///     Ok(())
    /// });
    /// event_loop.call_later(Duration::from_millis(15), |_| Ok(()));
    /// event_loop.run()?; // until the second timer has fired
    /// assert!(event_loop.take(calls).unwrap() >= 1);
    /// assert!(event_loop.cancel(tick));
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn call_every(
        &mut self,
        period: Duration,
        act: impl FnMut(&mut Self) -> Result<()> + 'static,
    ) -> TimerId {
        let now = self.poller.now();
        let period = nanos(period).max(1);
        let start = self.timers.nanos_after(now, Duration::from_nanos(period));
        let every = Periodic { start, period, act };
        let id = self.add_timer(Action::Every(Box::new(every)));
        self.timers.schedule(id.slot, start);
        id
    }

    /// Changes the time of a timer to `delay` from now, in a pass as in
    /// [`call_later`](EventLoop::call_later). The further calls of a periodic timer follow from
    /// there: its delay always counts from this call. Returns false if it has fired for the last time, or was cancelled.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::time::{Duration, Instant};
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let timer = event_loop.call_later(Duration::from_secs(3600), |_| Ok(()));
    /// assert!(event_loop.reset(timer, Duration::from_millis(1)));
    /// event_loop.run()?;
    /// assert!(!event_loop.reset(timer, Duration::ZERO)); // it has fired
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn reset(&mut self, id: TimerId, delay: Duration) -> bool {
        let Some(timer) = self.timers.get_mut(id) else {
            return false;
        };
        if let Action::Every(_) | Action::Running(_) = timer.action {
            self.reset_periodic(id, delay);
        } else {
            self.schedule_after(id, delay);
        }
        self.skip_stale_timers();
        true
    }

    fn reset_periodic(&mut self, id: TimerId, delay: Duration) {
        let at = self.timers.nanos_after(self.poller.now(), delay);
        match self.timers.get_mut(id).map(|timer| &mut timer.action) {
            Some(Action::Every(every)) => every.start = at,
            Some(Action::Running(start)) => *start = at,
            _ => {}
        }
        self.timers.schedule(id.slot, at);
    }

    /// Returns the time at which the loop next has something to do without an event of a
    /// descriptor: that of its first timer, or [`Deadline::Now`] if a channel is to be settled.
    /// For a program that waits by itself, and then calls
    /// [`turn`](EventLoop::turn)`(Some(Duration::ZERO))`.
    ///
    /// ```
    /// use fdloop::{Deadline, EventLoop};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// assert_eq!(event_loop.next_deadline(), Deadline::Never);
    /// event_loop.call_later(Duration::from_secs(1), |_| Ok(()));
    /// assert!(event_loop.next_deadline().remaining().unwrap() <= Duration::from_secs(1));
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn next_deadline(&self) -> Deadline {
        let deferred = self.deferred.are_due();
        if deferred || !self.touched.is_empty() || !self.calls.is_empty() {
            return Deadline::Now;
        }
        let fresh = self.timers.first_delay().map(Duration::from_nanos);
        let fresh = Deadline::from_now(fresh, || self.poller.now());
        earlier(self.timers.deadline(), fresh)
    }

    /// Adds a timer that fires `delay` from now: see [`schedule_after`](Self::schedule_after).
    #[inline]
    pub(super) fn add_timer_after(&mut self, delay: Duration, action: Action) -> TimerId {
        let id = self.add_timer(action);
        self.schedule_after(id, delay);
        id
    }

    #[inline]
    fn add_timer(&mut self, action: Action) -> TimerId {
        let serial = self.take_serial();
        self.timers.add(serial, action)
    }

    /// Schedules a timer: in a pass, `delay` from the next reading of the clock, and else from now.
    #[inline]
    fn schedule_after(&mut self, id: TimerId, delay: Duration) {
        if self.in_pass {
            self.timers.schedule_fresh(id.slot, nanos(delay));
        } else {
            let at = self.timers.nanos_after(self.poller.now(), delay);
            self.timers.schedule(id.slot, at);
        }
    }

    /// Makes the first entry of the queue a live one after others have become stale. Within a pass,
    /// its end does that for all.
    #[inline]
    fn skip_stale_timers(&mut self) {
        if !self.in_pass {
            self.timers.skip_stale();
        }
    }
}

/// Returns the earlier of two deadlines.
fn earlier(one: Deadline, other: Deadline) -> Deadline {
    match (one, other) {
        (Deadline::Now, _) | (_, Deadline::Now) => Deadline::Now,
        (Deadline::At(a), Deadline::At(b)) => Deadline::At(a.min(b)),
        (Deadline::Never, other) => other,
        (one, Deadline::Never) => one,
    }
}

/// Converts a duration to nanoseconds: [`NEVER`] for one that is too long.
#[inline]
fn nanos(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    let nanos = seconds.saturating_add(u64::from(duration.subsec_nanos()));
    nanos.min(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_timer_fills_a_cache_line() {
        assert_eq!(size_of::<Place>(), 64);
    }

    const MANY: usize = 1_000_000;

    fn make(event_loop: &mut EventLoop, seconds: impl Fn(u64) -> u64) -> Vec<TimerId> {
        let delays = (0..MANY as u64).map(|number| Duration::from_secs(seconds(number)));
        let make = |delay| event_loop.call_later(delay, |_| Ok(()));
        delays.map(make).collect()
    }

    #[track_caller]
    fn check_memory(event_loop: &EventLoop) {
        let timers = &event_loop.timers;
        assert!(timers.is_empty() && !timers.has_one_shots());
        assert!(timers.slots.capacity() <= KEPT && timers.due.capacity() <= KEPT);
        assert!(timers.capacity_of_fresh() <= KEPT);
        assert!(
            timers.queue.capacity() <= 4 * KEPT,
            "{}",
            timers.queue.capacity()
        );
    }

    #[test]
    fn a_million_timers_made_and_cancelled_leave_no_memory() {
        let mut event_loop = EventLoop::new().unwrap();
        for id in make(&mut event_loop, |number| number % 977) {
            assert!(event_loop.cancel(id));
        }
        check_memory(&event_loop);
        for id in make(&mut event_loop, |number| number).into_iter().rev() {
            assert!(event_loop.cancel(id));
        }
        check_memory(&event_loop);
    }

    #[test]
    fn a_million_timers_made_in_a_pass_leave_no_memory() {
        let mut event_loop = EventLoop::new().unwrap();
        let within = |event_loop: &mut EventLoop| {
            let ids = make(event_loop, |number| number % 977);
            assert_eq!(event_loop.timers.queue.len(), 0);
            // In this order, the timer to cancel is not the last one before half are cancelled.
            let (early, late) = ids.split_at(MANY / 2);
            for id in early.iter().chain(late) {
                assert!(event_loop.cancel(*id));
            }
            make(event_loop, |_| 0);
            true
        };
        assert!(event_loop.run_until(within).unwrap());
        assert_eq!(event_loop.timers.queue.len(), MANY);
        assert!(!event_loop.timers.has_fresh());
        event_loop.run().unwrap();
        check_memory(&event_loop);
    }

    #[test]
    fn a_million_timers_that_fired_leave_no_memory() {
        let mut event_loop = EventLoop::new().unwrap();
        make(&mut event_loop, |_| 0);
        event_loop.run().unwrap();
        check_memory(&event_loop);
    }

    #[test]
    fn a_timer_that_is_reset_a_million_times_takes_the_room_of_one() {
        let mut event_loop = EventLoop::new().unwrap();
        let id = event_loop.call_later(Duration::from_secs(1), |_| Ok(()));
        for number in 0..MANY as u64 {
            assert!(event_loop.reset(id, Duration::from_secs(60 + number % 7)));
        }
        assert!(event_loop.timers.queue.len() <= 2 * FEW);
        assert!(event_loop.cancel(id));
    }
}
