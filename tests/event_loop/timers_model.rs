//! Timers beside a model of them: random operations, in passes and outside, on a loop and on a map
//! that has its timers in the order of their times.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::clock::{Clock, Clocked};
use crate::common::on_every_backend;
use crate::common::random::Random;
use fdloop::{Backend, Deadline, Error, EventLoop, Result, TimerId};

/// The extent of a case.
#[derive(Clone, Copy)]
struct Extent {
    steps: usize,
    /// The highest number of timers that are made, and cancelled, together.
    burst: usize,
    /// The unit of times in nanoseconds.
    unit: u64,
    /// The longest delay in units.
    longest: usize,
}

/// Few timers, often of equal times.
const FEW: Extent = Extent {
    steps: 60,
    burst: 6,
    unit: 1_000_000,
    longest: 20,
};

/// Enough timers for all parts of the loop's queue.
const MANY: Extent = Extent {
    steps: 24,
    burst: 6_000,
    unit: 1,
    longest: 1_000_000,
};

/// Enough timers for all parts of the loop's queue, often of equal times.
const TIED: Extent = Extent {
    steps: 24,
    burst: 3_000,
    unit: 1_000,
    longest: 40,
};

/// The time of a timer, in nanoseconds.
#[derive(Clone, Copy, PartialEq)]
enum When {
    At(i64),
    /// So long after the next reading of the clock.
    After(i64),
    Never,
    /// Given after the function of the periodic timer, which runs.
    Open,
}

/// The time of timers long before the case.
const ANCIENT: i64 = i64::MIN;

#[derive(Clone, Copy)]
struct Timer {
    id: TimerId,
    when: When,
    order: u64,
    /// The place of its number in the list of numbers.
    position: usize,
    period: Option<i64>,
    /// True if its function panics when it is dropped.
    panics: bool,
}

#[derive(Default)]
struct Model {
    timers: HashMap<usize, Timer>,
    numbers: Vec<usize>,
    next_order: u64,
    queue: BTreeMap<(i64, u64), usize>,
    fresh: Vec<usize>,
    one_shots: usize,
    /// The timers that the present pass calls, with their times.
    batch: VecDeque<(usize, u64, i64)>,
    batch_now: i64,
    gone: Vec<TimerId>,
}

impl Model {
    fn add(&mut self, number: usize, timer: Timer) {
        self.one_shots += usize::from(timer.period.is_none());
        let new = Timer {
            when: When::Open,
            position: self.numbers.len(),
            ..timer
        };
        self.timers.insert(number, new);
        self.numbers.push(number);
        self.schedule(number, timer.when);
    }

    fn schedule(&mut self, number: usize, when: When) {
        let timer = self.timers.get_mut(&number).unwrap();
        if let When::At(at) = timer.when {
            self.queue.remove(&(at, timer.order));
        }
        timer.order = self.next_order;
        timer.when = when;
        match when {
            When::At(at) => drop(self.queue.insert((at, timer.order), number)),
            When::After(_) => self.fresh.push(number),
            When::Never | When::Open => {}
        }
        self.next_order += 1;
    }

    fn remove(&mut self, number: usize) {
        let Some(timer) = self.timers.remove(&number) else {
            return;
        };
        if let When::At(at) = timer.when {
            self.queue.remove(&(at, timer.order));
        }
        self.one_shots -= usize::from(timer.period.is_none());
        self.numbers.swap_remove(timer.position);
        if let Some(moved) = self.numbers.get(timer.position) {
            self.timers.get_mut(moved).unwrap().position = timer.position;
        }
        self.gone.push(timer.id);
    }

    /// Gives the timers with a delay their times.
    fn date(&mut self, now: i64) {
        for number in std::mem::take(&mut self.fresh) {
            let Some(timer) = self.timers.get_mut(&number) else {
                continue;
            };
            if let When::After(delay) = timer.when {
                timer.when = When::At(now + delay);
                self.queue.insert((now + delay, timer.order), number);
            }
        }
    }

    fn skip_stale(&mut self) {
        while let Some((number, order, _)) = self.batch.front() {
            let timer = self.timers.get(number);
            if timer.is_some_and(|timer| timer.order == *order) {
                return;
            }
            self.batch.pop_front();
        }
    }

