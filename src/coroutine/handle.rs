//! The way from a future to its loop.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::executor::{Executor, Queue};
use super::sleep::{Interval, Sleep};
use super::task::JoinHandle;
use crate::error::{Error, Result};
use crate::event_loop::EventLoop;

/// A handle of a loop, for use inside futures: [`EventLoop::handle`] returns it. It is cheap to
/// clone, and stays in the thread of its loop; other threads use a [`Remote`](crate::Remote).
///
/// ```
/// use fdloop::EventLoop;
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new()?;
/// let handle = event_loop.handle();
/// event_loop.block_on(async move {
///     let slow = handle.sleep(Duration::from_secs(3600));
///     let in_time = handle.timeout(Duration::from_millis(5), slow).await;
///     assert_eq!(in_time.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
/// })?;
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle(pub(super) Rc<Executor>);

impl Handle {
    /// Makes a task of `future`: see [`EventLoop::spawn`]. Also works in handlers of channels. If
    /// the loop was dropped, the future is dropped, and the task ends without output.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.0.spawn(future, true)
    }

    /// Makes a task that does not keep [`run`](EventLoop::run) going: see
    /// [`EventLoop::spawn_background`].
    pub fn spawn_background<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.0.spawn(future, false)
    }

    /// Calls `act` with the loop, to reach its channels, its timers and the state that it keeps.
    /// The loop is reached while one of its tasks, or the future of [`EventLoop::block_on`], is
    /// polled. Within `act`, handles do not reach it a second time.
    ///
    /// ```
    /// use fdloop::{AsyncChat, ChatHandler, ChatIo, EventLoop, Result, Socket};
    ///
    /// struct Silent;
    /// impl ChatHandler for Silent {
    ///     fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (ours, theirs) = Socket::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let chat = event_loop.add(AsyncChat::new(ours, Silent)?)?;
    /// let handle = event_loop.handle();
    /// event_loop.block_on(async move {
    ///     handle.with(|event_loop| {
    ///         event_loop.with(chat, |chat, _| chat.push("from a coroutine\n"))
    ///     })?
    /// })??;
    /// # drop(theirs);
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Unsupported` outside of futures of this loop, such as in a handler, which has
    /// [`Io::event_loop`](crate::Io::event_loop), and within another `act`; `BrokenPipe` if the
    /// loop was dropped.
    pub fn with<R>(&self, act: impl FnOnce(&mut EventLoop) -> R) -> Result<R> {
        self.0.with(act)
    }

    /// Returns a future that is ready `delay` from now, by the clock of the loop. With a delay past
    /// the end of the clock, it is never ready.
    pub fn sleep(&self, delay: Duration) -> Sleep {
        Sleep::lasting(Rc::clone(&self.0), delay)
    }

    /// Returns a future that is ready at `time`.
    pub fn sleep_until(&self, time: Instant) -> Sleep {
        Sleep::until(Rc::clone(&self.0), Some(time))
    }

    /// Returns ticks that are `period` apart, the first of them one `period` from now.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.block_on(async move {
    ///     let mut ticks = handle.interval(Duration::from_millis(1));
    ///     for _ in 0..3 {
    ///         ticks.tick().await;
    ///     }
    /// })?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn interval(&self, period: Duration) -> Interval {
        Interval::new(Rc::clone(&self.0), period)
    }

    /// Waits for `future`, but not longer than `limit`: after that it is dropped.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the future was not done in time.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output> {
        let mut sleep = self.sleep(limit);
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            pin!(&mut sleep).poll(cx).map(|()| {
                let message = format!("the future was not done within {limit:?}");
                Err(Error::misuse(io::ErrorKind::TimedOut, message))
            })
        })
        .await
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("gone", &self.0.is_gone())
            .finish_non_exhaustive()
    }
}

/// Has `block_on` poll its future.
pub(super) struct MainWaker {
    woken: AtomicBool,
    queue: Arc<Queue>,
}

impl MainWaker {
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.queue.request();
        }
    }
}

/// The future of `block_on`, which counts as a task.
struct Main(Rc<Executor>);

impl Main {
    fn begin(executor: Rc<Executor>, waker: Arc<MainWaker>) -> Self {
        executor.count();
        executor.main.replace(Some(waker));
        Self(executor)
    }
}

impl Drop for Main {
    fn drop(&mut self) {
        self.0.main.take();
        self.0.discount();
    }
}

impl EventLoop {
    /// Returns a handle for use inside futures. The first call makes the descriptor of
    /// [`remote`](EventLoop::remote), through which other threads wake tasks.
    #[must_use]
    pub fn handle(&mut self) -> Handle {
        Handle(Executor::of(self))
    }

    /// Makes a task of `future`. The loop polls it from now on, beside its channels. The future
    /// need not be `Send`. Woken tasks are polled together, each once a pass, before the wait.
    ///
    /// The task keeps [`run`](EventLoop::run) going until it is done. Dropping the returned handle
    /// cancels it.
    ///
    /// A panic of the future passes through the loop. The other tasks go on when the loop runs
    /// again. If the loop [catches panics](crate::Builder::catch_panics), the panic is logged. A
    /// task that awaits the handle panics in both cases, or gets an error: see
    /// [`JoinHandle::joined`].
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// for number in 1..=3 {
    ///     let handle = handle.clone();
    ///     let task = event_loop.spawn(async move {
    ///         handle.sleep(Duration::from_millis(number)).await;
    ///         println!("task {number}");
    ///     });
    ///     task.detach();
    /// }
    /// event_loop.run()?; // until all are done
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn spawn<F>(&mut self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        Executor::of(self).spawn(future, true)
    }

    /// Makes a task as [`spawn`](EventLoop::spawn) does, which does not keep
    /// [`run`](EventLoop::run) going: for a task without an end of its own.
    pub fn spawn_background<F>(&mut self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        Executor::of(self).spawn(future, false)
    }

    /// Runs the loop, its tasks and channels included, until `future` is done, and returns its
    /// output. The future may borrow what its caller owns.
    ///
    /// # Errors
    ///
    /// `Interrupted` if the loop was [stopped](EventLoop::stop) before; else as for
    /// [`turn`](EventLoop::turn). The future is dropped.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output> {
        self.check_not_in_pass()?;
        let executor = Executor::of(self);
        let mut future = pin!(future);
        let main = Arc::new(MainWaker {
            woken: AtomicBool::new(true),
            queue: Arc::clone(&executor.queue),
        });
        let waker = Waker::from(Arc::clone(&main));
        let _main = Main::begin(Rc::clone(&executor), Arc::clone(&main));
        let mut output = None;
        let mut failure = None;
        self.run_until(|event_loop| {
            if main.is_woken() && main.woken.swap(false, Ordering::AcqRel) {
                let mut cx = Context::from_waker(&waker);
                let polled = executor.lend(event_loop, || future.as_mut().poll(&mut cx));
                match polled {
                    Ok(Poll::Pending) => {}
                    Ok(Poll::Ready(done)) => output = Some(done),
                    Err(error) => failure = Some(error),
                }
            }
            output.is_some() || failure.is_some()
        })?;
        match (output, failure) {
            (Some(output), _) => Ok(output),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Error::misuse(
                io::ErrorKind::Interrupted,
                "the loop was stopped before the future was done",
            )),
        }
    }
}
