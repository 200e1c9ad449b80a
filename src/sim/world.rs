//! The world: its public face, and running a loop in it.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::peer::Peer;
use super::poller::{SPINNING, SimPoller};
use super::state::{Action, State};
use super::stream::Stream;
use super::trace::Step;
use crate::error::{Error, Result};
use crate::event_loop::EventLoop;
use crate::poller::{Deadline, Poller};

/// A simulated world: a clock, connections in memory, and a generator that decides everything else.
/// The same seed and the same program give the same [`trace`](World::trace).
///
/// The clock moves only when a loop waits: to the next arrival, timer or [call](World::call_later).
/// So nothing sleeps, and a run takes only the time of its work. The clock ends after 200 years:
/// events that are due later never happen.
///
/// Streams of different worlds may have the same number, by which loops know them. So put a stream
/// into a loop of its own world.
///
/// A clone is the same world.
#[derive(Clone)]
pub struct World {
    seed: u64,
    state: Rc<RefCell<State>>,
}

impl World {
    /// Makes a world whose generator, SplitMix64, begins with `seed`. Any seed is as good as any
    /// other.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        let state = Rc::new(RefCell::new(State::new(seed)));
        Self { seed, state }
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Borrows the state. The program is never called while the state is borrowed.
    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    // --- what a test makes --------------------------------------------------------

    /// Makes a loop in this world: over its [`poller`](World::poller).
    #[must_use]
    pub fn event_loop(&self) -> EventLoop {
        EventLoop::with_poller(self.poller())
    }

    /// Makes a poller of this world, for a [`Builder`](crate::Builder) with other options. It
    /// watches the world's streams alone, and refuses the numbers of descriptors.
    #[must_use]
    pub fn poller(&self) -> impl Poller + use<> {
        SimPoller::new(self.clone())
    }

