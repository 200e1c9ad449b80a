//! The executor: a queue of tasks that are to be polled, and the loop that it lends to them.
//!
//! Tasks are polled together, in a deferred function of the loop. A future has no reference to
//! the loop that polls it, so meanwhile the loop is lent to a place that futures reach through
//! their handle.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use async_task::Runnable;
use slab::Slab;

use super::handle::MainWaker;
use crate::error::{Error, Result};
use crate::event_loop::{Deferred, EventLoop, Hold};
use crate::sys::lend::{Lend, Refusal};

/// The number of operations that a task may complete without waiting, before it must let others
/// run.
const BUDGET: u32 = 64;

/// A change of the loop, requested while the loop could not be reached.
type Operation = Box<dyn FnOnce(&mut EventLoop)>;

/// The tasks that are to be polled. Shared with the wakers of all tasks, in any thread.
#[derive(Default)]
pub(super) struct Queue {
    ready: Mutex<VecDeque<Runnable>>,
    deferred: OnceLock<Deferred>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Runnable>> {
        // Nothing panics while it is locked.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a task for the loop to poll.
    pub(super) fn push(&self, task: Runnable) {
        let mut ready = self.lock();
        let first = ready.is_empty();
        ready.push_back(task);
        drop(ready);
        // Else the call that has put the first task there requests this.
        if first {
            self.request();
        }
    }

    /// Has the loop call the executor.
    pub(super) fn request(&self) {
        if let Some(deferred) = self.deferred.get() {
            deferred.request();
        }
    }
}

/// The executor of a loop. The loop owns it; handles, tasks and what they wait for share it.
pub(super) struct Executor {
    pub(super) queue: Arc<Queue>,
    /// The loop while futures are polled.
    place: Lend<EventLoop>,
    /// True once the loop was dropped.
    gone: Cell<bool>,
    operations: RefCell<Vec<Operation>>,
    /// The wakers of the tasks whose futures exist.
    pub(super) tasks: RefCell<Slab<Waker>>,
    /// The number of tasks that keep `run` going.
    counted: Cell<usize>,
    hold: RefCell<Option<Hold>>,
    /// The panic of the task that is being polled.
    panic: Cell<Option<Box<dyn Any + Send>>>,
    budget: Cell<u32>,
    /// The waker of the future of `block_on`, which is polled before each pass.
    pub(super) main: RefCell<Option<Arc<MainWaker>>>,
    /// The tasks that are polled in this pass. Empty between passes.
    batch: RefCell<VecDeque<Runnable>>,
}

/// The loop's reference to its executor.
#[derive(Default)]
pub(super) struct Owner(Option<Rc<Executor>>);

impl Drop for Owner {
    /// Drops the futures of all tasks.
    fn drop(&mut self) {
        if let Some(executor) = &self.0 {
            executor.gone.set(true);
            executor.shut_down();
        }
    }
}

const AWAY: &str = "a handle reaches its loop only while a future of that loop is polled: in a \
                    handler use `io.event_loop()`, and outside the loop itself";

const NESTED: &str = "the loop is lent to a function that is running: return from that first";

impl Executor {
    /// Returns the executor of a loop.
    pub(super) fn of(event_loop: &mut EventLoop) -> Rc<Self> {
        if let Some(executor) = &event_loop.extension::<Owner>().0 {
            return Rc::clone(executor);
        }
        let executor = Rc::new(Self {
            queue: Arc::default(),
            place: Lend::new(),
            gone: Cell::new(false),
            operations: RefCell::default(),
            tasks: RefCell::default(),
            counted: Cell::new(0),
            hold: RefCell::default(),
            panic: Cell::default(),
            budget: Cell::new(BUDGET),
            main: RefCell::default(),
            batch: RefCell::default(),
        });
        let weak = Rc::downgrade(&executor);
        let deferred = event_loop.defer(move |event_loop| match weak.upgrade() {
            Some(executor) => executor.run(event_loop),
            None => Ok(()),
        });
        // The executor is set once, here.
        let _ = executor.queue.deferred.set(deferred);
        event_loop.extension::<Owner>().0 = Some(Rc::clone(&executor));
        executor
    }

