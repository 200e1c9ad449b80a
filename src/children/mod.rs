//! Child processes: callbacks for their exits.

#[cfg(has_pidfd)]
mod pidfd;
mod process;
mod table;

pub use process::IntoChild;
pub use table::ChildId;

use std::io;
use std::process::ExitStatus;

use libc::c_int;

use crate::error::{Error, Result};
use crate::event_loop::EventLoop;

impl EventLoop {
    /// Calls `act` when a child process has exited, with its [`ExitStatus`], which also tells the
    /// signal that ended it. The loop reaps the child, and no other: children that it does not
    /// follow are left to the code that started them.
    ///
    /// `child` is a [`Child`](std::process::Child) or the id of one. Until `act` was called or
    /// [cancelled](EventLoop::cancel), the child keeps [`run`](EventLoop::run) going. Errors and
    /// panics of `act` are treated as those of a [timer](EventLoop::call_later).
    ///
    /// ```
    /// use fdloop::{EventLoop, FileDispatcher, Handler, Io, Result};
    /// use std::process::{Command, Stdio};
    ///
    /// /// Needs no events of its own: it only writes what it was given.
    /// struct Input;
    /// impl Handler for Input {}
    ///
    /// struct Output(Vec<u8>);
    /// impl Handler for Output {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 4096];
    ///         let n = io.recv(&mut buf)?;
    ///         self.0.extend_from_slice(&buf[..n]);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut command = Command::new("tr");
    /// command.args(["a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    /// let mut child = command.spawn()?;
    /// let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let mut input = FileDispatcher::writer(stdin, Input)?;
    /// input.send(b"hello")?;
    /// input.close_when_done(); // which is the end of the child's input
    /// event_loop.add(input)?;
    /// let output = event_loop.add(FileDispatcher::reader(stdout, Output(Vec::new()))?)?;
    /// let status = event_loop.keep(None);
    /// event_loop.on_child_exit(child, move |event_loop, exit| {
    ///     *event_loop.state_mut(status).unwrap() = Some(exit?);
    ///     Ok(())
    /// })?;
    /// let output = event_loop.run_until_closed(output)?.unwrap();
    /// event_loop.run()?; // until the child has exited as well
    /// assert_eq!(output.handler().0, b"HELLO");
    /// assert!(event_loop.take(status).flatten().unwrap().success());
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # The child's streams
    ///
    /// `stdin`, `stdout` and `stderr` that are still in the `Child` are closed at once. A child is
    /// then never blocked on a pipe that the program holds and does not serve: it finds the end of
    /// its input, and EPIPE or SIGPIPE if it writes. Take the streams that you use out of the
    /// `Child` before, as above, and give them to a [`FileDispatcher`](crate::FileDispatcher) by
    /// value.
    ///
    /// The exit may be reported before the last output was read. If the child has left its output
    /// to another process, the output may go on after the exit. A program that needs both waits for
    /// both. To end the output with the child, call
    /// [`end_input_when_empty`](crate::Endpoint::end_input_when_empty): everything that the child
    /// has written is read before the end.
    ///
    /// # Implementation
    ///
    /// On Linux a pidfd reports the exit, one descriptor for each child. Elsewhere, and where the
    /// kernel refuses a pidfd or no descriptor is left, SIGCHLD reports the exit
    /// ([`on_signal`](EventLoop::on_signal)), and each SIGCHLD costs a waitpid(2) for every such
    /// child. Children belong to the process that started them: after fork(2),
    /// [`after_fork`](EventLoop::after_fork) drops the callbacks in the child process.
    ///
    /// # Errors
    ///
    /// `NotFound` if `child` is not a child of this process, or was reaped; `AlreadyExists` if it
    /// has a callback already; `InvalidInput` if the id is not positive. With SIGCHLD, those of
    /// [`on_signal`](EventLoop::on_signal). The child goes on, and is not reaped: keep its
    /// [`id`](std::process::Child::id) if you need it then.
    ///
    /// `act` gets an error instead of a status if the exit status was lost: other code has reaped
    /// the child, or the process ignores SIGCHLD, so that the kernel has reaped it. The `errno` of
    /// the error is ECHILD.
    pub fn on_child_exit(
        &mut self,
        mut child: impl IntoChild,
        act: impl FnOnce(&mut Self, Result<ExitStatus>) -> Result<()> + 'static,
    ) -> Result<ChildId> {
        let pid = child.pid();
        if pid <= 0 {
            let message = "the id of a child process is positive: pass a `Child`, or its `id()`";
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        }
        table::check_new(self, pid)?;
        let exited = child.try_wait().map_err(|e| refused(pid, e))?;
        // Closes its streams.
        drop(child);
        table::add(self, pid, exited, Box::new(act))
    }

    /// Sends a signal to a child that the loop follows. Returns false, and sends nothing, if it has
    /// exited or its callback was cancelled, so that no other process can get the signal instead.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let child = Command::new("sleep").arg("3600").spawn()?;
    /// let child = event_loop.on_child_exit(child, |_, status| {
    ///     assert_eq!(status?.signal(), Some(libc::SIGTERM));
    ///     Ok(())
    /// })?;
    /// event_loop.call_later(Duration::from_millis(10), move |event_loop| {
    ///     event_loop.signal_child(child, libc::SIGTERM)?;
    ///     Ok(())
    /// });
    /// event_loop.run()?;
    /// assert!(!event_loop.signal_child(child, libc::SIGTERM)?);
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the signal does not exist; `PermissionDenied` if the child has another
    /// user.
    pub fn signal_child(&mut self, id: ChildId, signal: c_int) -> Result<bool> {
        table::send_signal(self, id, signal)
    }
}

/// Returns the error for a process that is not a child.
fn refused(pid: libc::pid_t, error: io::Error) -> Error {
    if error.raw_os_error() != Some(libc::ECHILD) {
        return Error::system(format!("wait for process {pid}"), None, error);
    }
    let message = format!(
        "process {pid} is not a child of this process, or was reaped already: give a child to the \
         loop before anything waits for it"
    );
    Error::misuse(io::ErrorKind::NotFound, message)
}
