//! A descriptor that futures wait for: its channel in the loop, and the wakers of the
//! futures.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use super::executor::Executor;
use crate::error::{Error, Result};
use crate::event_loop::{Channel, ChannelId, EventLoop, Predicates};
use crate::poller::Interest;

/// Upper bound on the wakers of a direction that are kept after their tasks may have gone.
const STALE: usize = 32;

/// A direction of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Read,
    Write,
}

impl Side {
    fn interest(self) -> Interest {
        match self {
            Self::Read => Interest::READABLE,
            Self::Write => Interest::WRITABLE,
        }
    }
}

/// The place of a future among those that wait; [`Key::POLL`] is shared by all that poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    /// The key of `poll_read` and its kin, whose callers remove nothing when they are dropped.
    pub(super) const POLL: Self = Self(0);
}

/// A direction of a descriptor.
struct Direction {
    /// True if a call may succeed. If false, the descriptor is waited for first.
    ready: Cell<bool>,
    waiting: RefCell<Vec<(Key, Waker)>>,
}

impl Default for Direction {
    fn default() -> Self {
        Self {
            ready: Cell::new(true),
            waiting: RefCell::default(),
        }
    }
}

impl Direction {
    /// Wakes all waiting futures. Returns true if there were any.
    fn wake(&self) -> bool {
        self.ready.set(true);
        if let Some(waker) = self.take_only() {
            waker.wake();
            return true;
        }
        let mut waiting = self.waiting.take();
        let any = !waiting.is_empty();
        for (_, waker) in waiting.drain(..) {
            waker.wake();
        }
        // Kept for its memory, unless a waker has polled a future.
        let mut place = self.waiting.borrow_mut();
        if place.is_empty() {
            *place = waiting;
        }
        any
    }

    /// Takes the waker if there is one alone, as mostly.
    #[inline]
    fn take_only(&self) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        match waiting.len() {
            1 => waiting.pop().map(|(_, waker)| waker),
            _ => None,
        }
    }

    /// Adds a waker. A waker with the same key is replaced; for [`Key::POLL`], one of the same
    /// task.
    fn add(&self, key: Key, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        let same = waiting.iter_mut().find(|(other, known)| match key {
            Key::POLL => *other == key && known.will_wake(waker),
            key => *other == key,
        });
        if let Some((_, known)) = same {
            let before = mem::replace(known, waker.clone());
            drop(waiting);
            // The waker's destructor is the program's.
            drop(before);
            return;
        }
        if waiting.len() >= STALE && key == Key::POLL {
            // The wakers of finished tasks are discarded with the others, which are added again
            // when polled.
            let all = mem::take(&mut *waiting);
            waiting.push((key, waker.clone()));
            drop(waiting);
            for (_, waker) in all {
                waker.wake();
            }
            return;
        }
        waiting.reserve_exact(1);
        waiting.push((key, waker.clone()));
    }

    fn remove(&self, key: Key) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|(other, _)| *other == key) {
            let (_, waker) = waiting.swap_remove(at);
            drop(waiting);
            drop(waker);
        }
    }

    fn has(&self, key: Key) -> bool {
        self.waiting.borrow().iter().any(|(other, _)| *other == key)
    }
}

/// The state of a descriptor that its channel and its futures share.
pub(super) struct Source {
    pub(super) executor: Rc<Executor>,
    id: Cell<Option<ChannelId<Watcher>>>,
    pub(super) fd: RawFd,
    read: Direction,
    write: Direction,
    /// The interest of the channel, or what it will be once the loop is reached.
    armed: Cell<Interest>,
    next_key: Cell<u64>,
    /// True once the channel is gone.
    closed: Cell<bool>,
    /// True if other code has closed the number.
    lost: Cell<bool>,
    /// The error for which the loop has given up the descriptor.
    failure: RefCell<Option<Error>>,
}

/// The channel of a descriptor. It does not own the descriptor, which its futures use.
pub(super) struct Watcher {
    source: Rc<Source>,
    interest: Interest,
}

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.source.fd
    }
}

impl Channel for Watcher {
    fn interest(&self, _: &EventLoop) -> Option<Interest> {
        Some(self.interest)
    }

    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    /// Wakes the futures that wait to read. The interest stays until input arrives that no future
    /// waits for: mostly the next wait follows soon.
    fn handle_read_event(&mut self, _: &mut EventLoop) -> Result<()> {
        if !self.source.read.wake() {
            self.disarm(Interest::READABLE);
        }
        Ok(())
    }

    fn handle_write_event(&mut self, _: &mut EventLoop) -> Result<()> {
        self.disarm(Interest::WRITABLE);
        self.source.write.wake();
        Ok(())
    }

    fn handle_error(&mut self, _: &mut EventLoop, error: Error) -> Result<()> {
        self.source.failure.replace(Some(error));
        Ok(())
    }