    // --- polling ------------------------------------------------------------------

    /// Polls the woken tasks. Tasks that are woken meanwhile are polled in the next pass.
    ///
    /// Inlined with the two functions that it calls: each return from a task is mispredicted, since
    /// the task has made system calls.
    #[inline(always)]
    fn run(&self, event_loop: &mut EventLoop) -> Result<()> {
        let catches = event_loop.catches_panics();
        let panic = self.lend_to(event_loop, || self.run_tasks(catches))?;
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        if self.is_main_woken() {
            // The loop must not wait before that future is polled.
            self.queue.request();
        }
        Ok(())
    }

    /// Performs the requested operations, and polls each woken task once. Returns a panic that must
    /// leave the loop; the tasks that are left are then in the queue again.
    #[inline(always)]
    fn run_tasks(&self, catches: bool) -> Option<Box<dyn Any + Send>> {
        self.perform_all();
        mem::swap(&mut *self.queue.lock(), &mut *self.batch.borrow_mut());
        let mut panic = self.take_panic(catches);
        while panic.is_none() {
            let Some(task) = self.next_task() else {
                break;
            };
            self.budget.set(BUDGET);
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| task.run())) {
                self.panicked(payload);
            }
            panic = self.take_panic(catches);
        }
        self.perform_all();
        panic = panic.or_else(|| self.take_panic(catches));
        if panic.is_some() {
            // Dropping the loop looks for each woken task in the queue.
            let mut queue = self.queue.lock();
            while let Some(task) = self.batch.borrow_mut().pop_back() {
                queue.push_front(task);
            }
            drop(queue);
            self.queue.request();
        }
        panic
    }

    fn next_task(&self) -> Option<Runnable> {
        self.batch.borrow_mut().pop_front()
    }

    /// Calls `poll` while futures can reach the loop.
    pub(super) fn lend<R>(
        &self,
        event_loop: &mut EventLoop,
        poll: impl FnOnce() -> R,
    ) -> Result<R> {
        let catches = event_loop.catches_panics();
        let result = self.lend_to(event_loop, || {
            self.budget.set(BUDGET);
            let result = poll();
            self.perform_all();
            result
        })?;
        match self.take_panic(catches) {
            Some(payload) => resume_unwind(payload),
            None => Ok(result),
        }
    }

    #[inline(always)]
    fn lend_to<R>(&self, event_loop: &mut EventLoop, act: impl FnOnce() -> R) -> Result<R> {
        let lent = self.place.lend(event_loop, act);
        if self.gone.get() {
            // A future has dropped its own loop, or put another one in its place.
            self.shut_down();
        }
        lent.map_err(|_| Error::misuse(io::ErrorKind::Unsupported, NESTED))
    }

    fn is_main_woken(&self) -> bool {
        let main = self.main.borrow();
        main.as_ref().is_some_and(|main| main.is_woken())
    }

    /// Takes the panic of a task or an operation, which is logged instead if the loop catches it.
    #[inline]
    fn take_panic(&self, catches: bool) -> Option<Box<dyn Any + Send>> {
        let payload = self.panic.take()?;
        if catches {
            log::error!("uncaptured error of a task: {}", Error::panicked(&*payload));
            return None;
        }
        Some(payload)
    }

    /// Records the panic of the task that is being polled.
    pub(super) fn panicked(&self, payload: Box<dyn Any + Send>) {
        self.panic.set(Some(payload));
    }

    /// Counts an operation that can be completed without waiting. Returns false once in a while:
    /// the task must then let others run.
    pub(super) fn spend(&self) -> bool {
        match self.budget.get().checked_sub(1) {
            Some(left) => {
                self.budget.set(left);
                true
            }
            // A future that another executor polls gets a new budget too.
            None => {
                self.budget.set(BUDGET);
                false
            }
        }
    }

    // --- the loop -----------------------------------------------------------------

    /// Calls `act` with the loop.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the loop is not lent, `BrokenPipe` if it was dropped.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut EventLoop) -> R) -> Result<R> {
        if self.gone.get() {
            return Err(gone());
        }
        self.place.reach(act).map_err(|refusal| {
            let message = match refusal {
                Refusal::Empty => AWAY,
                Refusal::Busy => NESTED,
            };
            Error::misuse(io::ErrorKind::Unsupported, message)
        })
    }

    /// Calls `act` with the loop, now or before the next wait. Drops it if the loop is gone.
    pub(super) fn perform(&self, act: impl FnOnce(&mut EventLoop) + 'static) {
        if self.gone.get() {
            return;
        }
        let mut act = Some(act);
        let _ = self.place.reach(|event_loop| {
            if let Some(act) = act.take() {
                act(event_loop);
            }
        });
        if let Some(act) = act {
            self.operations.borrow_mut().push(Box::new(act));
            self.queue.request();
        }
    }

    /// Performs the requested operations.
    #[inline]
    fn perform_all(&self) {
        if !self.operations.borrow().is_empty() {
            self.perform_some();
        }
    }

    /// Performs operations, of which there are some. One may drop a value of the program's, whose
    /// destructor may panic: the other operations are performed nevertheless.
    #[inline(never)]
    fn perform_some(&self) {
        let operations = mem::take(&mut *self.operations.borrow_mut());
        for operation in operations {
            match catch_unwind(AssertUnwindSafe(|| self.with(operation))) {
                Ok(performed) => debug_assert!(performed.is_ok() || self.gone.get()),
                Err(payload) => self.panicked(payload),
            }
        }
    }

    /// Returns the loop's time.
    pub(super) fn now(&self) -> Instant {
        let now = self.with(|event_loop| event_loop.now());
        now.unwrap_or_else(|_| Instant::now())
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    // --- the tasks ----------------------------------------------------------------

    /// Counts a task that keeps `run` going.
    pub(super) fn count(self: &Rc<Self>) {
        if self.counted.replace(self.counted.get() + 1) > 0 {
            return;
        }
        let executor = Rc::clone(self);
        self.perform(move |event_loop| {
            if executor.counted.get() > 0 {
                executor.hold.replace(Some(event_loop.hold()));
            }
        });
    }

    /// Ends the count of a task.
    pub(super) fn discount(&self) {
        self.counted.set(self.counted.get() - 1);
        if self.counted.get() == 0 {
            self.hold.take();
        }
    }

    /// Drops a value of the program's together with the loop. If its destructor panics, that is
    /// logged.
    fn drop_of_program(&self, value: impl Sized) {
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(value)));
        if let Some(payload) = dropped.err().or_else(|| self.panic.take()) {
            let error = Error::panicked(&*payload);
            log::error!("while a task was dropped with its loop: {error}");
        }
    }

    /// Drops the futures of all tasks. Each leaves the table when it is dropped.
    fn shut_down(&self) {
        if self.place.is_lent() {
            // The running task, which has dropped the loop, does this when it returns.
            return;
        }
        loop {
            for operation in mem::take(&mut *self.operations.borrow_mut()) {
                self.drop_of_program(operation);
            }
            let wakers: Vec<_> = self.tasks.borrow().iter().map(|(_, w)| w.clone()).collect();
            for waker in wakers {
                waker.wake();
            }
            let mut batch = mem::take(&mut *self.queue.lock());
            let idle = batch.is_empty();
            while let Some(task) = batch.pop_front() {
                self.drop_of_program(task);
            }
            if self.tasks.borrow().is_empty() {
                break;
            }
            if idle {
                // Another thread has woken a task, and is about to put it into the queue.
                thread::yield_now();
            }
        }
    }
}

/// Returns the error of a handle whose loop was dropped.
#[cold]
pub(super) fn gone() -> Error {
    let message = "the loop of this handle is gone: it was dropped";
    Error::misuse(io::ErrorKind::BrokenPipe, message)
}
