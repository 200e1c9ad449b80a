//! The timeout of a connection.

use std::io;
use std::time::{Duration, Instant};

use super::Endpoint;
use super::state::{Activity, Phase};
use crate::error::Error;
use crate::sys::hint::rarely;

/// The timeout of a connection, and its timer.
#[derive(Debug)]
pub(super) struct Timeout {
    period: Duration,
    /// The time at which bytes were last received or sent.
    since: Option<Instant>,
    /// The time at which the loop's timer fires. Bytes do not move it: when it fires too early,
    /// it is set again.
    alarm: Option<Instant>,
}

/// The change of the loop's timer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dispatcher) enum Alarm {
    /// None: it fires early enough.
    Keep,
    Set(Duration),
    Clear,
}

impl Endpoint {
    /// Sets the time after which [`handle_timeout`](crate::Handler::handle_timeout) is called if
    /// no bytes were received or sent, `None` for never. By default that ends the channel with
    /// ETIMEDOUT. While a connect is in progress, the time begins anew with each address that is
    /// tried, so that an unreachable one does not hide the others. Resolving a name
    /// ([`connect_by_name`](Endpoint::connect_by_name)) may take that time as well.
    ///
    /// ```
    /// use fdloop::{Dispatcher, EventLoop, Handler, Io, Result, Socket};
    /// use std::time::Duration;
    ///
    /// struct Impatient;
    /// impl Handler for Impatient {
    ///     fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         assert_eq!(io.reason().unwrap().kind(), std::io::ErrorKind::TimedOut);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (ours, _silent) = Socket::pair()?;
    /// let mut channel = Dispatcher::new(ours, Impatient)?;
    /// channel.set_timeout(Some(Duration::from_millis(2)));
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(channel)?;
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        let alarm = self.timeout.take().and_then(|old| old.alarm);
        self.timeout = timeout.map(|period| {
            Box::new(Timeout {
                period,
                since: None,
                alarm,
            })
        });
        self.activity = Activity::Active;
    }

    /// Returns the timeout, if it is set.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.as_ref().map(|timeout| timeout.period)
    }

    /// Notes that bytes were received or sent, or that a connect begins with an address.
    #[inline]
    pub(super) fn note_activity(&mut self) {
        if rarely(self.activity == Activity::Quiet) {
            self.activity = Activity::Active;
        }
    }

    /// Checks whether the timeout begins anew.
    #[inline]
    pub(in crate::dispatcher) fn is_active(&self) -> bool {
        self.activity == Activity::Active
    }

    /// Begins the timeout anew.
    pub(in crate::dispatcher) fn begin_timeout(&mut self, now: Instant) -> Alarm {
        let Some(timeout) = &mut self.timeout else {
            self.activity = Activity::Unwatched;
            return Alarm::Clear;
        };
        self.activity = Activity::Quiet;
        timeout.since = Some(now);
        let end = now.checked_add(timeout.period);
        match (timeout.alarm, end) {
            (Some(alarm), Some(end)) if alarm <= end => Alarm::Keep,
            (Some(_), None) => Alarm::Keep,
            _ => {
                timeout.alarm = end;
                Alarm::Set(timeout.period)
            }
        }
    }

    /// Notes that the loop has no timer for the channel, which may have come from another loop.
    pub(in crate::dispatcher) fn forget_alarm(&mut self) {
        if let Some(timeout) = &mut self.timeout {
            timeout.alarm = None;
            self.activity = Activity::Active;
        }
    }

    /// Handles the loop's timer. Returns the time left, or `None` if the timeout is over.
    pub(in crate::dispatcher) fn end_alarm(&mut self, now: Instant) -> Option<Duration> {
        let timeout = self.timeout.as_mut()?;
        timeout.alarm = None;
        let since = timeout.since?;
        let left = timeout
            .period
            .checked_sub(now.saturating_duration_since(since));
        match left {
            Some(left) if !left.is_zero() => {
                timeout.alarm = now.checked_add(left);
                Some(left)
            }
            _ => {
                // If the handler goes on, the time begins anew.
                self.activity = Activity::Active;
                None
            }
        }
    }

    /// Fails the channel because of its timeout.
    pub(crate) fn fail_by_timeout(&mut self) {
        let period = self.timeout().unwrap_or_default();
        let error = io::Error::from_raw_os_error(libc::ETIMEDOUT);
        let action = match &self.phase {
            Phase::Resolving(naming) => format!("resolve {:?}", naming.name()),
            Phase::Connecting(attempts) => attempts.to_connect(),
            _ => "receive or send".to_owned(),
        };
        let action = format!("{action} within {period:?}");
        self.fail(Error::system(action, Some(self.fd), error));
    }
}
