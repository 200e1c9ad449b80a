//! The trait of a poller that keeps the pace, and its waits.

use std::io;
use std::time::{Duration, Instant};

use super::{LONGEST, MANY, Pace, SHARE};
use crate::poller::{Deadline, Event};
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