    fn first(&self) -> Option<i64> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: i64) {
        self.batch_now = now;
        while let Some(first) = self.queue.first_entry() {
            let (at, order) = *first.key();
            if at > now {
                break;
            }
            self.batch.push_back((first.remove(), order, at));
        }
    }
}

/// The way in which a pass waits.
#[derive(Clone, Copy, PartialEq)]
enum Wait {
    Not,
    UntilFirst,
    InRun,
}

/// The state that the functions and the test share.
struct Case {
    random: Random,
    extent: Extent,
    catches: bool,
    origin: Instant,
    clock: Clock,
    waits: Rc<Cell<usize>>,
    waits_seen: Cell<usize>,
    wait: Cell<Wait>,
    /// The clock before the wait.
    last_now: Cell<i64>,
    model: RefCell<Model>,
    /// The number of times that the function of each timer was dropped.
    drops: RefCell<Vec<u32>>,
    running: Cell<Option<usize>>,
    /// The timer that was called last.
    called: Cell<Option<usize>>,
    /// The number of operations that functions may still make, so that a run ends.
    left: Cell<usize>,
    /// True if an error or a panic leaves the pass.
    leaves: Cell<bool>,
    was_left: Cell<bool>,
    /// True while checks are made in a function, whose panic the loop may catch.
    checks: Cell<bool>,
    is_over: Cell<bool>,
}

/// The value that a function holds.
struct Held {
    case: Rc<Case>,
    number: usize,
    panics: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.case.drops.borrow_mut()[self.number] += 1;
        if self.panics && !self.case.is_over.get() && !std::thread::panicking() {
            resume_unwind(Box::new("expected"));
        }
    }
}

impl Case {
    fn new(seed: u64, extent: Extent, clock: &Clock, waits: &Rc<Cell<usize>>) -> Rc<Self> {
        let origin = clock.get();
        clock.set(origin + Duration::from_secs(3600));
        let case = Self {
            random: Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            extent,
            catches: seed % 2 == 0,
            origin,
            clock: Rc::clone(clock),
            waits: Rc::clone(waits),
            waits_seen: Cell::new(0),
            wait: Cell::new(Wait::Not),
            last_now: Cell::new(0),
            model: RefCell::default(),
            drops: RefCell::default(),
            running: Cell::new(None),
            called: Cell::new(None),
            left: Cell::new(0),
            leaves: Cell::new(false),
            was_left: Cell::new(false),
            checks: Cell::new(false),
            is_over: Cell::new(false),
        };
        case.last_now.set(case.now());
        Rc::new(case)
    }

    fn now(&self) -> i64 {
        (self.clock.get() - self.origin).as_nanos() as i64
    }

    fn instant(&self, at: i64) -> Instant {
        if at == ANCIENT {
            let long = Duration::from_secs(2 * 365 * 24 * 60 * 60);
            return self.origin.checked_sub(long).unwrap_or(self.origin);
        }
        self.origin + Duration::from_nanos(at as u64)
    }

    fn delay(&self) -> u64 {
        self.random.below(self.extent.longest) as u64 * self.extent.unit
    }

    fn advance(&self, delay: u64) {
        self.clock
            .set(self.clock.get() + Duration::from_nanos(delay));
    }

    fn in_pass(&self) -> bool {
        self.wait.get() == Wait::InRun || self.running.get().is_some()
    }

    /// Returns the time of a timer that is made or moved now.
    fn after(&self, delay: u64) -> When {
        let delay = delay as i64;
        if self.in_pass() {
            When::After(delay)
        } else {
            When::At(self.now() + delay)
        }
    }

