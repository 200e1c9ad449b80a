//! Signals as callbacks of a loop.

mod callbacks;
mod channel;
mod info;

pub use callbacks::SignalId;
pub use info::{Sender, SignalInfo};

use std::io;

use libc::c_int;

use crate::error::{Error, Result};
use crate::event_loop::EventLoop;

impl EventLoop {
    /// Calls `act` each time that the process gets `signal`, until it is
    /// [cancelled](EventLoop::cancel), on the loop's thread and at the end of a pass. Several
    /// callbacks of a signal are called in the order in which they were added, and each loop of the
    /// process calls its own.
    ///
    /// Like the kernel, the loop keeps no count: signals that arrive before the loop checks for
    /// them cause one call, with the [`SignalInfo`] of the last one. A signal that arrives later
    /// causes another call, so each signal is followed by a call that began after it.
    ///
    /// A signal does not keep [`run`](EventLoop::run) going. Errors of `act` are treated as those
    /// of a [timer](EventLoop::call_later), and a callback that panics is cancelled.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.on_signal(libc::SIGHUP, |event_loop, info| {
    ///     let sender = info.sender().map(|sender| sender.pid());
    ///     println!("process {sender:?} asks to read the configuration again");
    ///     event_loop.stop();
    ///     Ok(())
    /// })?;
    /// let pid = std::process::id().to_string();
    /// Command::new("kill").args(["-s", "HUP", &pid]).status()?;
    /// event_loop.call_later(Duration::from_secs(60), |_| Err("no signal came".into()));
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # The process
    ///
    /// The first callback of a signal in a process installs a handler for it, also if the process
    /// ignored the signal. A handler that was there before is called as well. System calls of other
    /// threads are restarted where the system supports that (SA_RESTART), and errno is kept.
    ///
    /// A program may be started with blocked signals, which never arrive. So the first callback of
    /// a signal in a loop unblocks it in the loop's thread. Other threads keep their masks.
    ///
    /// The handler stays: after the last callback was cancelled or its loop dropped, **the signal
    /// does nothing**, and its default action does not come back. A program that still wants to be
    /// ended by SIGTERM then keeps a callback, which may call [`SignalInfo::perform_default`].
    ///
    /// Code that installs a handler of its own afterwards, and does not call the one it found,
    /// takes the signal away.
    ///
    /// Programs that are started get the default action: exec(2) resets signals that have a
    /// handler, and nothing is blocked. The first callback of a loop makes one descriptor, an
    /// eventfd on Linux and elsewhere a pipe. A child made by fork(2) calls
    /// [`after_fork`](EventLoop::after_fork).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `signal` is SIGKILL or SIGSTOP, which cannot be caught; if a fault of the
    /// program itself raises it (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP); or if the signal does
    /// not exist. Else the errors of making the descriptor, such as EMFILE.
    pub fn on_signal(
        &mut self,
        signal: c_int,
        act: impl FnMut(&mut Self, SignalInfo) -> Result<()> + 'static,
    ) -> Result<SignalId> {
        check_signal(signal)?;
        callbacks::add(self, signal, Box::new(act))
    }

    /// Calls [`stop`](EventLoop::stop) when the process gets one of `signals`: for a server, mostly
    /// SIGINT and SIGTERM. [`Ended::Stopped`](crate::Ended::Stopped) is then the reason for which
    /// [`run`](EventLoop::run) returned.
    ///
    /// More signals that arrive while the program shuts down have no further effect. So a signal
    /// that is sent twice, as some supervisors and shells do, does not interrupt the shutdown.
    ///
    /// ```no_run
    /// use fdloop::{Dispatcher, EventLoop, Handler};
    ///
    /// struct Server;
    /// impl Handler for Server {}
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.stop_on(&[libc::SIGINT, libc::SIGTERM])?;
    /// event_loop.add(Dispatcher::listen("127.0.0.1:8080", Server)?)?;
    /// event_loop.run()?; // until a signal
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`on_signal`](EventLoop::on_signal). The signals before the one that failed stop the
    /// loop all the same.
    pub fn stop_on(&mut self, signals: &[c_int]) -> Result<()> {
        for signal in signals {
            self.on_signal(*signal, |event_loop, _| {
                event_loop.stop();
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Refuses signals that cannot be caught, or not by a callback.
fn check_signal(signal: c_int) -> Result<()> {
    let why = match signal {
        libc::SIGKILL | libc::SIGSTOP => "no program can catch it",
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP => {
            "a fault of the program itself raises it, and happens again if a handler returns"
        }
        _ => return Ok(()),
    };
    let name = info::name(signal).unwrap_or("it");
    let message = format!("{name} (signal {signal}) cannot have a callback: {why}");
    Err(Error::misuse(io::ErrorKind::InvalidInput, message))
}
