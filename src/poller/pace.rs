//! The way to ask: all descriptors or only the recently active ones, blocking or not.
//!
//! select(2) and poll(2) look at every descriptor that they get, and a call that sleeps also
//! registers with each of them. Of many descriptors, mostly the same few are active: the *hot*
//! ones, which were ready, or whose interest was set, lately. So a call for all is followed by a
//! *period*, which is nine times as long as the processor time that the call took, but at most
//! [`LONGEST`]. The waits of a period ask the hot ones alone, and sleep on those alone. At its end,
//! all are asked again. If a hot one was ready in the period, the loop is busy, and this call does
//! not sleep: if it finds nothing, the next period begins. Otherwise it sleeps until any descriptor
//! is ready. So asking all takes a tenth of the time at most, however many there are and however
//! seldom something happens, unless that puts off an idle descriptor for more than [`LONGEST`]. A
//! loop in which nothing happens sleeps. A period in which no hot one was ready is a failed
//! [`Trial`]: the next wait asks all, and more waits do so if the next periods fail, too; in the
//! end for [`REST`] times as long as such a period, since others may have been ready in it.

use std::io;
use std::time::{Duration, Instant};

use super::trial::Trial;
use super::{Deadline, Event};
use crate::sys::clock::thread_time;

/// While other waits ask only the hot descriptors, asking all takes 1/`SHARE` of the time.
const SHARE: u32 = 10;

/// Upper bound on the time for which asking all is put off, however long it takes.
const LONGEST: Duration = Duration::from_millis(2);

/// After several periods in a row in which no hot descriptor was ready, none begins for so many
/// times the length of the last one.
const REST: u32 = 32;

/// Of the periods that are over when the next wait begins, one in so many is measured.
const UNUSED: u8 = 16;

/// Below this number all descriptors are asked in each wait: it costs no more.
const MANY: usize = 64;

/// A poller that asks at this pace.
pub(super) trait Asks {
    fn pace(&mut self) -> &mut Pace;

    /// Returns the number of hot descriptors.
    fn hot(&self) -> usize;

    /// Returns the number of all descriptors.
    fn all(&self) -> usize;

