//! One value, passed from a function of the loop to a future.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::handle::Handle;
use crate::event_loop::Cancel;

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

/// Something that was registered with the loop, and is cancelled when this is dropped.
pub(super) struct Registered(Option<Box<dyn FnOnce()>>);

impl Registered {
    pub(super) fn new(handle: &Handle, id: impl Cancel + 'static) -> Self {
        let executor = Rc::clone(&handle.0);
        Self(Some(Box::new(move || {
            executor.perform(move |event_loop| {
                event_loop.cancel(id);
            });
        })))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(cancel) = self.0.take() {
            cancel();
        }
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registered")
    }
}
