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

    /// Asks the hot descriptors without sleeping. This is the usual wait of a busy loop with many
    /// descriptors.
    fn ask_hot_now(&mut self, ready: &mut Vec<Event>) -> io::Result<bool> {
        self.ask_hot(Deadline::Now, ready)
    }

    /// Asks all descriptors, as [`ask_hot`](Asks::ask_hot) does.
    fn ask_all(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool>;

    /// Asks all descriptors without sleeping. This is the usual wait of a busy loop with few.
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
///
/// After a system call every return is mispredicted. So the functions between the caller and the usual
/// system calls are inlined, or call the next one last.
#[inline(always)]
pub(in crate::poller) fn wait<A: Asks>(
    asks: &mut A,
    deadline: Deadline,
    ready: &mut Vec<Event>,
) -> io::Result<()> {
    if asks.hot() > 0 && deadline != Deadline::Now {
        match choose(asks, ready) {
            Next::Hot(now) => return wait_for_hot(asks, now, deadline, ready),
            Next::Compared(before) => {
                return wait_for_all_apart(asks, Some(before), deadline, ready);
            }
            Next::All => {}
        }
    }
    wait_for_all(asks, None, deadline, ready)
}

/// The descriptors to ask next.
enum Next {
    /// The hot ones, alone or with a part. The time is that of the choice.
    Hot(Instant),
    All,
    /// All, and what is found is compared with the hot ones.
    Compared(Before),
}

/// The state before a call for all that is compared.
struct Before {
    /// The number of descriptors that are known to be ready.
    known: usize,
    /// The number of hot ones.
    hot: usize,
}

/// Chooses what to ask.
#[inline(never)]
fn choose<A: Asks>(asks: &mut A, ready: &[Event]) -> Next {
    let (hot, all) = (asks.hot(), asks.all());
    if !asks.pace().tries_hot(hot, all) {
        asks.cool_down();
        return Next::All;
    }
    if asks.pace().doubts_hot() {
        let known = ready.len();
        return Next::Compared(Before { known, hot });
    }
    let now = asks.now();
    if asks.pace().rests(now) {
        return Next::All;
    }
    let is_over = asks.pace().next_call().is_none_or(|end| end <= now);
    if is_over && !asks.pace().asks_part() {
        prepare_all(asks);
        return Next::All;
    }
    Next::Hot(now)
}

/// Waits for all descriptors: without sleeping first if some are likely to be ready.
#[inline(always)]
fn wait_for_all<A: Asks>(
    asks: &mut A,
    before: Option<Before>,
    deadline: Deadline,
    ready: &mut Vec<Event>,
) -> io::Result<()> {
    if !asks.pace().try_probe() && !has_passed(asks, deadline) {
        return sleep(asks, deadline, ready);
    }
    let found = asks.ask_all_now(ready)?;
    if deadline == Deadline::Now {
        return Ok(());
    }
    if !found {
        return wait_after_probe(asks, deadline, ready);
    }
    asks.pace().probe.tried(true);
    if let Some(before) = before {
        compare(asks, before, ready);
    }
    all_asked(asks, true);
    Ok(())
}

/// Calls [`wait_for_all`], and is not inlined.
#[inline(never)]
fn wait_for_all_apart<A: Asks>(
    asks: &mut A,
    before: Option<Before>,
    deadline: Deadline,
    ready: &mut Vec<Event>,
) -> io::Result<()> {
    wait_for_all(asks, before, deadline, ready)
}

/// Compares what a call for all has found with what was hot before it.
#[inline(never)]
fn compare<A: Asks>(asks: &mut A, before: Before, ready: &[Event]) {
    let found = ready.len() - before.known;
    let became_hot = asks.hot().saturating_sub(before.hot);
    let pace = asks.pace();
    if pace
        .comparison
        .found(found.saturating_sub(became_hot), became_hot)
    {
        pace.hot_tried(true);
    }
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
#[inline(never)]
fn sleep<A: Asks>(asks: &mut A, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
    let found = asks.ask_all(deadline, ready)?;
    asks.pace().slept(found);
    all_asked(asks, found);
    Ok(())
}

/// Waits for the hot descriptors alone in a round, and with each part that is due; then for all.
#[inline(never)]
fn wait_for_hot<A: Asks>(
    asks: &mut A,
    mut now: Instant,
    deadline: Deadline,
    ready: &mut Vec<Event>,
) -> io::Result<()> {
    loop {
        let end = asks.pace().next_call().unwrap_or(now);
        if now < end {
            asks.pace().unused = u8::MAX;
            if ask_hot(asks, deadline.or_at(end), ready)? {
                asks.pace().hot_found();
                return Ok(());
            }
            if has_passed(asks, deadline) {
                return Ok(());
            }
            if !asks.pace().asks_part() {
                now = asks.now();
                asks.pace().round_failed(now);
                prepare_all(asks);
                break;
            }
        }
        if ask_due(asks, ready)? || has_passed(asks, deadline) {
            return Ok(());
        }
        match choose(asks, ready) {
            Next::Hot(later) => now = later,
            Next::All => break,
            Next::Compared(before) => {
                return wait_for_all_apart(asks, Some(before), deadline, ready);
            }
        }
    }
    wait_for_all_apart(asks, None, deadline, ready)
}

/// Asks the hot descriptors, without sleeping first if they are likely to be ready.
#[inline]
fn ask_hot<A: Asks>(asks: &mut A, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<bool> {
    if asks.pace().try_probe() {
        let found = asks.ask_hot_now(ready)?;
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

/// Asks what is due in the round.
#[inline(never)]
fn ask_due<A: Asks>(asks: &mut A, ready: &mut Vec<Event>) -> io::Result<bool> {
    let Some(mut round) = asks.pace().round else {
        return Ok(false);
    };
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
