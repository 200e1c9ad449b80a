//! Moving input to another endpoint's output within the kernel.

use std::io;

use super::super::link::Link;
use super::super::transport::Passage;
use super::Endpoint;
use super::state::{Congestion, Flow, Input, Phase};
use crate::error::{Error, Result};
use crate::sys::{fd, splice};

/// The outcome of an attempt to move bytes.
pub(in crate::dispatcher) enum Moved {
    /// The number of bytes that were moved, at least 1.
    Bytes(usize),
    /// Nothing was moved: the input has nothing yet, or the output has no room.
    Nothing,
    /// Nothing was moved: receive and send instead, which also find the end and the errors.
    NotHere,
}

impl Endpoint {
    /// Moves at most `most` bytes of the input to `output`, if both sides allow it.
    pub(in crate::dispatcher) fn splice_to(
        &mut self,
        output: &mut Self,
        most: usize,
    ) -> Result<Moved> {
        let (Some(from), Some(to)) = (self.input_passage(), output.output_passage()) else {
            return Ok(Moved::NotHere);
        };
        // splice(2) needs a pipe on one side at least.
        if self.cannot_splice || (from != Passage::Pipe && to != Passage::Pipe) {
            return Ok(Moved::NotHere);
        }
        let (Some(source), Some(sink)) = (
            self.link.as_ref().and_then(Link::as_fd),
            output.link.as_ref().and_then(Link::as_fd),
        ) else {
            return Ok(Moved::NotHere);
        };
        self.received = true;
        match splice::splice(source, sink, most) {
            // The end of the input, which a receive finds.
            Ok(0) => Ok(Moved::NotHere),
            Ok(n) => {
                self.note_activity();
                output.note_activity();
                Ok(Moved::Bytes(n))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Moved::Nothing),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !fd::is_writable(sink) {
                    output.wait_until_writable();
                }
                Ok(Moved::Nothing)
            }
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                let error = Error::system("write", Some(output.fd), error);
                output.send_failed(error)?;
                Ok(Moved::Nothing)
            }
            // The call has taken the pending error of a socket.
            Err(error) if crate::error::is_disconnected(&error) && from == Passage::Stream => {
                let error = Error::system("receive", Some(self.fd), error);
                self.lost(error)?;
                Ok(Moved::Nothing)
            }
            // splice(2) does not take such files. If it is an error of one side, that side reports
            // it again.
            Err(_) => {
                self.cannot_splice = true;
                Ok(Moved::NotHere)
            }
        }
    }

    /// Returns the way in which the kernel can move input, if the next bytes are those of the
    /// descriptor.
    fn input_passage(&self) -> Option<Passage> {
        if !matches!(self.phase, Phase::Connected) || self.input != Input::Open {
            return None;
        }
        self.link.as_ref()?.passage()
    }

    /// Returns the way in which the kernel can move output, if nothing is to be written before it.
    fn output_passage(&self) -> Option<Passage> {
        let is_ready = matches!(self.phase, Phase::Connected)
            && self.flow == Flow::Clear
            && !self.will_close()
            && !self.output_ended;
        // A send on a socket raises no SIGPIPE, and splice(2) might.
        let passage = self.link.as_ref()?.passage();
        passage.filter(|passage| is_ready && *passage != Passage::Stream)
    }

    /// Makes the output congested until there is room, although nothing is pending.
    fn wait_until_writable(&mut self) {
        // The channel has a buffer: the next write event finds that nothing is pending.
        if self.outlet.buffer_mut().is_some() {
            self.flow = Flow::Waiting;
            self.congestion = Congestion::Congested;
        }
    }
}
