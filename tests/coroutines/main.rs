//! Coroutines: tasks, time, descriptors, and coroutines beside channels.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod connecting;
mod conversations;
mod descriptors;
mod fairness;
mod mixing;
mod panics;
#[cfg(feature = "signals")]
mod signals;
mod tasks;
mod threads;
mod time;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

/// Counts the values that are alive.
#[derive(Clone, Default)]
struct Alive(Rc<Cell<usize>>);

struct Living(Alive);

impl Alive {
    fn one(&self) -> Living {
        self.0.set(self.0.get() + 1);
        Living(self.clone())
    }

    fn count(&self) -> usize {
        self.0.get()
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let Alive(count) = &self.0;
        count.set(count.get() - 1);
    }
}

/// Lets other tasks run once.
fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
