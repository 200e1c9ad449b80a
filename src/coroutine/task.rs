//! Tasks: futures that the loop polls, and the handles with which others wait for them.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_task::FallibleTask;
use pin_project_lite::pin_project;

use super::executor::Executor;
use crate::error::{Error, Result};

/// A task that was spawned. Awaiting it returns the output of its future.
///
/// Dropping it cancels the task; [`detach`](JoinHandle::detach) lets the task go on alone. A
/// cancelled task is not polled any more, and the loop drops its future before its next wait.
///
/// # Panics
///
/// If the task has panicked, awaiting it panics with the same message, in the task that awaits.
/// [`joined`](JoinHandle::joined) returns an error instead.
///
/// ```
/// use fdloop::EventLoop;
///
/// let mut event_loop = EventLoop::new()?;
/// let handle = event_loop.handle();
/// let sum = event_loop.block_on(async move {
///     let one = handle.spawn(async { 1 });
///     let two = handle.spawn(async { 2 });
///     one.await + two.await
/// })?;
/// assert_eq!(sum, 3);
/// # Ok::<(), fdloop::Error>(())
/// ```
#[must_use = "dropping it cancels the task: call `detach()` to let it go on"]
pub struct JoinHandle<T> {
    task: FallibleTask<Result<T>>,
}

impl<T> JoinHandle<T> {
    /// Lets the task go on without being awaited.
    pub fn detach(self) {
        self.task.detach();
    }

    /// Cancels the task, and waits until its future is dropped. Returns the output if the task was
    /// done already.
    pub async fn cancel(self) -> Option<T> {
        let output = self.task.cancel().await;
        output.and_then(Result::ok)
    }

    /// Waits for the output of the task.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`] if the task has panicked; `BrokenPipe` if its loop was dropped before
    /// the task was done.
    pub async fn joined(self) -> Result<T> {
        self.task.await.unwrap_or_else(|| Err(ended_early()))
    }

    /// Checks whether the task is done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let output = ready!(Pin::new(&mut self.task).poll(cx));
        match output.unwrap_or_else(|| Err(ended_early())) {
            Ok(output) => Poll::Ready(output),
            Err(error) => resume_unwind(Box::new(error.to_string())),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

#[cold]
fn ended_early() -> Error {
    let message = "the task has no output: its loop was dropped before it was done";
    Error::misuse(io::ErrorKind::BrokenPipe, message)
}

/// The place of a task in the table of its executor.
struct Registration {
    executor: Rc<Executor>,
    key: usize,
    /// True if the task keeps `run` going.
    counts: bool,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let waker = self.executor.tasks.borrow_mut().try_remove(self.key);
        drop(waker);
        if self.counts {
            self.executor.discount();
        }
    }
}

pin_project! {
    /// The future of a task, which becomes an error if it panics.
    struct Body<F> {
        // `None` once it has returned, panicked or been dropped.
        #[pin]
        future: Option<F>,
        registration: Registration,
    }

    impl<F> PinnedDrop for Body<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            drop_future(this.future, this.registration);
        }
    }
}

impl<F: Future> Future for Body<F> {
    type Output = Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(ended_early()));
        };
        let output = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => Ok(ready!(polled)),
            Err(payload) => {
                let error = Error::panicked(&*payload);
                this.registration.executor.panicked(payload);
                Err(error)
            }
        };
        drop_future(this.future, this.registration);
        Poll::Ready(output)
    }
}

/// Drops a future. If its destructor panics, that is a panic of the task.
fn drop_future<F>(mut future: Pin<&mut Option<F>>, registration: &Registration) {
    let dropped = catch_unwind(AssertUnwindSafe(|| future.set(None)));
    if let Err(payload) = dropped {
        registration.executor.panicked(payload);
    }
}

impl Executor {
    /// Makes a task of a future. If `counts`, the task keeps `run` going.
    pub(super) fn spawn<F>(self: &Rc<Self>, future: F, counts: bool) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if counts {
            self.count();
        }
        let registration = Registration {
            executor: Rc::clone(self),
            key: self.tasks.borrow().vacant_key(),
            counts,
        };
        let body = Body {
            future: Some(future),
            registration,
        };
        let queue = Arc::clone(&self.queue);
        let (runnable, task) = async_task::spawn_local(body, move |task| queue.push(task));
        self.tasks.borrow_mut().insert(runnable.waker());
        let task = task.fallible();
        if self.is_gone() {
            // Dropping the runnable drops the future.
            drop(runnable);
        } else {
            runnable.schedule();
        }
        JoinHandle { task }
    }
}
