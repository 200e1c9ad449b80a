//! The poller of a world.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use super::World;
use super::side::Fate;
use super::state::State;
use super::trace::What;
use crate::poller::{Deadline, Event, Interest, Poller, Readiness};

/// The number of waits, or of calls, at one point in time after which a loop counts as spinning.
pub(super) const SPINNING: u32 = 100_000;

/// A poller whose descriptors are the streams of a world, and whose clock is the world's.
#[derive(Debug)]
pub(super) struct SimPoller {
    world: World,
    /// Ordered by number, so that a run depends on the seed alone.
    interests: BTreeMap<RawFd, Interest>,
}

impl SimPoller {
    pub(super) fn new(world: World) -> Self {
        let interests = BTreeMap::new();
        Self { world, interests }
    }

    /// Appends the ready streams, in an order that the seed decides.
    fn collect(&self, state: &mut State, ready: &mut Vec<Event>) {
        for (&fd, &interest) in &self.interests {
            let readiness = readiness(state, fd, interest);
            if !readiness.is_empty() {
                ready.push(Event::new(fd, readiness));
            }
        }
        for last in (1..ready.len()).rev() {
            let other = state.random.below(last as u64 + 1) as usize;
            ready.swap(last, other);
        }
        for event in ready {
            if let Some(id) = state.side_of(event.fd) {
                state.note(id, What::Ready(event.readiness));
            }
        }
    }

    /// Reports spurious readiness, as often as the noise says.
    fn collect_noise(&self, state: &mut State, ready: &mut Vec<Event>) {
        let noise = state.noise;
        if self.interests.is_empty() || !state.random.chance(noise) {
            return;
        }
        let index = state.random.below(self.interests.len() as u64) as usize;
        let Some((&fd, &interest)) = self.interests.iter().nth(index) else {
            return;
        };
        let wanted = [
            (Interest::READABLE, Readiness::READABLE),
            (Interest::WRITABLE, Readiness::WRITABLE),
        ];
        let flags = wanted.into_iter().filter(|(i, _)| interest.contains(*i));
        let readiness = flags.map(|(_, readiness)| readiness).collect::<Readiness>();
        if let (Some(id), false) = (state.side_of(fd), readiness.is_empty()) {
            state.note(id, What::Spurious(readiness));
            ready.push(Event::new(fd, readiness));
        }
    }

    /// Returns the error of a loop that would wait for ever.
    fn stuck(&self) -> io::Error {
        let waiting: Vec<String> = self
            .interests
            .iter()
            .map(|(fd, interest)| format!("fd {fd} for {interest:?}"))
            .collect();
        let message = format!(
            "nothing more can happen in the simulated world, and the loop waits for {}: let a peer \
             send or close, or use World::run, which returns at this point",
            match waiting.as_slice() {
                [] => "nothing in particular".to_owned(),
                waiting => waiting.join(", "),
            }
        );
        io::Error::new(io::ErrorKind::Deadlock, message)
    }
}

/// Returns the error of a loop that never waits.
fn spinning(ready: &[Event]) -> io::Error {
    let why = match ready.first() {
        Some(Event { fd, readiness }) => format!(
            "fd {fd} is ready for {readiness:?}, and its handler does not change that: receive the \
             input, or wait for nothing that the handler does not use"
        ),
        None => "a handler or a timer keeps it from waiting".to_owned(),
    };
    let message = format!("the loop has made {SPINNING} passes at one point in time: {why}");
    io::Error::other(message)
}

/// Returns what poll(2) reports, in the form in which the crate's pollers report it.
fn readiness(state: &State, fd: RawFd, interest: Interest) -> Readiness {
    let Some(id) = state.side_of(fd) else {
        return Readiness::INVALID;
    };
    let side = state.side(id);
    let mut readiness = Readiness::empty();
    if interest.contains(Interest::READABLE) && side.is_readable() {
        readiness |= Readiness::READABLE;
    }
    if interest.contains(Interest::WRITABLE) && state.is_writable(id) {
        readiness |= Readiness::WRITABLE;
    }
    if readiness.is_empty() {
        readiness.set(Readiness::HANGUP, side.has_hung_up());
        readiness.set(Readiness::ERROR, matches!(side.fate, Fate::Lost(_)));
    }
    readiness
}

impl Poller for SimPoller {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        if interest.is_empty() {
            self.interests.remove(&fd);
            return Ok(());
        }
        if self.world.state().side_of(fd).is_none() {
            let message = format!(
                "fd {fd} is not a stream of this simulated world: use World::pair in place of \
                 sockets and files, and timers in place of Remote"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.interests.insert(fd, interest);
        Ok(())
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        loop {
            let mut state = self.world.state();
            let now = state.now;
            // Actions that are due are performed before events are reported.
            if let Some(action) = state.take_action(Some(now)) {
                drop(state);
                self.world.perform(action)?;
                continue;
            }
            self.collect(&mut state, ready);
            if ready.is_empty() && deadline != Deadline::Now {
                self.collect_noise(&mut state, ready);
            }
            let over = match deadline {
                Deadline::Now => true,
                Deadline::At(at) => at <= now,
                Deadline::Never => false,
            };
            if over || !ready.is_empty() {
                state.waits += 1;
                if state.waits < SPINNING {
                    return Ok(());
                }
                state.waits = 0;
                return Err(spinning(ready));
            }
            let limit = match deadline {
                Deadline::At(at) if state.is_within_clock(at) => Some(at),
                _ => None,
            };
            match (state.take_action(limit), limit) {
                (Some(action), _) => {
                    let steps = state.steps;
                    drop(state);
                    self.world.perform(action)?;
                    if steps {
                        return Ok(());
                    }
                }
                (None, Some(at)) => {
                    state.move_to(at);
                    return Ok(());
                }
                (None, None) => {
                    state.at_rest = true;
                    drop(state);
                    return Err(self.stuck());
                }
            }
        }
    }

    fn now(&self) -> Instant {
        self.world.now()
    }
}
