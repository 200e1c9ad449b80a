//! The ring: N socket pairs, A bytes that go round them, W writes in all.
//!
//! Each read callback reads a byte and writes one to the next pair, as in
//! libevent's own benchmark. Only the sides that are read are registered, and
//! registering is not measured.

pub mod compare;
pub mod turn;

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::os::raw::{c_int, c_long};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// How many channels there are, how many bytes go round, and how often one is
/// passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub channels: usize,
    pub active: usize,
    pub writes: usize,
}

impl Case {
    pub const ALL: [Self; 6] = [
        Self::new(10, 1, 1000),
        Self::new(100, 1, 100),
        Self::new(100, 10, 1000),
        Self::new(400, 100, 1000),
        Self::new(4000, 1, 4000),
        Self::new(4000, 100, 1000),
    ];

    pub const fn new(channels: usize, active: usize, writes: usize) -> Self {
        Self {
            channels,
            active,
            writes,
        }
    }

    /// With fewer writes where there are many, for a first look.
    pub fn shortened(self) -> Self {
        Self {
            writes: self.writes.min(400_000 * self.active / self.channels),
            ..self
        }
    }

    /// The number of callbacks.
    pub fn events(self) -> usize {
        self.active + self.writes
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, a, w) = (self.channels, self.active, self.writes);
        write!(f, "n={n} a={a} w={w}")
    }
}

/// The state that all loops share, those in C too: laid out like `struct ring` in
/// c/ring.h.
#[repr(C)]
#[derive(Debug)]
pub struct Shared {
    channels: c_int,
    reads: *const c_int,
    writes: *const c_int,
    left: Cell<c_long>,
    fired: Cell<c_long>,
    count: Cell<c_long>,
}

/// The pairs, and how far the run is.
#[derive(Debug)]
pub struct Ring {
    shared: Shared,
    _read_numbers: Box<[RawFd]>,
    write_numbers: Box<[RawFd]>,
    _write_sides: Vec<UnixStream>,
}

impl Ring {
    /// A ring, and the sides of its pairs that are read.
    pub fn new(channels: usize) -> Result<(Rc<Self>, Vec<UnixStream>), Box<dyn Error>> {
        let mut read_sides = Vec::new();
        let mut write_sides = Vec::new();
        for _ in 0..channels {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            read_sides.push(read);
            write_sides.push(write);
        }
        let numbers = |sides: &[UnixStream]| -> Box<[RawFd]> {
            sides.iter().map(AsRawFd::as_raw_fd).collect()
        };
        let (read_numbers, write_numbers) = (numbers(&read_sides), numbers(&write_sides));
        let shared = Shared {
            channels: channels.try_into()?,
            reads: read_numbers.as_ptr(),
            writes: write_numbers.as_ptr(),
            left: Cell::new(0),
            fired: Cell::new(0),
            count: Cell::new(0),
        };
        let ring = Self {
            shared,
            _read_numbers: read_numbers,
            write_numbers,
            _write_sides: write_sides,
        };
        Ok((Rc::new(ring), read_sides))
    }

    /// Returns the part that C reads.
    pub fn as_c(&self) -> *const Shared {
        &self.shared
    }

    /// Writes the first bytes, spread evenly, from the middle on: a call that may
    /// block costs less the nearer to the beginning something is ready, and a short
    /// run does not come round.
    pub fn prime(&self, case: Case) {
        self.shared.left.set(case.writes as c_long);
        self.shared.fired.set(case.active as c_long);
        self.shared.count.set(0);
        for i in 0..case.active {
            let from = case.channels / 2 + i * (case.channels / case.active);
            self.write_to(from % case.channels);
        }
    }

    /// A byte was read from channel `index`: passes it on, as long as there are
    /// writes left. Returns true once the run is over.
    #[inline]
    pub fn pass_on(&self, index: usize) -> bool {
        let shared = &self.shared;
        shared.count.set(shared.count.get() + 1);
        if shared.left.get() > 0 {
            shared.left.set(shared.left.get() - 1);
            shared.fired.set(shared.fired.get() + 1);
            let next = index + 1;
            self.write_to(if next == self.write_numbers.len() {
                0
            } else {
                next
            });
        }
        self.is_done()
    }

    #[inline]
    pub fn is_done(&self) -> bool {
        self.shared.count.get() == self.shared.fired.get()
    }

    fn write_to(&self, index: usize) {
        // SAFETY: the buffer is one byte long.
        unsafe { libc::send(self.write_numbers[index], b"e".as_ptr().cast(), 1, 0) };
    }
}

/// A loop with all channels of a ring registered.
pub trait RingLoop {
    /// Serves the ring until it is done.
    fn run(&mut self);
}
