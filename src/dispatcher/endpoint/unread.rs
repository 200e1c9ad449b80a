//! Input that is pending when the connection is lost: the close waits until it is read.

use std::io;

use super::super::link::Link;
use super::Endpoint;
use super::state::{Ending, Flow, Input, Phase};
use crate::error::Error;

impl Endpoint {
    /// Sets whether pending input is read to its end before a failed send closes the channel,
    /// even if `readable` returns false at that time. (If it returns true, the input is read
    /// in any case.)
    ///
    /// This is for a channel that stops reading for a while, such as one half of a forwarder
    /// while the other half is congested. A channel that never reads again would never end.
    pub fn set_keep_unread(&mut self, keep: bool) {
        self.keeps_unread = keep;
    }

    /// Checks whether pending input is to be read even if `readable` returns false.
    pub(in crate::dispatcher) fn keeps_unread(&self) -> bool {
        self.keeps_unread
    }

    /// Checks whether the connection is lost for sending.
    pub(in crate::dispatcher) fn is_broken(&self) -> bool {
        self.flow == Flow::Broken
    }

    /// Checks whether the peer had closed its side in order before the send failed.
    pub(super) fn is_broken_pipe(&self) -> bool {
        let reason = self.reason.as_ref();
        reason.is_none_or(|reason| reason.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Checks whether input may be pending although a send failed.
    pub(in crate::dispatcher) fn may_have_unread(&self) -> bool {
        self.is_broken() && !self.input_ended() && self.link.as_ref().is_some_and(Link::has_unread)
    }

    /// Puts off a due close until pending input is read.
    pub(in crate::dispatcher) fn put_off_close(&mut self) {
        if self.ending == Ending::Due {
            self.ending = Ending::No;
        }
    }

    /// Ends a read event of a channel whose close was put off until its input is read: if the
    /// handler did not receive, the channel closes now.
    pub(in crate::dispatcher) fn end_unread(&mut self) {
        if self.is_broken() && self.ending == Ending::No && !self.received {
            self.input = Input::Over;
            self.make_close_due();
        }
    }

    /// Checks whether a reset may still arrive after the end of the input. No read would
    /// report it.
    pub(in crate::dispatcher) fn may_still_be_reset(&self) -> bool {
        matches!(self.phase, Phase::Connected)
            && self.input_ended()
            && self.link.as_ref().is_some_and(Link::outlives_input)
    }

    /// Handles a hang-up of the peer while the channel does not read. Returns true if it ends
    /// the channel now, and false if input is pending that may be read later.
    pub(in crate::dispatcher) fn ends_by_hangup(&mut self) -> bool {
        if !self.is_established() {
            return true;
        }
        if self.may_still_be_reset() {
            if let Some(error) = self.link.as_mut().and_then(Link::take_error) {
                let error = Error::system("keep the connection", Some(self.fd), error);
                self.reason.get_or_insert(error);
            }
        }
        if self.has_output() {
            self.lose_output();
        } else {
            self.break_output();
        }
        let ends = !self.may_have_unread();
        if ends {
            self.make_close_due();
        } else {
            self.put_off_close();
        }
        ends
    }

    /// Fails the channel because the peer can no longer read the pending output. select(2)
    /// does not report this.
    pub(super) fn lose_output(&mut self) {
        let gone = io::Error::from_raw_os_error(libc::EPIPE);
        self.break_output();
        self.fail(Error::system("write", Some(self.fd), gone));
    }
}