    fn make(self: &Rc<Self>, event_loop: &mut EventLoop) {
        let number = self.drops.borrow().len();
        self.drops.borrow_mut().push(0);
        let held = Held {
            case: Rc::clone(self),
            number,
            panics: self.random.one_in(40),
        };
        let panics = held.panics;
        let delay = self.delay();
        let duration = Duration::from_nanos(delay);
        let is_large = self.random.one_in(3);
        let mut period = None;
        let (when, id) = match self.random.below(24) {
            0..=9 => (self.after(delay), {
                if is_large {
                    let large = [number; 12];
                    event_loop.call_later(duration, move |it| held.called(it, large[11]))
                } else {
                    event_loop.call_later(duration, move |it| held.called(it, held.number))
                }
            }),
            10..=19 => {
                let at = if self.random.one_in(20) {
                    ANCIENT
                } else {
                    self.now() + delay as i64 - (self.extent.unit * 2) as i64
                };
                let act = move |it: &mut EventLoop| held.called(it, held.number);
                (When::At(at), event_loop.call_at(self.instant(at), act))
            }
            20 if self.wait.get() != Wait::InRun => {
                let act = move |it: &mut EventLoop| held.called(it, held.number);
                (When::Never, event_loop.call_later(Duration::MAX, act))
            }
            21 => {
                period = Some(i64::MAX);
                let act = move |it: &mut EventLoop| held.called(it, held.number);
                (When::Never, event_loop.call_every(Duration::MAX, act))
            }
            // Few periodic ones of many timers, so that a run has not too many calls.
            _ if self.extent.burst < 10 || self.random.one_in(200) => {
                let least = (self.extent.longest / 10) as u64 * self.extent.unit;
                let long = (delay + least) as i64;
                period = Some(long);
                let act = move |it: &mut EventLoop| held.called(it, held.number);
                let id = event_loop.call_every(Duration::from_nanos(delay + least), act);
                (When::At(self.now() + long), id)
            }
            _ => {
                let act = move |it: &mut EventLoop| held.called(it, held.number);
                (self.after(delay), event_loop.call_later(duration, act))
            }
        };
        let timer = Timer {
            id,
            when,
            order: 0,
            position: 0,
            period,
            panics,
        };
        self.model.borrow_mut().add(number, timer);
    }

    fn any(&self) -> Option<(usize, Timer)> {
        let model = self.model.borrow();
        let number = *model
            .numbers
            .get(self.random.below(model.numbers.len().max(1)))?;
        Some((number, model.timers[&number]))
    }

    fn cancel(&self, event_loop: &mut EventLoop, number: usize, timer: Timer) {
        let runs = self.running.get() == Some(number);
        let cancelled = catch_unwind(AssertUnwindSafe(|| event_loop.cancel(timer.id)));
        match cancelled {
            Ok(cancelled) => assert!(cancelled && (runs || !timer.panics)),
            Err(_) => assert!(!runs && timer.panics),
        }
        assert_eq!(self.drops.borrow()[number], u32::from(!runs));
        self.model.borrow_mut().remove(number);
    }

    fn cancel_any(&self, event_loop: &mut EventLoop) {
        if let Some((number, timer)) = self.any() {
            self.cancel(event_loop, number, timer);
        }
    }

    fn reset_any(&self, event_loop: &mut EventLoop) {
        let Some((number, timer)) = self.any() else {
            return;
        };
        let delay = self.delay();
        let mut duration = Duration::from_nanos(delay);
        let when = if timer.period.is_none() {
            self.after(delay)
        } else if self.random.one_in(10) {
            duration = Duration::MAX;
            When::Never
        } else {
            When::At(self.now() + delay as i64)
        };
        assert!(event_loop.reset(timer.id, duration));
        self.model.borrow_mut().schedule(number, when);
    }

    fn try_gone(&self, event_loop: &mut EventLoop) {
        let model = self.model.borrow();
        let at = self.random.below(model.gone.len().max(1));
        if let Some(id) = model.gone.get(at) {
            assert!(!event_loop.cancel(*id) && !event_loop.reset(*id, Duration::ZERO));
        }
    }

    fn change(self: &Rc<Self>, event_loop: &mut EventLoop) {
        match self.random.below(10) {
            0..=4 => self.make(event_loop),
            5..=6 => self.cancel_any(event_loop),
            7..=8 => self.reset_any(event_loop),
            _ => self.try_gone(event_loop),
        }
    }

    /// Makes operations in a pass: in a function, or between passes of a run.
    fn change_in_pass(self: &Rc<Self>, event_loop: &mut EventLoop, may_make: bool) {
        for _ in 0..self.random.below(4) {
            if self.left.get() == 0 {
                break;
            }
            self.left.set(self.left.get() - 1);
            match self.random.below(8) {
                0..=1 if may_make => self.make(event_loop),
                2..=3 => self.cancel_any(event_loop),
                4..=5 => self.reset_any(event_loop),
                6 => self.try_gone(event_loop),
                _ => self.advance(self.delay() / 8),
            }
        }
        if self.random.one_in(4) {
            self.check_deadline(event_loop);
        }
        self.last_now.set(self.now());
    }

