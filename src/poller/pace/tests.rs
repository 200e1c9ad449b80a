//! The pace of a poller over a simulated system call.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::{Asks, LONGEST, PART, Pace, Part, wait};
use crate::poller::{Deadline, Event, Readiness};

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
    parts: u32,
    /// The processor time of the last two.
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

    /// Asks `count` descriptors, which are those that `is_asked` says. Returns the processor time
    /// that it takes.
    fn ask(
        &mut self,
        count: usize,
        is_asked: impl Fn(&Self, RawFd) -> bool,
        deadline: Deadline,
    ) -> (Vec<Event>, Duration) {
        let events = self.events.iter().filter(|(fd, _)| is_asked(self, **fd));
        let events: Vec<_> = events.collect();
        let count = count as u32;
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
        let is_hot = |poller: &Self, fd| poller.hot.contains_key(&fd);
        let (found, _) = self.ask(self.hot.len(), is_hot, deadline);
        self.calls.hot += 1;
        self.note_hot(&found);
        ready.extend(&found);
        Ok(!found.is_empty())
    }

    fn ask_all(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
        let (found, cost) = self.ask(self.all, |_, _| true, deadline);
        self.calls.all += 1;
        self.calls.of_all += cost;
        self.note_hot(&found);
        ready.extend(&found);
        Ok(!found.is_empty())
    }

    /// The number of a descriptor is its place.
    fn places(&self) -> usize {
        self.all
    }

    fn part_before(&self, end: usize, size: usize) -> Part {
        let places = end.saturating_sub(size)..end;
        let size = places.len();
        Part { places, size }
    }

    fn ask_part(&mut self, part: &Part, ready: &mut Vec<Event>) -> io::Result<bool> {
        let is_asked = |_: &Self, fd| part.places.contains(&(fd as usize));
        let (found, cost) = self.ask(part.size, is_asked, Deadline::Now);
        self.calls.parts += 1;
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
fn asking_all_of_very_many_takes_as_much_as_once_in_the_longest_time() {
    for gap in [0, 10, 100, 300, 500, 1_000] {
        let poller = one_of_many(4_000, Duration::from_micros(gap));
        let cost = LOOK * 4_000;
        let most = cost.as_secs_f64() / (cost + LONGEST).as_secs_f64();
        let share = share_of_all(&poller);
        // Reading the clock and asking the hot ones is not in there.
        assert!(share < most * 1.05, "{share} of the time, every {gap} us");
    }
}

#[test]
fn an_idle_descriptor_is_put_off_by_the_longest_time_at_most() {
    for all in [64, 100, 400, 800, 1_000, 4_000, 10_000] {
        for gap in [0, 10, 100, 300, 500, 1_000, 3_000] {
            let mut poller = one_of_many(all, Duration::from_micros(gap));
            for round in 1..30 {
                let since = poller.now + Duration::from_micros(round * 37);
                // In another part each time.
                let idle = (7 + round as RawFd * 331) % all as RawFd;
                poller.hot.remove(&idle);
                poller.events.insert(idle, since);
                while poller.events.contains_key(&idle) {
                    poller
                        .events
                        .entry(7)
                        .or_insert(poller.now + Duration::from_micros(gap));
                    poller.wait(Deadline::Never);
                    poller.now += SERVE;
                }
                // All are asked in this time, and the part that missed it is one more. A call
                // that sleeps also registers with all.
                let sleeps = gap as u128 >= LONGEST.as_micros();
                let calls = match sleeps {
                    true => 2 * (LOOK + REGISTER) * all as u32,
                    false => LOOK * (all + all.min(PART)) as u32,
                };
                let late = poller.now - since;
                assert!(
                    late <= LONGEST + calls + 3 * SERVE,
                    "{late:?}, {all}, {gap} us"
                );
                poller.hot.remove(&idle);
            }
        }
    }
}

#[test]
fn an_idle_descriptor_is_not_put_off_for_longer_when_the_hot_ones_fall_silent() {
    for all in [400, 1_000, 4_000, 10_000] {
        let mut poller = one_of_many(all, Duration::from_micros(10));
        for round in 0..200 {
            let end = poller.now + Duration::from_micros(5_000 + round * 53);
            while poller.now < end {
                poller.event_in(Duration::from_micros(10), 7);
                poller.wait(Deadline::Never);
            }
            let idle = (7 + round as RawFd * 331) % all as RawFd;
            poller.hot.remove(&idle);
            let since = poller.now + Duration::from_micros(round * 7);
            poller.events.insert(idle, since);
            assert_eq!(poller.wait(Deadline::Never), [idle]);
            let calls = (2 * LOOK + REGISTER) * all as u32 + LOOK * PART as u32;
            let late = poller.now - since;
            assert!(late <= LONGEST + calls, "{late:?}, {all}, {round}");
        }
    }
}

#[test]
fn a_hot_descriptor_waits_for_one_part_of_the_idle_ones_at_most() {
    for all in [400, 1_000, 4_000, 10_000] {
        let mut poller = one_of_many(all, Duration::from_micros(100));
        for _ in 0..1_000 {
            let since = poller.now + Duration::from_micros(100);
            poller.events.insert(7, since);
            assert_eq!(poller.wait(Deadline::Never), [7]);
            let late = poller.now - since;
            // The part, and the hot ones before and after it.
            let most = LOOK * all.min(PART) as u32 + Duration::from_micros(2);
            assert!(late <= most, "{late:?} of {all}");
            poller.now += SERVE;
        }
        assert!(poller.calls.parts > 0, "{:?}", poller.calls);
    }
}

#[test]
fn a_loop_that_serves_for_long_asks_all_that_is_due_in_one_call() {
    let mut poller = Simulated::new(4_000);
    // There are some in each part.
    let hot = || (0..4_000).step_by(100);
    let serve = |poller: &mut Simulated, time| {
        poller.events.extend(hot().map(|fd| (fd, poller.begin)));
        poller.wait(Deadline::Never);
        poller.now += time;
    };
    for round in 0..100 {
        for _ in 0..200 + round {
            serve(&mut poller, SERVE * 10);
        }
        let idle = 8 + round * 31;
        poller.events.insert(idle, poller.now);
        // The first wait may ask the hot ones alone.
        serve(&mut poller, 2 * LONGEST);
        serve(&mut poller, 2 * LONGEST);
        assert!(!poller.events.contains_key(&idle), "in round {round}");
        poller.hot.remove(&idle);
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