    /// Asks the hot descriptors until some are ready or the deadline has come, and appends the
    /// ready ones to `ready`. Returns whether there are any.
    fn ask_hot(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool>;

    /// Asks all descriptors, as [`ask_hot`](Asks::ask_hot) does.
    fn ask_all(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool>;

    /// Asks all descriptors without sleeping. This is the usual wait of a busy loop.
    fn ask_all_now(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask_all(Deadline::Now, ready)
    }

    /// Removes those that were idle for some time from the hot ones, before all are asked.
    fn cool_down(&mut self);

    /// Returns the time. A test has a clock of its own.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Returns the processor time of the thread.
    fn processor_time(&self) -> Duration {
        thread_time()
    }
}

/// Waits, for [`Poller::wait`](super::Poller::wait).
#[inline(always)]
pub(super) fn wait<A: Asks>(
    asks: &mut A,
    deadline: Deadline,
    ready: &mut Vec<Event>,
) -> io::Result<()> {
    // The usual case of a busy loop with few descriptors.
    if deadline != Deadline::Now && asks.hot() == 0 && asks.pace().try_probe() {
        let found = asks.ask_all_now(ready)?;
        return if found {
            asks.pace().probe.tried(true);
            all_asked(asks, true);
            Ok(())
        } else {
            wait_after_probe(asks, deadline, ready)
        };
    }
    wait_otherwise(asks, deadline, ready)
}

/// Waits in the ways that are not the usual one.
#[inline(never)]
fn wait_otherwise<A: Asks>(
    asks: &mut A,
    deadline: Deadline,
    ready: &mut Vec<Event>,
) -> io::Result<()> {
    if deadline == Deadline::Now {
        return asks.ask_all(deadline, ready).map(drop);
    }
    if asks.hot() > 0 && wait_for_hot(asks, deadline, ready)? {
        return Ok(());
    }
    if asks.pace().try_probe() || has_passed(asks, deadline) {
        if !asks.ask_all(Deadline::Now, ready)? {
            return wait_after_probe(asks, deadline, ready);
        }
        asks.pace().probe.tried(true);
        all_asked(asks, true);
        return Ok(());
    }
    sleep(asks, deadline, ready)
}

/// Waits after all were asked without sleeping, and none was ready.
#[inline(never)]
fn wait_after_probe<A: Asks>(
    asks: &mut A,
    deadline: Deadline,
    ready: &mut Vec<Event>,
) -> io::Result<()> {
    asks.pace().probe.tried(false);
    if has_passed(asks, deadline) {
        all_asked(asks, false);
        return Ok(());
    }
    sleep(asks, deadline, ready)
}

/// Asks all, and sleeps until one is ready.
fn sleep<A: Asks>(asks: &mut A, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
    let found = asks.ask_all(deadline, ready)?;
    asks.pace().slept(found);
    all_asked(asks, found);
    Ok(())
}

/// Asks the hot descriptors in their periods, and all between two of them. Returns false if the
/// wait must go on with all, and may sleep.
#[inline(never)]
fn wait_for_hot<A: Asks>(
    asks: &mut A,
    deadline: Deadline,
    ready: &mut Vec<Event>,
) -> io::Result<bool> {
    loop {
        let (hot, all) = (asks.hot(), asks.all());
        if !asks.pace().tries_hot(hot, all) {
            asks.cool_down();
            return Ok(false);
        }
        let now = asks.now();
        if asks.pace().rests(now) {
            return Ok(false);
        }
        if let Some(end) = asks.pace().all_due.filter(|due| now < *due) {
            asks.pace().unused = u8::MAX;
            if ask_hot(asks, deadline.or_at(end), ready)? {
                asks.pace().hot_found();
                return Ok(true);
            }
            if has_passed(asks, deadline) {
                return Ok(true);
            }
            let now = asks.now();
            asks.pace().period_ended(now, end);
        }
        if asks.pace().is_to_be_measured() {
            let began = asks.processor_time();
            asks.pace().began = Some(began);
        }
        asks.cool_down();
        if !asks.pace().busy {
            return Ok(false);
        }
        let found = asks.ask_all(Deadline::Now, ready)?;
        all_asked(asks, found);
        if found || has_passed(asks, deadline) {
            return Ok(true);
        }
    }
}

/// Asks the hot descriptors, without sleeping first if they are likely to be ready.
fn ask_hot<A: Asks>(asks: &mut A, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
    if asks.pace().try_probe() {
        let found = asks.ask_hot(Deadline::Now, ready)?;
        asks.pace().probe.tried(found);
        if found {
            return Ok(true);
        }
    }
    let found = asks.ask_hot(deadline, ready)?;
    if found {
        asks.pace().probe.pass();
    }
    Ok(found)
}

/// Notes that all were asked.
#[inline]
fn all_asked<A: Asks>(asks: &mut A, found: bool) {
    if asks.all() >= MANY {
        many_asked(asks, found);
    }
}

#[inline(never)]
fn many_asked<A: Asks>(asks: &mut A, found: bool) {
    if let Some(began) = asks.pace().began.take() {
        let cost = asks.processor_time().saturating_sub(began);
        asks.pace().pause = (cost * (SHARE - 1)).min(LONGEST);
    }
    let pace = asks.pace();
    pace.busy = false;
    if found {
        pace.hot.pass();
    }
    // Reading the clock has a cost, too.
    let may_try = pace.adaptive && pace.hot.is_due();
    let due = may_try.then(|| asks.now() + asks.pace().pause);
    asks.pace().all_due = due;
}

fn has_passed<A: Asks>(asks: &A, deadline: Deadline) -> bool {
    match deadline {
        Deadline::Now => true,
        Deadline::At(instant) => instant <= asks.now(),
        Deadline::Never => false,
    }
}

/// The results of the two shortcuts so far: to ask without sleeping first, since under load
/// something is almost always ready, and to ask the hot descriptors alone.
///
/// A shortcut that fails is given up and tried again later, so that it costs next to nothing
/// where it does not pay.
#[derive(Debug)]
pub(super) struct Pace {
    adaptive: bool,
    probe: Trial,
    hot: Trial,
    /// The end of the period in which the hot ones are asked alone. `None` if they are not tried.
    all_due: Option<Instant>,
    /// A hot one was ready in this period.
    busy: bool,
    /// The thread's processor time when the current asking of all began, if it is measured.
    began: Option<Duration>,
    /// The length of the next period.
    pause: Duration,
    /// No period begins before this time: for `rest` times the length of the last failed one.
    rest_until: Option<Instant>,
    rest: u32,
    /// The number of periods, one after the other, that were over when a wait began; more than
    /// [`UNUSED`] if the last one was not.
    unused: u8,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            adaptive: true,
            probe: Trial::new(),
            hot: Trial::new(),
            all_due: None,
            busy: false,
            began: None,
            pause: Duration::ZERO,
            rest_until: None,
            rest: 0,
            unused: u8::MAX,
        }
    }