    fn ends_by_hangup(&mut self) -> bool {
        // The next call of each future returns the error.
        self.disarm(Interest::all());
        self.source.wake();
        false
    }

    fn descriptor_lost(&mut self) {
        self.source.lost.set(true);
    }
}

impl Watcher {
    fn disarm(&mut self, interest: Interest) {
        self.interest.remove(interest);
        self.source.armed.set(self.interest);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.source.closed.set(true);
        self.source.wake();
    }
}

impl Source {
    /// Adds the channel of a descriptor to the loop.
    pub(super) fn add(
        executor: &Rc<Executor>,
        event_loop: &mut EventLoop,
        fd: RawFd,
    ) -> Result<Rc<Self>> {
        let source = Rc::new(Self {
            executor: Rc::clone(executor),
            id: Cell::new(None),
            fd,
            read: Direction::default(),
            write: Direction::default(),
            armed: Cell::new(Interest::empty()),
            next_key: Cell::new(1),
            closed: Cell::new(false),
            lost: Cell::new(false),
            failure: RefCell::default(),
        });
        let watcher = Watcher {
            source: Rc::clone(&source),
            interest: Interest::empty(),
        };
        source.id.set(Some(event_loop.add_background(watcher)?));
        Ok(source)
    }

    pub(super) fn id(&self) -> Option<ChannelId<Watcher>> {
        self.id.get()
    }

    fn direction(&self, side: Side) -> &Direction {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
        }
    }

    /// Wakes all waiting futures.
    fn wake(&self) {
        self.read.wake();
        self.write.wake();
    }

    /// Returns a key for a future that removes it with [`forget`](Self::forget).
    pub(super) fn new_key(&self) -> Key {
        let key = self.next_key.get();
        self.next_key.set(key + 1);
        Key(key)
    }

    /// Removes a future from those that wait.
    pub(super) fn forget(&self, side: Side, key: Key) {
        self.direction(side).remove(key);
    }

    /// Has the waker called at the next event.
    #[inline(never)]
    pub(super) fn wait_for(&self, side: Side, key: Key, waker: &Waker) {
        self.direction(side).add(key, waker);
        let interest = side.interest();
        if self.armed.get().contains(interest) {
            return;
        }
        self.armed.set(self.armed.get() | interest);
        let Some(id) = self.id.get() else {
            return;
        };
        self.executor.perform(move |event_loop| {
            if let Some(watcher) = event_loop.get_mut(id) {
                watcher.interest |= interest;
            }
        });
    }

    /// Checks whether a future still waits.
    pub(super) fn is_waiting(&self, side: Side, key: Key) -> bool {
        self.direction(side).has(key)
    }

    /// Waits until a call may succeed.
    // This and `poll_call` are inlined, since each return after a system call is mispredicted.
    #[inline(always)]
    pub(super) fn poll_ready(
        &self,
        side: Side,
        key: Key,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed.get() {
            return Poll::Ready(Err(self.closed_error()));
        }
        if !self.executor.spend() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.direction(side).ready.get() {
            return Poll::Ready(Ok(()));
        }
        self.wait_for(side, key, cx.waker());
        Poll::Pending
    }

    /// Makes a call whenever it may succeed, until it returns something other than `WouldBlock`.
    #[inline(always)]
    pub(super) fn poll_call<R>(
        &self,
        side: Side,
        key: Key,
        cx: &mut Context<'_>,
        mut call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            ready!(self.poll_ready(side, key, cx))?;
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.exhaust(side),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Notes that the next call waits for the descriptor first.
    pub(super) fn exhaust(&self, side: Side) {
        self.direction(side).ready.set(false);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Removes the channel, and then drops the descriptor's owner. Both happen now if the loop can
    /// be reached, and else before the next wait.
    pub(super) fn remove<T: 'static>(&self, owner: T) {
        let id = self.id.get().filter(|_| !self.closed.get());
        let Some(id) = id else {
            return drop(owner);
        };
        self.executor.perform(move |event_loop| {
            // The channel does not own the descriptor, so dropping it cannot fail.
            let _ = event_loop.close(id);
            drop(owner);
        });
    }

    /// Returns the error of a call after the channel has gone.
    #[cold]
    pub(super) fn closed_error(&self) -> io::Error {
        if let Some(failure) = &*self.failure.borrow() {
            return io::Error::new(failure.kind(), failure.to_string());
        }
        let fd = self.fd;
        let message = match self.executor.is_gone() {
            true => format!("fd {fd} cannot be waited for: its loop was dropped"),
            false => format!("fd {fd} cannot be waited for: it was closed; make a new `Async`"),
        };
        Error::misuse(io::ErrorKind::NotConnected, message).into()
    }
}
