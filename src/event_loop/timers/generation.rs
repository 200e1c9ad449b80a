//! Generations of timers, by which their entries are recognized.

use crate::event_loop::id::{SPARE_BITS, Serial};

/// A number that a timer gets each time it is scheduled. Later numbers are higher. An entry whose
/// generation is not that of its timer is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

impl Generation {
    /// A generation that no entry has. A periodic timer has it while its function runs, until that
    /// function schedules the timer anew.
    pub(super) const NONE: Self = Self(Kind::Periodic as u64);

    /// Makes a generation of a number that is unique in the loop.
    #[inline]
    pub(super) fn new(serial: Serial, kind: Kind) -> Self {
        Self(serial.get() << SPARE_BITS | kind as u64)
    }

    /// Returns the kind of the timer.
    #[inline]
    pub(super) fn kind(self) -> Kind {
        const ONE_SHOT: u64 = Kind::OneShot as u64;
        const INTERNAL: u64 = Kind::Internal as u64;
        match self.0 & ((1 << SPARE_BITS) - 1) {
            ONE_SHOT => Kind::OneShot,
            INTERNAL => Kind::Internal,
            _ => Kind::Periodic,
        }
    }
}

/// The kind of a timer, in the spare bits of its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::event_loop) enum Kind {
    Periodic,
    /// Fires once, and keeps `run` going until then.
    OneShot,
    /// Fires once, for the loop itself.
    Internal,
}