    pub(super) fn set_adaptive(&mut self, adaptive: bool) {
        *self = Self {
            adaptive,
            ..Self::new()
        };
    }

    /// Checks whether the poller should record which of `all` descriptors are hot: whether they
    /// may be asked alone soon.
    #[inline]
    pub(super) fn tells_hot(&self, all: usize) -> bool {
        self.adaptive && all >= MANY && self.hot.is_due_next()
    }

    /// Checks whether the `hot` ones of `all` descriptors may be asked alone now.
    fn tries_hot(&mut self, hot: usize, all: usize) -> bool {
        if hot == 0 || !self.tells_hot(all) || !self.hot.is_due() {
            return false;
        }
        let few = hot <= all / 2;
        if !few {
            self.hot.tried(false);
        }
        few
    }

    fn hot_found(&mut self) {
        self.hot.tried(true);
        self.rest = 0;
        self.busy = true;
    }

    /// Notes that the period which was to last until `end` has ended.
    fn period_ended(&mut self, now: Instant, end: Instant) {
        if !self.busy {
            self.hot.tried(false);
            // The others were not asked for so long, and one of them may have been ready.
            let begin = end.checked_sub(self.pause).unwrap_or(end);
            self.rest_until = Some(now + now.saturating_duration_since(begin) * self.rest);
            self.rest = (2 * self.rest).clamp(1, REST);
        }
    }

    /// Checks whether a period that has failed was too short a time ago for another one.
    fn rests(&self, now: Instant) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    /// Checks whether to measure the next asking of all. Reading the clock takes as long as some ten
    /// descriptors. So where the periods are over before the next wait begins, one in so many is
    /// measured, and that counts as a failed one: the hot ones need not be known.
    fn is_to_be_measured(&mut self) -> bool {
        if self.unused < UNUSED {
            self.unused += 1;
            return false;
        }
        if self.unused == UNUSED {
            self.hot.tried(false);
        }
        self.unused = 0;
        true
    }

    /// Checks whether to ask without sleeping first.
    #[inline]
    fn try_probe(&mut self) -> bool {
        self.adaptive && self.probe.is_due()
    }

