//! One value that a function of the loop gives to a future.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

pub(super) struct Slot<T>(Rc<RefCell<State<T>>>);

enum State<T> {
    Empty(Waker),
    Full(T),
}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        let empty = State::Empty(Waker::noop().clone());
        Self(Rc::new(RefCell::new(empty)))
    }

    pub(super) fn put(&self, value: T) {
        let before = self.0.replace(State::Full(value));
        if let State::Empty(waker) = before {
            waker.wake();
        }
    }

    /// Waits for the value, and takes it.
    pub(super) async fn take(&self) -> T {
        poll_fn(|cx| {
            let empty = State::Empty(cx.waker().clone());
            match self.0.replace(empty) {
                State::Full(value) => Poll::Ready(value),
                State::Empty(_) => Poll::Pending,
            }
        })
        .await
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}
