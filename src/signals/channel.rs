//! The channel that reports signals to a loop.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use super::callbacks;
use crate::error::{Error, Result};
use crate::event_loop::{Channel, EventLoop, Predicates};
use crate::sys::signal::Mailbox;

pub(super) struct SignalChannel(pub(super) Arc<Mailbox>);

impl AsRawFd for SignalChannel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Channel for SignalChannel {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        self.0.clear();
        callbacks::schedule(event_loop, &self.0);
        Ok(())
    }

    fn descriptor_lost(&mut self) {
        self.0.lose();
    }

    fn handle_close(&mut self, event_loop: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        if let Some(reason) = reason {
            log::warn!("the descriptor of the loop's signals is made anew: {reason}");
        }
        let old = Arc::clone(&self.0);
        // The channel, and so its number, is in the map until this method has returned.
        event_loop.call_at_end(move |event_loop| {
            let reconnected = callbacks::reconnect(event_loop, &old);
            event_loop.call_free("making the descriptor of signals anew", |_| reconnected)
        });
        Ok(())
    }

    fn after_fork(&mut self, _: &mut EventLoop) -> Result<()> {
        let renewed = self.0.after_fork();
        renewed.map_err(|e| Error::system("follow signals", Some(self.as_raw_fd()), e))
    }
}