    /// Notes that a call for all that may sleep has found something, or else timed out.
    #[inline]
    fn slept(&mut self, found: bool) {
        if found {
            self.probe.pass();
        } else {
            self.probe.rest();
            self.hot.rest();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::fd::RawFd;

    use super::super::Readiness;
    use super::*;

    /// The processor time to look at a descriptor, and to register with it for a sleep.
    const LOOK: Duration = Duration::from_nanos(100);
    const REGISTER: Duration = Duration::from_nanos(150);

    /// A poller over a simulated system call, with a clock that the calls move.
    struct Simulated {
        pace: Pace,
        begin: Instant,
        now: Instant,
        all: usize,
        /// The hot ones, with the number of askings of all since they were ready.
        hot: BTreeMap<RawFd, u8>,
        /// The time from which on a descriptor is ready, for those that will be.
        events: BTreeMap<RawFd, Instant>,
        calls: Calls,
    }

    #[derive(Debug, Default, PartialEq)]
    struct Calls {
        hot: u32,
        all: u32,
        /// The processor time of the latter.
        of_all: Duration,
    }

    impl Simulated {
        fn new(all: usize) -> Self {
            let begin = Instant::now();
            Self {
                pace: Pace::new(),
                begin,
                now: begin,
                all,
                hot: BTreeMap::new(),
                events: BTreeMap::new(),
                calls: Calls::default(),
            }
        }

        fn event_in(&mut self, time: Duration, fd: RawFd) {
            self.events.insert(fd, self.now + time);
        }

        /// Waits once. Returns the numbers that are ready.
        fn wait(&mut self, deadline: Deadline) -> Vec<RawFd> {
            let mut ready = Vec::new();
            wait(self, deadline, &mut ready).unwrap();
            for event in &ready {
                self.events.remove(&event.fd);
            }
            ready.iter().map(|event| event.fd).collect()
        }

        /// Asks some. Returns the processor time that it takes.
        fn ask(&mut self, hot_alone: bool, deadline: Deadline) -> (Vec<Event>, Duration) {
            let asked = |fd: &RawFd| !hot_alone || self.hot.contains_key(fd);
            let events: Vec<_> = self.events.iter().filter(|(fd, _)| asked(fd)).collect();
            let count = if hot_alone { self.hot.len() } else { self.all } as u32;
            let mut cost = LOOK * count;
            let looked = self.now + cost;
            let first = events.iter().map(|(_, at)| **at).min();
            let end = match deadline {
                Deadline::Now => looked,
                _ if first.is_some_and(|first| first <= looked) => looked,
                Deadline::At(instant) => {
                    cost += REGISTER * count;
                    first
                        .map_or(instant, |first| first.min(instant))
                        .max(self.now + cost)
                }
                Deadline::Never => {
                    cost += REGISTER * count;
                    first
                        .expect("an event, or it sleeps for ever")
                        .max(self.now + cost)
                }
            };
            let ready = events.into_iter().filter(|(_, at)| **at <= end);
            let ready = ready.map(|(fd, _)| Event::new(*fd, Readiness::READABLE));
            let ready = ready.collect();
            self.now = end;
            (ready, cost)
        }

        fn note_hot(&mut self, found: &[Event]) {
            if self.pace.tells_hot(self.all) {
                self.hot.extend(found.iter().map(|event| (event.fd, 0)));
            }
        }
    }

    impl Asks for Simulated {
        fn pace(&mut self) -> &mut Pace {
            &mut self.pace
        }

        fn hot(&self) -> usize {
            self.hot.len()
        }

        fn all(&self) -> usize {
            self.all
        }

        fn ask_hot(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
            let (found, _) = self.ask(true, deadline);
            self.calls.hot += 1;
            self.note_hot(&found);
            ready.extend(&found);
            Ok(!found.is_empty())
        }

        fn ask_all(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
            let (found, cost) = self.ask(false, deadline);
            self.calls.all += 1;
            self.calls.of_all += cost;
            self.note_hot(&found);
            ready.extend(&found);
            Ok(!found.is_empty())
        }

        fn cool_down(&mut self) {
            self.hot.retain(|_, idle| {
                *idle += 1;
                *idle <= 4
            });
        }

        fn now(&self) -> Instant {
            self.now
        }

        /// Only the askings of all are measured.
        fn processor_time(&self) -> Duration {
            self.calls.of_all
        }
    }

    /// The processor time of each event that is served.
    const SERVE: Duration = Duration::from_micros(5);

    /// One descriptor that is ready again some time after it was served, for a second.
    fn one_of_many(all: usize, gap: Duration) -> Simulated {
        let mut poller = Simulated::new(all);
        // It has adapted before it is measured.
        for end in [Duration::from_millis(200), Duration::from_secs(1)] {
            poller.calls = Calls::default();
            poller.begin = poller.now;
            while poller.now < poller.begin + end {
                poller.event_in(gap, 7);
                assert_eq!(poller.wait(Deadline::Never), [7]);
                poller.now += SERVE;
            }
        }
        poller
    }

    fn share_of_all(poller: &Simulated) -> f64 {
        let time = poller.now - poller.begin;
        poller.calls.of_all.as_secs_f64() / time.as_secs_f64()
    }

    #[test]
    fn asking_all_takes_about_a_tenth_of_the_time_at_most_at_any_rate() {
        // Nine times as long as a call for 800 that sleeps is less than the upper bound.
        for all in [64, 100, 400, 800] {
            for gap in [0, 10, 100, 300, 500, 1_000, 3_000, 10_000, 100_000] {
                let poller = one_of_many(all, Duration::from_micros(gap));
                let share = share_of_all(&poller);
                // The call after a failed period may follow sooner.
                assert!(share < 0.12, "{share} of the time, {all} every {gap} us");
            }
        }
    }

    #[test]
    fn asking_all_of_very_many_takes_as_much_as_once_in_two_milliseconds() {
        for gap in [0, 10, 100, 300, 500, 1_000] {
            let poller = one_of_many(4_000, Duration::from_micros(gap));
            let most = (LOOK * 4_000).as_secs_f64() / LONGEST.as_secs_f64();
            assert!(share_of_all(&poller) < most, "every {gap} us");
        }
    }

    #[test]
    fn an_idle_descriptor_is_put_off_by_two_milliseconds_at_most() {
        for all in [64, 100, 400, 800, 1_000, 4_000] {
            for gap in [0, 10, 100, 300, 500, 1_000, 3_000] {
                let mut poller = one_of_many(all, Duration::from_micros(gap));
                for round in 1..30 {
                    let since = poller.now + Duration::from_micros(round * 37);
                    poller.events.insert(8, since);
                    while poller.events.contains_key(&8) {
                        poller
                            .events
                            .entry(7)
                            .or_insert(poller.now + Duration::from_micros(gap));
                        poller.wait(Deadline::Never);
                        poller.now += SERVE;
                    }
                    // The call that missed it goes on, and so does the one that finds it.
                    let calls = 2 * (LOOK + REGISTER) * all as u32;
                    let late = poller.now - since;
                    assert!(
                        late <= LONGEST + calls + 2 * SERVE,
                        "{late:?}, {all}, {gap} us"
                    );
                    poller.hot.remove(&8);
                }
            }
        }
    }

    #[test]
    fn an_idle_loop_sleeps() {
        let mut poller = one_of_many(400, Duration::from_micros(100));
        poller.calls = Calls::default();
        poller.event_in(Duration::from_secs(3_600), 7);
        assert_eq!(poller.wait(Deadline::Never), [7]);
        // The rest of the period, another one, and all without sleeping in between.
        assert!(
            poller.calls.hot <= 3 && poller.calls.all <= 2,
            "{:?}",
            poller.calls
        );
    }

    #[test]
    fn a_loop_with_timers_alone_makes_one_call_in_each_wait() {
        let mut poller = Simulated::new(400);
        for round in 1..=100 {
            let deadline = poller.now + Duration::from_millis(1);
            assert_eq!(poller.wait(Deadline::At(deadline)), []);
            assert_eq!(poller.now, deadline);
            assert_eq!((poller.calls.hot, poller.calls.all), (0, round));
        }
    }

    #[test]
    fn the_deadline_of_a_wait_ends_a_period() {
        let mut poller = one_of_many(400, Duration::from_micros(10));
        poller.calls = Calls::default();
        let deadline = poller.now + Duration::from_micros(50);
        assert_eq!(poller.wait(Deadline::At(deadline)), []);
        assert!(
            poller.now - deadline < SERVE * 20,
            "{:?}",
            poller.now - deadline
        );
        // One that has passed does not sleep.
        let before = poller.now;
        assert_eq!(poller.wait(Deadline::At(before)), []);
        assert!(poller.now - before < SERVE * 20);
    }

    #[test]
    fn where_activity_moves_the_hot_ones_are_seldom_asked() {
        let mut poller = Simulated::new(1_000);
        for event in 0..5_000 {
            poller.event_in(Duration::from_micros(20), event % 1_000);
            poller.wait(Deadline::Never);
        }
        assert!(poller.calls.hot < 5_000 / 20, "{:?}", poller.calls);
    }

    #[test]
    fn a_poller_that_does_not_adapt_makes_one_call_in_each_wait() {
        let mut poller = Simulated::new(400);
        poller.pace.set_adaptive(false);
        for round in 1..=100 {
            poller.event_in(Duration::from_micros(round.into()), 7);
            assert_eq!(poller.wait(Deadline::Never), [7]);
            assert_eq!((poller.calls.hot, poller.calls.all), (0, round));
        }
    }
}
