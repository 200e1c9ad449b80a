//! A loop whose time is simulated.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Instant;

use super::on_every_backend;
use fdloop::{Backend, Deadline, Event, EventLoop, Interest, Poller};

/// A poller whose clock advances only by waiting for it.
#[derive(Debug)]
pub struct Clocked {
    poller: Box<dyn Poller + Send>,
    now: Rc<Cell<Instant>>,
    waits: Rc<Cell<usize>>,
}

impl Clocked {
    /// Makes a poller over a backend. It counts its waits in `waits`.
    pub fn new(backend: Backend, now: &Clock, waits: &Rc<Cell<usize>>) -> Self {
        Self {
            poller: backend.poller(),
            now: Rc::clone(now),
            waits: Rc::clone(waits),
        }
    }
}

impl Poller for Clocked {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.poller.set(fd, interest)
    }
    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        self.waits.set(self.waits.get() + 1);
        self.poller.wait(Deadline::Now, ready)?;
        if let (Deadline::At(at), true) = (deadline, ready.is_empty()) {
            self.now.set(self.now.get().max(at));
        }
        Ok(())
    }
    fn now(&self) -> Instant {
        self.now.get()
    }
}

/// The time of a loop.
pub type Clock = Rc<Cell<Instant>>;

/// Calls `test` with a loop over each backend whose time is simulated.
pub fn with_clocks(test: impl Fn(&mut EventLoop, &Clock)) {
    on_every_backend(|backend| {
        let now = Rc::new(Cell::new(Instant::now()));
        let poller = Clocked::new(backend, &now, &Rc::default());
        test(&mut EventLoop::with_poller(poller), &now);
    });
}