    fn check_deadline(&self, event_loop: &EventLoop) {
        let mut model = self.model.borrow_mut();
        model.skip_stale();
        let now = self.now();
        let delays = model.fresh.iter().filter_map(|number| {
            match model.timers.get(number).map(|timer| timer.when) {
                Some(When::After(delay)) => Some(delay),
                _ => None,
            }
        });
        let delay = delays.min();
        let first = model.first().into_iter().chain(delay.map(|it| now + it));
        let expected = match first.min() {
            _ if !model.batch.is_empty() || delay == Some(0) => Deadline::Now,
            // Not before the epoch of the timers, which the model does not know.
            Some(ANCIENT) => return,
            Some(at) => Deadline::At(self.instant(at)),
            None => Deadline::Never,
        };
        assert_eq!(event_loop.next_deadline(), expected);
    }

    /// Checks that what the last function held was dropped, unless its timer goes on.
    fn check_dropped(&self) {
        if let Some(number) = self.called.take() {
            let is_gone = !self.model.borrow().timers.contains_key(&number);
            assert_eq!(self.drops.borrow()[number], u32::from(is_gone));
        }
    }

    /// Notes that the loop has waited, if it has.
    fn note_wait(&self) {
        if self.waits_seen.replace(self.waits.get()) == self.waits.get() {
            return;
        }
        let model = &mut *self.model.borrow_mut();
        model.skip_stale();
        let (now, is_left) = (self.now(), !model.batch.is_empty());
        assert!(!is_left || self.was_left.get(), "a pass has left timers");
        self.was_left.set(false);
        let before = self.last_now.get();
        model.date(before);
        let expected = match (self.wait.get(), model.first()) {
            (Wait::UntilFirst | Wait::InRun, Some(first)) if !is_left => before.max(first),
            _ => before,
        };
        assert_eq!(now, expected, "the loop has waited until another time");
        assert!(self.wait.get() != Wait::InRun || model.one_shots > 0);
        model.take_due(now);
    }

    /// Makes a pass, or several, and compares.
    fn pass(self: &Rc<Self>, event_loop: &mut EventLoop, wait: Wait) {
        self.last_now.set(self.now());
        self.wait.set(wait);
        self.left.set(200);
        self.leaves.set(false);
        let passed = catch_unwind(AssertUnwindSafe(|| match wait {
            Wait::Not => event_loop.turn(Some(Duration::ZERO)).map(drop),
            Wait::UntilFirst => event_loop.turn(None).map(drop),
            Wait::InRun => {
                let done = |event_loop: &mut EventLoop| {
                    self.checks.set(true);
                    self.note_wait();
                    if self.random.one_in(3) {
                        self.change_in_pass(event_loop, true);
                    }
                    self.checks.set(false);
                    false
                };
                event_loop.run_until(done).map(|done| assert!(!done))
            }
        }));
        assert!(!self.checks.get(), "the panic above was in a function");
        self.note_wait();
        self.wait.set(Wait::Not);
        self.running.set(None);
        self.check_dropped();
        let has_left = !matches!(passed, Ok(Ok(())));
        assert_eq!(has_left, self.leaves.get());
        // A run that has nothing to do makes no pass.
        self.was_left.set(has_left || self.was_left.get());
        let mut model = self.model.borrow_mut();
        model.skip_stale();
        assert!(model.batch.is_empty() || self.was_left.get());
        assert!(wait != Wait::InRun || has_left || model.one_shots == 0);
        model.date(self.now());
        drop(model);
        self.check_deadline(event_loop);
    }

    fn step(self: &Rc<Self>, event_loop: &mut EventLoop) {
        match self.random.below(12) {
            0..=1 => {
                for _ in 0..self.random.below(self.extent.burst) {
                    self.make(event_loop);
                }
            }
            2 => {
                for _ in 0..self.random.below(self.extent.burst) {
                    self.cancel_any(event_loop);
                }
            }
            3 => {
                for _ in 0..self.random.below(self.extent.burst) / 4 {
                    self.reset_any(event_loop);
                }
            }
            4 => self.cancel_first(event_loop),
            5 => self.change(event_loop),
            6..=7 => {
                self.advance(self.delay() / 4);
                self.pass(event_loop, Wait::Not);
            }
            8 => self.pass(event_loop, Wait::Not),
            9..=10 => self.pass(event_loop, Wait::UntilFirst),
            _ if self.random.one_in(4) => self.run(event_loop),
            _ => self.advance(self.delay() / 16),
        }
        self.check_deadline(event_loop);
    }

