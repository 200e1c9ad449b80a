//! Acts on the errors of channels' methods.

use super::EventLoop;
use super::channel::Channel;
use super::watch::Life;
use crate::error::{Effect, Error, Result};

impl EventLoop {
    /// Deals with the error of a channel's method: see [`Error`]. Returns the exit error
    /// and no other.
    #[inline]
    pub(super) fn police(&mut self, channel: &mut dyn Channel, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.police_error(channel, Source::Event, error),
        }
    }

    /// Ends a channel: calls its `handle_close`, after which it is removed.
    #[cold]
    pub(super) fn end(&mut self, channel: &mut dyn Channel, reason: Option<Error>) -> Result<()> {
        match self.close_down(channel, reason) {
            Ok(()) => Ok(()),
            Err(error) => self.police_error(channel, Source::Close, error),
        }
    }

    /// The one place that decides what becomes of an error. Each of the calls that an
    /// error leads to may fail as well, so this goes on until one succeeds or none is left.
    #[cold]
    fn police_error(
        &mut self,
        channel: &mut dyn Channel,
        mut source: Source,
        mut error: Error,
    ) -> Result<()> {
        loop {
            let own = |error: &Error| source == Source::Event && channel.is_own_end(error);
            let effect = error.effect(own);
            let (next, result) = match source {
                _ if effect == Effect::Exit => return Err(error),
                _ if effect == Effect::Nothing => return Ok(()),
                Source::Event if self.is_serving_over() => {
                    let fd = self.serving.map_or(-1, |key| key.fd);
                    log::error!("after the end of the channel of fd {fd}: {error}");
                    return Ok(());
                }
                Source::Event if effect == Effect::End => {
                    (Source::Close, self.close_down(channel, Some(error)))
                }
                Source::Event => (Source::ErrorHandler, channel.handle_error(self, error)),
                Source::ErrorHandler => {
                    let fd = channel.as_raw_fd();
                    log::error!("uncaptured error, closing the channel of fd {fd}: {error}");
                    (Source::Last, self.close_down(channel, Some(error)))
                }
                Source::Close => (Source::Last, channel.handle_error(self, error)),
                Source::Last => {
                    log::error!("uncaptured error while closing: {error}");
                    return Ok(());
                }
            };
            match result {
                Ok(()) => return Ok(()),
                Err(another) => (source, error) = (next, another),
            }
        }
    }

    /// Calls `handle_close`, unless that was called, and has the channel removed afterwards.
    fn close_down(&mut self, channel: &mut dyn Channel, reason: Option<Error>) -> Result<()> {
        let key = self.serving;
        let first = key.is_none_or(|key| self.begin_end(key, Life::Ending));
        let closed = if first {
            channel.handle_close(self, reason)
        } else {
            Ok(())
        };
        if let Some(key) = key {
            self.doom(key);
        }
        closed
    }
}

/// The method that an error came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// That of an event, or any other but the following.
    Event,
    /// `handle_error`: the channel ends.
    ErrorHandler,
    /// `handle_close`: the error is reported.
    Close,
    /// The last that there is to call.
    Last,
}
