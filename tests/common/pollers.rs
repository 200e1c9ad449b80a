//! Pollers for tests: one that counts the waits of a real one, and one that reports scripted
//! events.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use fdloop::{Backend, Deadline, Event, Interest, Poller, Readiness};

/// Returns the real poller of a backend.
pub fn poller_of(backend: Backend) -> Box<dyn Poller> {
    match backend {
        #[cfg(feature = "select")]
        Backend::Select => Box::new(fdloop::SelectPoller::new()),
        #[cfg(feature = "poll")]
        Backend::Poll => Box::new(fdloop::PollPoller::new()),
        #[cfg(with_epoll)]
        Backend::Epoll => Box::new(fdloop::EpollPoller::new()),
        other => panic!("the tests do not know the backend {other}"),
    }
}

/// A real poller whose waits are counted.
#[derive(Debug)]
pub struct Counting {
    inner: Box<dyn Poller>,
    heard: Rc<Heard>,
}

/// The calls of a [`Counting`] poller.
#[derive(Debug, Default)]
pub struct Heard {
    /// The number of waits.
    pub waits: Cell<usize>,
    /// The current interests.
    pub interests: RefCell<HashMap<RawFd, Interest>>,
}

impl Heard {
    pub fn interest(&self, fd: RawFd) -> Interest {
        self.interests
            .borrow()
            .get(&fd)
            .copied()
            .unwrap_or_default()
    }

    fn set(&self, fd: RawFd, interest: Interest) {
        if interest.is_empty() {
            self.interests.borrow_mut().remove(&fd);
        } else {
            self.interests.borrow_mut().insert(fd, interest);
        }
    }
}

impl Counting {
    pub fn new(backend: Backend) -> (Self, Rc<Heard>) {
        let heard = Rc::new(Heard::default());
        let poller = Self {
            inner: poller_of(backend),
            heard: Rc::clone(&heard),
        };
        (poller, heard)
    }
}

impl Poller for Counting {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.heard.set(fd, interest);
        self.inner.set(fd, interest)
    }

    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        self.heard.waits.set(self.heard.waits.get() + 1);
        self.inner.wait(deadline, ready)
    }

    fn after_fork(&mut self) -> io::Result<()> {
        self.inner.after_fork()
    }
}

/// The events that a [`Simulated`] poller reports: a list for each wait.
pub type Script = Rc<RefCell<VecDeque<Vec<Event>>>>;

/// A poller that reports the events of a script, at once.
#[derive(Debug)]
pub struct Simulated {
    script: Script,
    heard: Rc<Heard>,
}

impl Simulated {
    pub fn new() -> (Self, Script, Rc<Heard>) {
        let (script, heard) = (Script::default(), Rc::new(Heard::default()));
        let poller = Self {
            script: Rc::clone(&script),
            heard: Rc::clone(&heard),
        };
        (poller, script, heard)
    }

    /// Makes a poller that reports one event, once.
    pub fn once(fd: RawFd, readiness: Readiness) -> Self {
        let (poller, script, _) = Self::new();
        script
            .borrow_mut()
            .push_back(vec![Event::new(fd, readiness)]);
        poller
    }
}

impl Poller for Simulated {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.heard.set(fd, interest);
        Ok(())
    }

    fn wait(&mut self, _: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        self.heard.waits.set(self.heard.waits.get() + 1);
        ready.extend(self.script.borrow_mut().pop_front().unwrap_or_default());
        Ok(())
    }
}