    /// Cancels the first timers, each of which leaves a stale entry at the front of the queue.
    fn cancel_first(&self, event_loop: &mut EventLoop) {
        for _ in 0..self.random.below(self.extent.burst) / 8 {
            let model = self.model.borrow();
            let Some(number) = model.queue.values().next().copied() else {
                return;
            };
            let timer = model.timers[&number];
            drop(model);
            self.cancel(event_loop, number, timer);
        }
    }

    /// Runs the loop, which ends with the last timer that fires once.
    fn run(self: &Rc<Self>, event_loop: &mut EventLoop) {
        let timers = self.model.borrow().timers.clone();
        let mut endless: Vec<_> = timers
            .into_iter()
            .filter(|(_, timer)| timer.period.is_none() && timer.when == When::Never)
            .collect();
        endless.sort_unstable_by_key(|(number, _)| *number);
        for (number, timer) in endless {
            self.cancel(event_loop, number, timer);
        }
        self.pass(event_loop, Wait::InRun);
    }
}

impl Held {
    /// Checks that the timer of this function is next, and makes random operations.
    fn called(&self, event_loop: &mut EventLoop, number: usize) -> Result<()> {
        let case = &self.case;
        case.checks.set(true);
        case.note_wait();
        case.check_dropped();
        let mut model = case.model.borrow_mut();
        model.skip_stale();
        let (expected, _, at) = model.batch.pop_front().unwrap();
        assert_eq!(number, expected);
        assert_eq!(case.drops.borrow()[number], 0);
        let timer = model.timers[&number];
        if timer.period.is_some() {
            model.timers.get_mut(&number).unwrap().when = When::Open;
        } else {
            model.remove(number);
        }
        drop(model);
        case.called.set(Some(number));
        case.running.set(Some(number));
        case.change_in_pass(event_loop, timer.period.is_none());
        case.running.set(None);
        // Between two functions of a pass, no operation is made.
        let mut model = case.model.borrow_mut();
        let goes_on = model.timers.contains_key(&number);
        let outcome = case.random.below(60);
        let panics = outcome == 0 || (timer.panics && !goes_on);
        if panics {
            model.remove(number);
            case.leaves.set(case.leaves.get() || !case.catches);
        } else if let (true, Some(period)) = (goes_on, timer.period) {
            if model.timers[&number].when == When::Open {
                let next = match period {
                    i64::MAX => When::Never,
                    _ => {
                        let missed = (model.batch_now - at) / period;
                        When::At(at + (missed + 1) * period)
                    }
                };
                model.schedule(number, next);
            }
        }
        drop(model);
        case.checks.set(false);
        match outcome {
            0 => resume_unwind(Box::new("expected")),
            // The panic of what the function holds, when that is dropped, comes instead of errors.
            1 if !panics => {
                case.leaves.set(true);
                Err(Error::ExitNow)
            }
            2 => Err(Error::other("of one timer")),
            _ => Ok(()),
        }
    }
}

fn play(backend: Backend, seed: u64, extent: Extent) {
    let clock = Rc::new(Cell::new(Instant::now()));
    let waits = Rc::default();
    let case = Case::new(seed, extent, &clock, &waits);
    let mut event_loop = EventLoop::builder()
        .poller(Clocked::new(backend, &clock, &waits))
        .catch_panics(case.catches)
        .build()
        .unwrap();
    for _ in 0..extent.steps {
        case.step(&mut event_loop);
    }
    if case.random.one_in(2) {
        case.run(&mut event_loop);
    }
    case.is_over.set(true);
    drop(event_loop);
    assert!(case.drops.borrow().iter().all(|drops| *drops == 1));
}

/// Plays the cases of those seeds. A failure names the seed.
fn play_all(seeds: impl Iterator<Item = u64> + Clone, extent: Extent) {
    on_every_backend(|backend| {
        for seed in seeds.clone() {
            let played = catch_unwind(AssertUnwindSafe(|| play(backend, seed, extent)));
            assert!(played.is_ok(), "the failure above is of the seed {seed}");
        }
    });
}

#[test]
fn a_few_timers_fire_as_in_the_model() {
    play_all(0..300, FEW);
}

#[test]
fn thousands_of_timers_fire_as_in_the_model() {
    play_all(0..3, MANY);
    play_all(0..3, TIED);
}
