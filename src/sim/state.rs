//! The state of a world: its clock, its connections, and its scheduled actions.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::World;
use super::random::Random;
use super::side::{Fate, Output, Pace, Side};
use super::trace::{Step, What};

/// The index of a side of a connection.
pub(super) type SideId = usize;

/// The number of the first stream. The real descriptors of a process are below, unless it has
/// very many.
const FIRST: RawFd = 1_000;

/// The time after which the clock ends: the loops count nanoseconds in 64 bits, which is 584 years.
const CLOCK: Duration = Duration::from_secs(200 * 365 * 24 * 60 * 60);

/// A call of the program's.
type Call = Box<dyn FnOnce(&World)>;

/// A scheduled action.
pub(super) enum Action {
    Arrive(SideId, Vec<u8>),
    EndInput(SideId),
    Reset(SideId),
    Call(Call),
}

pub(super) struct State {
    pub(super) random: Random,
    /// The share of calls that are disturbed, in percent.
    pub(super) noise: u32,
    pub(super) begin: Instant,
    pub(super) now: Instant,
    sides: Vec<Side>,
    /// The pace of each connection.
    paces: Vec<Pace>,
    /// The side of each number from [`FIRST`] up.
    numbers: Vec<Option<SideId>>,
    /// The scheduled actions by time; those of one time in the order in which they were scheduled.
    schedule: BTreeMap<(Instant, u64), Action>,
    scheduled: u64,
    pub(super) trace: Vec<Step>,
    /// The numbers of waits and of calls since the clock has moved.
    pub(super) waits: u32,
    pub(super) calls: u32,
    /// True if an endless wait was refused, since nothing was scheduled.
    pub(super) at_rest: bool,
    /// True if each action ends a wait, for a test that looks at its peers.
    pub(super) steps: bool,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            random: Random::new(seed),
            noise: 10,
            begin: now,
            now,
            sides: Vec::new(),
            paces: Vec::new(),
            numbers: Vec::new(),
            schedule: BTreeMap::new(),
            scheduled: 0,
            trace: Vec::new(),
            waits: 0,
            calls: 0,
            at_rest: false,
            steps: false,
        }
    }

    // --- time ---------------------------------------------------------------------

    /// Returns the time after `delay`; `None` past the end of the clock, where nothing happens.
    pub(super) fn after(&self, delay: Duration) -> Option<Instant> {
        let at = self.now.checked_add(delay);
        at.filter(|at| self.is_within_clock(*at))
    }

    pub(super) fn is_within_clock(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.begin) <= CLOCK
    }

    pub(super) fn schedule(&mut self, at: Instant, action: Action) {
        self.scheduled += 1;
        self.schedule.insert((at, self.scheduled), action);
    }

    /// Takes the first action that is scheduled for `limit` or earlier (`None`: at any time), and
    /// moves the clock there.
    pub(super) fn take_action(&mut self, limit: Option<Instant>) -> Option<Action> {
        let (&(at, _), _) = self.schedule.first_key_value()?;
        if limit.is_some_and(|limit| at > limit) {
            return None;
        }
        self.move_to(at);
        self.schedule.pop_first().map(|(_, action)| action)
    }

    pub(super) fn take_schedule(&mut self) -> impl Sized + use<> {
        std::mem::take(&mut self.schedule)
    }

    pub(super) fn move_to(&mut self, at: Instant) {
        if at > self.now {
            self.now = at;
            self.waits = 0;
            self.calls = 0;
        }
    }

    // --- connections --------------------------------------------------------------

    /// Makes a connection at a pace that the seed decides.
    pub(super) fn connect(&mut self, with_peer: bool) -> (SideId, SideId) {
        // At least 1: with 0, two handlers that reply to each other would keep the clock from
        // moving.
        const DELAYS: [u64; 4] = [1, 300, 20_000, 400_000];
        let longest = 1 << self.random.below(13);
        let slowest = DELAYS[self.random.below(4) as usize];
        self.paces.push(Pace {
            pieces: (1, longest),
            delay: (Duration::from_micros(1), Duration::from_micros(slowest)),
        });
        let near = self.add_side(None);
        let fd = self.sides[near].fd;
        let far = self.add_side(with_peer.then_some(fd));
        (near, far)
    }

    /// `of` is the number of the other side's stream, for a peer.
    fn add_side(&mut self, of: Option<RawFd>) -> SideId {
        let id = self.sides.len();
        let fd = of.unwrap_or_else(|| self.take_number(id));
        let room = 1 << self.random.below(17);
        let side = Side::new(fd, of.is_some(), room, self.now);
        self.sides.push(side);
        id
    }

    /// Takes the lowest free number, as a kernel does.
    fn take_number(&mut self, id: SideId) -> RawFd {
        let free = self.numbers.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.numbers.push(None);
            self.numbers.len() - 1
        });
        self.numbers[index] = Some(id);
        FIRST + index as RawFd
    }

    /// Returns the side that has a number.
    pub(super) fn side_of(&self, fd: RawFd) -> Option<SideId> {
        let index = usize::try_from(fd.checked_sub(FIRST)?).ok()?;
        *self.numbers.get(index)?
    }

    pub(super) fn side(&self, id: SideId) -> &Side {
        &self.sides[id]
    }

    pub(super) fn side_mut(&mut self, id: SideId) -> &mut Side {
        &mut self.sides[id]
    }

    /// Returns the pace of a side's connection.
    pub(super) fn pace_mut(&mut self, id: SideId) -> &mut Pace {
        &mut self.paces[id / 2]
    }

    pub(super) fn note(&mut self, id: SideId, what: What) {
        let side = &self.sides[id];
        let (fd, at_peer) = (side.fd, side.is_peer);
        self.trace.push(Step {
            at: self.now.duration_since(self.begin),
            connection: id / 2,
            fd,
            at_peer,
            what,
        });
    }

    /// Notes a failed call, and returns its error.
    pub(super) fn fail(&mut self, id: SideId, errno: i32) -> io::Error {
        self.note(id, What::Failed(errno));
        io::Error::from_raw_os_error(errno)
    }

    // --- the way to the other side ------------------------------------------------

    /// Schedules an action of a side on the other one, after everything that is under way. After
    /// an action that never arrives, no other one arrives.
    fn dispatch(&mut self, from: SideId, action: Action) {
        let (least, most) = self.paces[from / 2].delay;
        let delay = self.random.time(least, most);
        let arrival = self.after(delay);
        let side = &mut self.sides[from];
        let arrival = arrival
            .zip(side.last_arrival)
            .map(|(at, last)| at.max(last));
        side.last_arrival = arrival;
        if let Some(at) = arrival {
            self.schedule(at, action);
        }
    }

    /// Returns the number of bytes for which the other side has room.
    pub(super) fn room_from(&self, id: SideId) -> usize {
        let (side, other) = (&self.sides[id], &self.sides[id ^ 1]);
        let used = side.outbox.len() + side.under_way + other.inbox.len();
        other.room.saturating_sub(used)
    }

    pub(super) fn is_writable(&self, id: SideId) -> bool {
        let side = &self.sides[id];
        side.fate != Fate::Whole || side.output != Output::Open || self.room_from(id) > 0
    }

    /// Moves as much of the outbox as the other side has room for, in pieces; and then the end of
    /// the output, if that is pending.
    pub(super) fn pump(&mut self, id: SideId) {
        let (least, most) = self.paces[id / 2].pieces;
        loop {
            let side = &self.sides[id];
            let other = &self.sides[id ^ 1];
            let room = other
                .room
                .saturating_sub(side.under_way + other.inbox.len());
            let most_now = side.outbox.len().min(room);
            if most_now == 0 {
                break;
            }
            let piece = self.random.between(least as u64, most as u64) as usize;
            let piece = piece.clamp(1, most_now);
            let side = &mut self.sides[id];
            let bytes = side.outbox.drain(..piece).collect();
            side.under_way += piece;
            self.dispatch(id, Action::Arrive(id ^ 1, bytes));
        }
        let side = &mut self.sides[id];
        if side.outbox.is_empty() && side.output == Output::Ending {
            side.output = Output::Ended;
            self.dispatch(id, Action::EndInput(id ^ 1));
        }
    }

    pub(super) fn end_output(&mut self, id: SideId) {
        if self.sides[id].output == Output::Open {
            self.sides[id].output = Output::Ending;
            self.note(id, What::OutputEnded);
            self.pump(id);
        }
    }

    /// Closes a side: with a reset if something is unread, as TCP does, else in order.
    pub(super) fn close(&mut self, id: SideId) {
        let side = &mut self.sides[id];
        if !side.open {
            return;
        }
        side.open = false;
        let cut_off = side.resets || !side.inbox.is_empty();
        let (fd, is_peer, whole) = (side.fd, side.is_peer, side.fate == Fate::Whole);
        side.inbox.clear();
        self.note(id, What::Closed);
        if !is_peer {
            if let Some(number) = self.numbers.get_mut((fd - FIRST) as usize) {
                *number = None;
            }
        }
        if whole && cut_off {
            self.send_reset(id);
        } else if whole && self.sides[id].output == Output::Open {
            self.sides[id].output = Output::Ending;
            self.pump(id);
        }
    }

    fn send_reset(&mut self, id: SideId) {
        let side = &mut self.sides[id];
        side.outbox.clear();
        side.output = Output::Ended;
        if !side.reset_sent {
            side.reset_sent = true;
            self.dispatch(id, Action::Reset(id ^ 1));
        }
    }

    /// Performs a scheduled action; returns it if it is a call.
    pub(super) fn perform(&mut self, action: Action) -> Option<Call> {
        match action {
            Action::Call(call) => return Some(call),
            Action::Arrive(id, bytes) => self.arrive(id, &bytes),
            Action::EndInput(id) => {
                let side = &mut self.sides[id];
                if side.fate == Fate::Whole {
                    side.input_ended = true;
                    if side.open {
                        self.note(id, What::InputEnded);
                    }
                }
            }
            Action::Reset(id) => {
                let over = self.sides[id ^ 1].input_ended && self.sides[id].input_ended;
                let side = &mut self.sides[id];
                // One whose directions have both ended is past a reset.
                if side.fate == Fate::Whole && !over {
                    // As Linux has it: the peer had closed already.
                    let closed = side.input_ended;
                    let errno = if closed {
                        libc::EPIPE
                    } else {
                        libc::ECONNRESET
                    };
                    side.fate = Fate::Lost(errno);
                    side.outbox.clear();
                    side.output = Output::Ended;
                    self.note(id, What::Reset);
                }
            }
        }
        None
    }

    fn arrive(&mut self, id: SideId, bytes: &[u8]) {
        self.sides[id ^ 1].under_way -= bytes.len();
        let side = &mut self.sides[id];
        if !side.open {
            self.send_reset(id);
            return;
        }
        if side.fate != Fate::Whole {
            return;
        }
        if side.reads {
            side.received.extend_from_slice(bytes);
        } else {
            side.inbox.extend(bytes);
        }
        self.note(id, What::Arrived(bytes.len()));
        self.pump(id ^ 1);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("elapsed", &self.now.duration_since(self.begin))
            .field("sides", &self.sides)
            .field("scheduled", &self.schedule.len())
            .finish_non_exhaustive()
    }
}