    /// Makes a connection between a handler under test and a peer that the test plays.
    ///
    /// ```
    /// use fdloop::{DispatcherWithSend, Handler, Io, Result, sim::World};
    ///
    /// struct Echo;
    /// impl Handler for Echo {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         io.recv_with(1024, |io, data| io.send(data).map(drop))
    ///     }
    /// }
    ///
    /// let world = World::with_seed(1);
    /// let (stream, peer) = world.pair();
    /// let mut event_loop = world.event_loop();
    /// event_loop.add(DispatcherWithSend::over(stream, Echo))?;
    /// peer.send("hello");
    /// peer.shutdown();
    /// world.run(&mut event_loop)?;
    /// assert_eq!(peer.received(), b"hello");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn pair(&self) -> (Stream, Peer) {
        let (near, far) = self.state().connect(true);
        let peer = Peer::new(self.clone(), far);
        (Stream::new(self.clone(), near), peer)
    }

    /// Makes a connection between two handlers, of one loop or two.
    #[must_use]
    pub fn streams(&self) -> (Stream, Stream) {
        let (near, far) = self.state().connect(false);
        let far = Stream::new(self.clone(), far);
        (Stream::new(self.clone(), near), far)
    }

    /// Calls `act` after `delay`, while a loop waits. Use it to have peers act; to reach the loop,
    /// use a timer of the loop.
    ///
    /// A call that holds a clone of the world, or a peer or stream of it, keeps the world until it
    /// is made. [`for_seeds`](super::for_seeds) drops the calls that are left.
    pub fn call_later(&self, delay: Duration, act: impl FnOnce(&Self) + 'static) {
        let mut state = self.state();
        if let Some(at) = state.after(delay) {
            state.schedule(at, Action::Call(Box::new(act)));
        }
    }

    /// Sets how often calls are disturbed: the share of receives and sends that are cut short,
    /// that find nothing or are interrupted, and of waits that report readiness that does not
    /// exist, in percent. 10 unless set; 0 is a calm world. 100 is cut to 90, since a world in
    /// which every call is disturbed makes no progress.
    pub fn set_noise(&self, percent: u32) {
        self.state().noise = percent.min(90);
    }

    // --- decisions of the seed ----------------------------------------------------

    /// Returns a number of `range`, which the seed decides; the start of an empty one.
    pub fn between(&self, range: RangeInclusive<u64>) -> u64 {
        self.state().random.between(*range.start(), *range.end())
    }

    /// Returns a time of `range`, in whole microseconds, which the seed decides; the start of an
    /// empty one.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Duration {
        self.state().random.time(*range.start(), *range.end())
    }

    /// Returns true with a probability of `percent` in a hundred, as the seed decides.
    pub fn chance(&self, percent: u32) -> bool {
        self.state().random.chance(percent)
    }

    /// Returns an element of `choices`, which the seed decides; `None` if `choices` is empty.
    pub fn pick<'a, T>(&self, choices: &'a [T]) -> Option<&'a T> {
        let index = self.state().random.below(choices.len() as u64);
        choices.get(index as usize)
    }

    // --- time ---------------------------------------------------------------------

    /// Returns the time: that of the [loops](EventLoop::now) of this world.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// Returns the time since the world began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let state = self.state();
        state.now.duration_since(state.begin)
    }

    /// Runs a loop until nothing more can happen: no channel is ready, no timer is set, and
    /// nothing is under way or scheduled. Channels that wait for their peers are left as they
    /// are. Also returns when the loop is to [stop](EventLoop::stop).
    ///
    /// A loop with a periodic timer never comes to rest, nor does a call that always schedules
    /// another: use [`run_until`](World::run_until) or [`advance`](World::advance).
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::turn`]; `InvalidInput` if the loop is not of this world; an error if
    /// the loop makes 100,000 passes at one point in time, or as many calls are made.
    pub fn run(&self, event_loop: &mut EventLoop) -> Result<()> {
        self.check_own(event_loop)?;
        while !event_loop.is_stopping() {
            if event_loop.is_empty() && event_loop.next_deadline() == Deadline::Never {
                // Such a loop does not wait.
                return self.deliver_all();
            }
            match event_loop.turn(None) {
                Err(_) if std::mem::take(&mut self.state().at_rest) => return Ok(()),
                result => result?,
            };
        }
        Ok(())
    }

    /// Runs a loop until `done` returns true, which is called before each pass and after
    /// everything that happens meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`run`](World::run); `Deadlock` if nothing more can happen before; `Interrupted` if
    /// the loop is to stop before.
    pub fn run_until(
        &self,
        event_loop: &mut EventLoop,
        done: impl FnMut(&mut EventLoop) -> bool,
    ) -> Result<()> {
        self.check_own(event_loop)?;
        // Another run may be going on: a call can run another loop.
        let before = std::mem::replace(&mut self.state().steps, true);
        let result = self.turn_until(event_loop, done);
        self.state().steps = before;
        result
    }

    fn turn_until(
        &self,
        event_loop: &mut EventLoop,
        mut done: impl FnMut(&mut EventLoop) -> bool,
    ) -> Result<()> {
        while !done(event_loop) {
            if event_loop.is_stopping() {
                let message = "the loop is to stop before that for which it is run has happened";
                return Err(Error::misuse(io::ErrorKind::Interrupted, message));
            }
            if event_loop.is_empty() && event_loop.next_deadline() == Deadline::Never {
                match self.take_action() {
                    Some(action) => self.perform(action)?,
                    None => {
                        let message = "the loop has no channels and no timers, and nothing is \
                                       scheduled: what it is run for never happens";
                        return Err(Error::misuse(io::ErrorKind::Deadlock, message));
                    }
                }
                continue;
            }
            event_loop.turn(None)?;
        }
        Ok(())
    }

    /// Runs a loop until `duration` has passed. Also returns when the loop is to
    /// [stop](EventLoop::stop).
    ///
    /// # Errors
    ///
    /// As for [`run`](World::run); `InvalidInput` if the clock ends before.
    pub fn advance(&self, event_loop: &mut EventLoop, duration: Duration) -> Result<()> {
        self.check_own(event_loop)?;
        let end = self.state().after(duration);
        let end = end.ok_or_else(|| {
            let message =
                format!("cannot advance by {duration:?}: the clock of a world has 200 years");
            Error::misuse(io::ErrorKind::InvalidInput, message)
        })?;
        // The last pass performs the actions that are due at the end, and does not wait.
        while !event_loop.is_stopping()
            && (event_loop.turn_until(Deadline::At(end))? > 0 || self.now() < end)
        {}
        Ok(())
    }

    /// Checks that a loop is of this world: it then has this clock, which no other clock equals.
    fn check_own(&self, event_loop: &EventLoop) -> Result<()> {
        if event_loop.now() == self.now() {
            return Ok(());
        }
        let message = "the loop is not of this simulated world: make it with World::event_loop";
        Err(Error::misuse(io::ErrorKind::InvalidInput, message))
    }

    /// Performs everything that is under way or scheduled, without a loop.
    fn deliver_all(&self) -> Result<()> {
        while let Some(action) = self.take_action() {
            self.perform(action)?;
        }
        Ok(())
    }

    /// Drops the scheduled actions: calls that hold the world would keep it for ever.
    pub(super) fn forget_scheduled(&self) {
        let scheduled = self.state().take_schedule();
        drop(scheduled);
    }

    fn take_action(&self) -> Option<Action> {
        self.state().take_action(None)
    }

    /// Performs a scheduled action.
    ///
    /// # Errors
    ///
    /// If calls keep the clock from moving.
    pub(super) fn perform(&self, action: Action) -> io::Result<()> {
        let mut state = self.state();
        if let Some(call) = state.perform(action) {
            state.calls += 1;
            if state.calls >= SPINNING {
                state.calls = 0;
                let message = format!(
                    "{SPINNING} calls were made at one point in time: a call that schedules \
                     another without a delay keeps the clock from moving"
                );
                return Err(io::Error::other(message));
            }
            drop(state);
            call(self);
        }
        Ok(())
    }

    // --- what has happened --------------------------------------------------------

    /// Returns all steps so far. [`Step`] implements `Display`, as one line.
    #[must_use]
    pub fn trace(&self) -> Vec<Step> {
        self.trace_since(0)
    }

    /// Returns the steps after the first `steps`, for a test that reads the trace while a loop
    /// runs. Empty if there are not as many.
    #[must_use]
    pub fn trace_since(&self, steps: usize) -> Vec<Step> {
        let state = self.state();
        state.trace.get(steps..).unwrap_or_default().to_vec()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("World");
        debug.field("seed", &self.seed);
        if let Ok(state) = self.state.try_borrow() {
            debug.field("state", &state);
        }
        debug.finish()
    }
}
