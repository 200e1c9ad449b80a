//! The channel over a pidfd.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::table::{self, ChildId};
use crate::error::{Error, Result};
use crate::event_loop::{Channel, EventLoop, Predicates};
use crate::poller::Interest;
use crate::sys::fd;

pub(super) struct PidfdChannel {
    number: RawFd,
    /// `None` once the child was reaped or the descriptor was lost.
    pidfd: Option<OwnedFd>,
    child: ChildId,
}

impl PidfdChannel {
    pub(super) fn new(pidfd: OwnedFd, child: ChildId) -> Self {
        Self {
            number: pidfd.as_raw_fd(),
            pidfd: Some(pidfd),
            child,
        }
    }

    pub(super) fn as_pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}

impl AsRawFd for PidfdChannel {
    fn as_raw_fd(&self) -> RawFd {
        self.number
    }
}

impl Channel for PidfdChannel {
    fn interest(&self, _: &EventLoop) -> Option<Interest> {
        self.pidfd.is_some().then_some(Interest::READABLE)
    }

    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        if table::check(event_loop, self.child) {
            self.pidfd = None;
        }
        Ok(())
    }

    fn descriptor_lost(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            fd::forget(pidfd);
        }
    }

    fn handle_close(&mut self, event_loop: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        if let Some(reason) = reason {
            log::warn!("SIGCHLD reports {:?} from now on: {reason}", self.child);
        }
        let child = self.child;
        event_loop.call_at_end(move |event_loop| {
            table::pidfd_lost(event_loop, child);
            Ok(())
        });
        Ok(())
    }
}
