//! Functions that the loop calls before its next wait, whenever they are requested.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};

use super::EventLoop;
use super::remote::Remote;
use crate::error::{Error, Result};

type Act = Box<dyn FnMut(&mut EventLoop) -> Result<()>>;

/// Requests calls of a function of the loop: [`EventLoop::defer`] returns it. It is `Send` and
/// `Sync`, and cheap to clone. When the last clone is dropped, the loop drops the function.
#[derive(Clone)]
pub struct Deferred(Arc<Request>);

struct Request {
    /// True while the function is to be called.
    due: AtomicBool,
    /// The thread of the loop, whose own requests need no wake.
    owner: ThreadId,
    /// `None` until the descriptor that wakes the loop could be made.
    remote: OnceLock<Remote>,
}

impl Deferred {
    /// Has the loop call the function once, before its next wait. Requests made before that call
    /// count as one.
    ///
    /// In the loop's own thread this makes no system call. A request from another thread wakes the
    /// loop as a [`Remote`] does. Does nothing if the loop was dropped.
    pub fn request(&self) {
        if self.0.due.swap(true, Ordering::AcqRel) {
            return;
        }
        if thread::current().id() == self.0.owner {
            return;
        }
        if let Some(remote) = self.0.remote.get() {
            if let Err(error) = remote.wake() {
                log::debug!("a call that was requested is not made: {error}");
            }
        }
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("due", &self.0.due)
            .finish_non_exhaustive()
    }
}

/// The functions of a loop. A program has one or two.
#[derive(Default)]
pub(super) struct Functions {
    all: Vec<Function>,
    /// True once an attempt to make the descriptor that wakes the loop has failed, which was
    /// logged.
    complained: bool,
}

struct Function {
    request: Arc<Request>,
    /// `None` while the function runs.
    act: Option<Act>,
}

impl Functions {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Checks whether there is something to do before the next wait.
    #[inline]
    pub(super) fn are_needed(&self) -> bool {
        self.complained || self.are_due()
    }

    /// Checks whether a function is to be called.
    #[inline]
    pub(super) fn are_due(&self) -> bool {
        !self.all.is_empty() && self.any_is_due()
    }

    /// Not inlined: with the search in its path, a pass of a loop without such functions takes 34
    /// instructions more (callgrind).
    #[cold]
    #[inline(never)]
    fn any_is_due(&self) -> bool {
        self.all.iter().any(Function::is_due)
    }
}

impl Function {
    #[inline]
    fn is_due(&self) -> bool {
        self.request.due.load(Ordering::Acquire)
    }

    /// Checks whether no further call can be requested.
    fn is_over(&self) -> bool {
        !self.is_due() && self.act.is_some() && Arc::strong_count(&self.request) == 1
    }
}

impl EventLoop {
    /// Makes `act` a function that the loop calls before its next wait whenever the returned value
    /// [requests](Deferred::request) it, from any thread: for a library that collects work while
    /// handlers run and does it all together, such as an executor of coroutines.
    ///
    /// The loop does not wait while a call is requested. A [turn](EventLoop::turn) that has made
    /// one does not wait either, so that its caller can check for changes. Each pass makes a
    /// requested call once, so that a function which requests itself does not keep descriptors
    /// waiting. Errors and panics of `act` are treated as those of a
    /// [timer](EventLoop::call_later). It does not keep [`run`](EventLoop::run) going; a
    /// [`hold`](EventLoop::hold) does.
    ///
    /// The first call makes the descriptor of [`remote`](EventLoop::remote). If that fails, the
    /// loop logs the error and tries again in each pass; until then, requests of other threads are
    /// noticed late.
    ///
    /// ```
    /// use fdloop::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let calls = event_loop.keep(0);
    /// let count = event_loop.defer(move |event_loop| {
    ///     *event_loop.state_mut(calls).unwrap() += 1;
    ///     Ok(())
    /// });
    /// std::thread::spawn(move || count.request());
    /// while event_loop.state(calls) == Some(&0) {
    ///     event_loop.turn(None)?;
    /// }
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn defer(&mut self, act: impl FnMut(&mut Self) -> Result<()> + 'static) -> Deferred {
        let request = Arc::new(Request {
            due: AtomicBool::new(false),
            owner: thread::current().id(),
            remote: OnceLock::new(),
        });
        self.deferred.all.retain(|function| !function.is_over());
        self.deferred.all.push(Function {
            request: Arc::clone(&request),
            act: Some(Box::new(act)),
        });
        self.connect_deferred();
        Deferred(request)
    }

    /// Gives each deferred function a way to wake the loop, unless it has one.
    fn connect_deferred(&mut self) {
        if let Err(error) = self.try_connect_deferred() {
            if !self.deferred.complained {
                self.deferred.complained = true;
                log::error!("other threads cannot wake the loop: {error}; trying again");
            }
        }
    }

    fn try_connect_deferred(&mut self) -> Result<()> {
        for at in 0..self.deferred.all.len() {
            if self.deferred.all[at].request.remote.get().is_none() {
                let remote = self.remote()?;
                // A failure means that the function has one already.
                let _ = self.deferred.all[at].request.remote.set(remote);
            }
        }
        Ok(())
    }

    /// Makes the requested calls. Returns true if there were any.
    #[inline(never)]
    pub(super) fn call_deferred(&mut self) -> Result<bool> {
        let mut called = false;
        for at in 0..self.deferred.all.len() {
            let Some(function) = self.deferred.all.get_mut(at) else {
                break;
            };
            if !function.is_due() {
                continue;
            }
            let Some(act) = function.act.take() else {
                continue;
            };
            function.request.due.store(false, Ordering::Release);
            let request = Arc::clone(&function.request);
            self.call_one_deferred(request, act)?;
            called = true;
        }
        if self.deferred.complained && self.try_connect_deferred().is_ok() {
            self.deferred.complained = false;
        }
        Ok(called)
    }

    fn call_one_deferred(&mut self, request: Arc<Request>, mut act: Act) -> Result<()> {
        let called = catch_unwind(AssertUnwindSafe(|| act(self)));
        // The function may have deferred others, and so moved this entry.
        let mut all = self.deferred.all.iter_mut();
        if let Some(function) = all.find(|function| Arc::ptr_eq(&function.request, &request)) {
            function.act = Some(act);
        }
        let catches = self.catch_panics;
        self.call_free("a deferred function", |_| match called {
            Ok(result) => result,
            Err(panic) if catches => Err(Error::panicked(&*panic)),
            Err(panic) => resume_unwind(panic),
        })
    }
}
