//! Waiting for a time.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::executor::Executor;
use crate::event_loop::TimerId;

/// A future that is ready at a time: [`Handle::sleep`](crate::Handle::sleep) and
/// [`Handle::sleep_until`](crate::Handle::sleep_until) return it. From its first poll on, it is a
/// timer of the loop.
#[must_use = "it waits when it is awaited"]
pub struct Sleep {
    executor: Rc<Executor>,
    /// `None` for a time past the end of the clock.
    at: Option<Instant>,
    alarm: Option<Rc<Alarm>>,
}

/// The state that a future and its timer share.
struct Alarm {
    rung: Cell<bool>,
    waker: RefCell<Waker>,
    timer: Cell<Option<TimerId>>,
}

impl Sleep {
    pub(super) fn until(executor: Rc<Executor>, at: Option<Instant>) -> Self {
        let alarm = None;
        Self {
            executor,
            at,
            alarm,
        }
    }

    pub(super) fn lasting(executor: Rc<Executor>, delay: Duration) -> Self {
        let at = executor.now().checked_add(delay);
        Self::until(executor, at)
    }

    fn begin(&mut self, cx: &Context<'_>) {
        let Some(at) = self.at else {
            return;
        };
        let alarm = Rc::new(Alarm {
            rung: Cell::new(false),
            waker: RefCell::new(cx.waker().clone()),
            timer: Cell::new(None),
        });
        self.alarm = Some(Rc::clone(&alarm));
        self.executor.perform(move |event_loop| {
            if Rc::strong_count(&alarm) == 1 {
                // The future was dropped meanwhile.
                return;
            }
            let ring = Rc::clone(&alarm);
            let timer = event_loop.call_at(at, move |_| {
                ring.rung.set(true);
                ring.timer.set(None);
                let waker = ring.waker.replace(Waker::noop().clone());
                waker.wake();
                Ok(())
            });
            alarm.timer.set(Some(timer));
        });
    }

    /// Cancels the timer.
    fn end(&mut self) {
        if let Some(timer) = self.alarm.take().and_then(|alarm| alarm.timer.take()) {
            self.executor.perform(move |event_loop| {
                event_loop.cancel(timer);
            });
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.alarm {
            Some(alarm) if alarm.rung.get() => return Poll::Ready(()),
            Some(alarm) => {
                let is_known = alarm.waker.borrow().will_wake(cx.waker());
                if !is_known {
                    drop(alarm.waker.replace(cx.waker().clone()));
                }
            }
            None => self.begin(cx),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// Ticks at regular times: [`Handle::interval`](crate::Handle::interval) returns it. It is also a
/// stream without end.
#[must_use = "it waits when a tick is awaited"]
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
}

impl Interval {
    pub(super) fn new(executor: Rc<Executor>, period: Duration) -> Self {
        // Shorter periods would keep the loop busy.
        let period = period.max(Duration::from_nanos(1));
        let sleep = Sleep::lasting(executor, period);
        Self { sleep, period }
    }

    /// Waits for the next tick. Several missed ticks count as one.
    pub async fn tick(&mut self) {
        std::future::poll_fn(|cx| self.poll_tick(cx)).await;
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let executor = Rc::clone(&self.sleep.executor);
        let next = self.sleep.at.and_then(|at| {
            let now = executor.now().max(at);
            // The time since the last tick that was due.
            let over = now.duration_since(at).as_nanos() % self.period.as_nanos();
            let over = Duration::from_nanos(u64::try_from(over).unwrap_or(0));
            now.checked_add(self.period.saturating_sub(over))
        });
        self.sleep = Sleep::until(executor, next);
        Poll::Ready(())
    }
}

impl Stream for Interval {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.poll_tick(cx).map(Some)
    }
}
