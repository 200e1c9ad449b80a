//! The pace of a poller over a simulated system call.

mod calls;
mod delays;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::{Asks, COLD, Pace, Part, wait};
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
    /// A descriptor that is closed, so that calls for it report no other.
    closed: Option<RawFd>,
    cooling: Cooling,
    calls: Calls,
}

/// The rules by which the pollers make descriptors cold: that of poll(2) forgets all while the hot
/// ones are not recorded.
#[derive(Debug, Clone, Copy)]
enum Cooling {
    Poll,
    Select,
}

#[derive(Debug, Default, PartialEq)]
struct Calls {
    hot: u32,
    all: u32,
    parts: u32,
    /// The processor time of the last two.
    of_all: Duration,
    /// The time in calls that is not processor time.
    asleep: Duration,
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
            closed: None,
            cooling: Cooling::Poll,
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
        self.calls.asleep += end - (self.now + cost);
        self.now = end;
        if let Some(fd) = self.closed.filter(|fd| is_asked(self, *fd)) {
            return (vec![Event::new(fd, Readiness::INVALID)], cost);
        }
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
        Part::of_entries(self.all, end, size)
    }

    fn ask_part(&mut self, part: &Part, ready: &mut Vec<Event>) -> io::Result<bool> {
        let cold = |poller: &Self, fd: usize| !poller.hot.contains_key(&(fd as RawFd));
        let count = part.places.clone().filter(|fd| cold(self, *fd)).count() + self.hot.len();
        let is_asked =
            |poller: &Self, fd| !cold(poller, fd as usize) || part.places.contains(&(fd as usize));
        let (found, cost) = self.ask(count, is_asked, Deadline::Now);
        self.calls.parts += 1;
        self.calls.of_all += cost;
        self.note_hot(&found);
        ready.extend(&found);
        Ok(!found.is_empty())
    }

    fn cool_down(&mut self) {
        let longest = match self.cooling {
            Cooling::Poll if !self.pace.tells_hot(self.all) => 0,
            _ => COLD,
        };
        self.hot.retain(|_, idle| {
            *idle += 1;
            *idle <= longest
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

/// One descriptor that is ready again some time after it was served, for a while.
fn one_of_many(all: usize, gap: Duration) -> Simulated {
    let mut poller = Simulated::new(all);
    // It has adapted before it is measured.
    for end in [Duration::from_millis(100), Duration::from_millis(300)] {
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
