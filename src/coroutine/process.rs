//! Signals and child processes in futures.

use std::ffi::c_int;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::handle::Handle;
use super::queue::{QueueReceiver, queue};
use super::slot::Registered;
use crate::error::Result;
use crate::signals::SignalInfo;

/// The signals of a number that the process gets: [`Handle::on_signal`] returns it. It is also a
/// stream without end. Signals that come before the stream is polled count as one.
#[derive(Debug)]
pub struct Signals {
    receiver: QueueReceiver<SignalInfo>,
    _registered: Registered,
}

impl Signals {
    /// Waits for the next signal. Returns `None` if the loop was dropped.
    pub async fn next(&mut self) -> Option<SignalInfo> {
        self.receiver.next().await
    }
}

impl Stream for Signals {
    type Item = SignalInfo;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SignalInfo>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}

impl Handle {
    /// Returns the signals `signal` that the process gets from now on: see
    /// [`EventLoop::on_signal`](crate::EventLoop::on_signal).
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::process::Command;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.block_on(async move {
    ///     let mut hangups = handle.on_signal(libc::SIGHUP)?;
    ///     let pid = std::process::id().to_string();
    ///     Command::new("kill").args(["-s", "HUP", &pid]).status()?;
    ///     assert_eq!(hangups.next().await.unwrap().signal(), libc::SIGHUP);
    ///     Ok::<_, fdloop::Error>(())
    /// })??;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::on_signal`](crate::EventLoop::on_signal) and [`Handle::with`].
    pub fn on_signal(&self, signal: c_int) -> Result<Signals> {
        let (sender, receiver) = queue(1);
        let id = self.with(|event_loop| {
            event_loop.on_signal(signal, move |_, info| {
                // A signal is waiting already.
                let _ = sender.push(info);
                Ok(())
            })
        })??;
        Ok(Signals {
            receiver,
            _registered: Registered::new(self, id),
        })
    }

    /// Waits until a child process has ended: see
    /// [`EventLoop::on_child_exit`](crate::EventLoop::on_child_exit). Dropping the future leaves
    /// the child running.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::process::Command;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let status = event_loop.block_on(async move {
    ///     let child = Command::new("sh").args(["-c", "exit 7"]).spawn()?;
    ///     handle.child_exit(child).await
    /// })??;
    /// assert_eq!(status.code(), Some(7));
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::on_child_exit`](crate::EventLoop::on_child_exit) and [`Handle::with`].
    #[cfg(feature = "children")]
    pub async fn child_exit(
        &self,
        child: impl crate::children::IntoChild,
    ) -> Result<std::process::ExitStatus> {
        let slot = super::slot::Slot::new();
        let full = slot.clone();
        let id = self.with(|event_loop| {
            event_loop.on_child_exit(child, move |_, status| {
                full.put(status);
                Ok(())
            })
        })??;
        let _registered = Registered::new(self, id);
        slot.take().await
    }
}
