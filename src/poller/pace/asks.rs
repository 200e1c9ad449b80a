//! The trait of a poller that keeps the pace, and its waits.

use std::io;
use std::time::{Duration, Instant};

use super::{LONGEST, MANY, Pace, Part, Round, SHARE};
use crate::poller::{Deadline, Event, Readiness};
use crate::sys::clock::thread_time;

/// A poller that asks at this pace.
pub(in crate::poller) trait Asks {
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

    /// Returns the number of places in the table of all descriptors.
    fn places(&self) -> usize;

    /// Returns the part that ends before the place `end`, and has `size` descriptors, or some
    /// more, or all that are left.
    fn part_before(&self, end: usize, size: usize) -> Part;

    /// Asks the hot descriptors and those of a part without sleeping, as
    /// [`ask_hot`](Asks::ask_hot) does.
    fn ask_part(&mut self, part: &Part, ready: &mut Vec<Event>) -> io::Result<bool>;

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

/// Waits, for [`Poller::wait`](crate::Poller::wait).
#[inline(always)]
pub(in crate::poller) fn wait<A: Asks>(
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

/// Asks the hot descriptors alone in a round, and with each part that is due. Returns false if the
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
        let round = asks.pace().round;
        let end = round.map_or(now, |round| round.next_call());
        if now < end {
            asks.pace().unused = u8::MAX;
            if ask_hot(asks, deadline.or_at(end), ready)? {
                asks.pace().hot_found();
                return Ok(true);
            }
            if has_passed(asks, deadline) {
                return Ok(true);
            }
        }
        let Some(round) = round.filter(Round::asks_part) else {
            if let Some(round) = round.filter(|_| now < end) {
                let now = asks.now();
                asks.pace().round_failed(&round, now);
            }
            prepare_all(asks);
            return Ok(false);
        };
        let found = ask_due(asks, round, ready)?;
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
    measured(asks, asks.all());
    if found {
        asks.pace().hot.pass();
    }
    begin_round(asks, None);
}

/// Asks what is due in a round.
fn ask_due<A: Asks>(asks: &mut A, mut round: Round, ready: &mut Vec<Event>) -> io::Result<bool> {
    let begin = asks.now();
    let Some(part) = round.due_by(begin, asks) else {
        prepare_all(asks);
        let found = asks.ask_all_now(ready)?;
        all_asked(asks, found);
        return Ok(found);
    };
    let is_last = part.places.start == 0;
    if is_last {
        asks.cool_down();
    }
    begin_measuring(asks);
    let (known, hot) = (ready.len(), asks.hot());
    let found = asks.ask_part(&part, ready)?;
    let closed = |event: &Event| event.readiness == Readiness::INVALID;
    if ready[known..].iter().any(closed) {
        // Then select(2) reports no others. All are asked again when these are forgotten.
        asks.pace().began = None;
        asks.pace().round = None;
        return Ok(true);
    }
    let became_hot = asks.hot().saturating_sub(hot);
    if ready.len() - known > became_hot {
        asks.pace().hot_found();
        round.busy = true;
    }
    measured(asks, part.size + hot);
    let took = asks.now().saturating_duration_since(begin);
    match is_last {
        true => begin_round(asks, Some(round.end + took)),
        false => asks.pace().round = Some(round.asked(part.places.start, took, asks)),
    }
    Ok(found)
}

/// Begins the next round, whose first period begins at `follows` if the last one has asked parts.
fn begin_round<A: Asks>(asks: &mut A, follows: Option<Instant>) {
    let pace = asks.pace();
    // Reading the clock has a cost, too.
    let may_try = pace.adaptive && pace.hot.is_due();
    let length = pace.length;
    asks.pace().round = may_try.then(|| Round::new(asks, length, follows));
}

/// Prepares a call for all, with which a round ends.
fn prepare_all<A: Asks>(asks: &mut A) {
    if asks.pace().is_to_be_measured() {
        begin_measuring(asks);
    }
    asks.cool_down();
}

fn begin_measuring<A: Asks>(asks: &mut A) {
    let began = asks.processor_time();
    asks.pace().began = Some(began);
}

/// Notes that the asking of about `asked` descriptors has ended.
fn measured<A: Asks>(asks: &mut A, asked: usize) {
    let (Some(began), 1..) = (asks.pace().began.take(), asked) else {
        return;
    };
    let cost = asks.processor_time().saturating_sub(began);
    let cost_of_all = cost * asks.all() as u32 / asked as u32;
    asks.pace().length = (cost_of_all * (SHARE - 1)).min(LONGEST);
}

fn has_passed<A: Asks>(asks: &A, deadline: Deadline) -> bool {
    match deadline {
        Deadline::Now => true,
        Deadline::At(instant) => instant <= asks.now(),
        Deadline::Never => false,
    }
}
