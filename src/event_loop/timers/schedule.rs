//! The methods that make timers and change their times.

use std::time::{Duration, Instant};

use super::delay::Delay;
use super::fire::{Periodic, fill_periodic};
use super::generation::Kind;
use super::places::Place;
use super::time::nanos;
use super::{Act, TimerId};
use crate::error::Result;
use crate::event_loop::EventLoop;

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
        let (id, place) = self.add_after(delay, Kind::OneShot);
        place.fill(|event_loop: &mut Self, _| act(event_loop));
        id
    }

    /// Calls `act` once, at `time`, or in the next pass if that has passed: see
    /// [`call_later`](EventLoop::call_later).
    pub fn call_at(
        &mut self,
        time: Instant,
        act: impl FnOnce(&mut Self) -> Result<()> + 'static,
    ) -> TimerId {
        let serial = self.take_serial();
        if !self.timers.epoch.has_begun() {
            self.timers.epoch.nanos(self.poller.now());
        }
        let at = self.timers.epoch.nanos(time);
        let (id, place) = self.timers.add(serial, Kind::OneShot, at);
        place.fill(|event_loop: &mut Self, _| act(event_loop));
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
        let period = nanos(period).max(1);
        let start = self.nanos_after(Duration::from_nanos(period));
        let serial = self.take_serial();
        let (id, place) = self.timers.add(serial, Kind::Periodic, start);
        fill_periodic(place, Box::new(Periodic { period, act }));
        id
    }

    /// Changes the time of a timer to `delay` from now, in a pass as in
    /// [`call_later`](EventLoop::call_later). The further calls of a periodic timer follow from
    /// there: its delay always counts from this call. Returns false if the timer has fired for the
    /// last time, or was cancelled.
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
        let Some(kind) = self.timers.find(id).map(Place::kind) else {
            return false;
        };
        let serial = self.take_serial();
        if self.in_pass && kind != Kind::Periodic {
            let delay = Delay::new(nanos(delay));
            self.timers.schedule_fresh(id.slot, serial, delay);
        } else {
            let at = self.nanos_after(delay);
            self.timers.schedule(id.slot, serial, at);
        }
        self.settle_timers();
        true
    }

    /// Adds a timer of the loop itself.
    pub(in crate::event_loop) fn add_timer(
        &mut self,
        delay: Duration,
        act: impl FnOnce(&mut Self) -> Result<()> + 'static,
    ) -> TimerId {
        let (id, place) = self.add_after(delay, Kind::Internal);
        place.fill(|event_loop: &mut Self, _| act(event_loop));
        id
    }

    /// Adds a timer that fires after `delay`: in a pass, from the next reading of the clock, and else
    /// from now. Returns the place for its function.
    #[inline]
    fn add_after(&mut self, delay: Duration, kind: Kind) -> (TimerId, &mut Act) {
        let serial = self.take_serial();
        if self.in_pass {
            let delay = Delay::new(nanos(delay));
            self.timers.add_fresh(serial, kind, delay)
        } else {
            let at = self.nanos_after(delay);
            self.timers.add(serial, kind, at)
        }
    }

    /// Returns the time `delay` from now.
    #[inline]
    fn nanos_after(&mut self, delay: Duration) -> u64 {
        self.timers.epoch.nanos_after(self.poller.now(), delay)
    }

    /// Prepares the timers for a wait after one was cancelled or moved. Within a pass, that is done
    /// for all later.
    #[inline]
    pub(super) fn settle_timers(&mut self) {
        if !self.in_pass {
            self.timers.settle();
        }
    }
}
