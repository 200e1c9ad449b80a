//! The handler of the chat, which feeds its input to the coroutine.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::chat::{ChatHandler, ChatIo};
use crate::dispatcher::View;
use crate::error::{Error, Result};
use crate::event_loop::Predicates;

/// Input that is kept before the peer must wait, beside what a piece needs.
pub(super) const AHEAD: usize = 64 * 1024;

/// The state that the coroutine and its channel share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) input: RefCell<VecDeque<u8>>,
    pub(super) ended: Cell<bool>,
    pub(super) closed: Cell<bool>,
    pub(super) failure: RefCell<Option<Error>>,
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn wait(&self, cx: &Context<'_>) {
        let before = self.waker.replace(Some(cx.waker().clone()));
        drop(before);
    }
}

/// The handler of the chat.
pub(super) struct Feeder {
    pub(super) shared: Rc<Shared>,
    /// The length of kept input below which more is received.
    pub(super) wanted: usize,
    pub(super) has_room: bool,
}

impl Feeder {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        Self {
            shared: Rc::clone(shared),
            wanted: AHEAD,
            has_room: true,
        }
    }
}

impl ChatHandler for Feeder {
    fn readable(&self, _: &View<'_>) -> bool {
        self.has_room
    }

    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn collect_incoming_data(&mut self, _: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        let mut input = self.shared.input.borrow_mut();
        input.extend(data);
        self.has_room = input.len() < self.wanted;
        drop(input);
        self.shared.wake();
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }

    fn handle_drain(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        self.shared.wake();
        Ok(())
    }

    /// Leaves the chat open: the coroutine may still push.
    fn handle_eof(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        self.shared.ended.set(true);
        self.shared.wake();
        Ok(())
    }

    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let reason = io.reason().map(|e| Error::other(e.to_string()));
        if let Some(reason) = reason {
            self.shared.failure.replace(Some(reason));
        }
        Ok(())
    }

    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        io.fail(error);
        Ok(())
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.shared.ended.set(true);
        self.shared.closed.set(true);
        self.shared.wake();
    }
}
