//! The futures that wait for a descriptor.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::coroutine::source::{Key, Side, Source};

/// The place of a future among those that wait for a descriptor, which it gives up when dropped.
pub(super) struct Wait<'a> {
    source: &'a Source,
    side: Side,
    key: Key,
}

impl<'a> Wait<'a> {
    pub(super) fn new(source: &'a Source, side: Side) -> Self {
        let key = source.new_key();
        Self { source, side, key }
    }

    pub(super) fn poll_call<R>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.source.poll_call(self.side, self.key, cx, call)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.source.forget(self.side, self.key);
    }
}

/// The next event of a descriptor.
pub(super) struct Event<'a> {
    wait: Wait<'a>,
    begun: bool,
}

impl<'a> Event<'a> {
    pub(super) fn new(source: &'a Source, side: Side) -> Self {
        let wait = Wait::new(source, side);
        let begun = false;
        Self { wait, begun }
    }
}

impl Future for Event<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Wait { source, side, key } = self.wait;
        if source.is_closed() {
            return Poll::Ready(Err(source.closed_error()));
        }
        // An event removes all waiting futures from their places.
        if self.begun && !source.is_waiting(side, key) {
            return Poll::Ready(Ok(()));
        }
        self.begun = true;
        source.wait_for(side, key, cx.waker());
        Poll::Pending
    }
}
