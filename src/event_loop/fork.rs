//! A loop in a child process that was made by fork(2).

use super::EventLoop;
use super::pass::Errand;
use crate::error::{Error, Result};

impl EventLoop {
    /// Gives a child process that was made by fork(2) a loop of its own: call it in the child,
    /// before anything else is done with the loop. The channels, timers and callbacks are copies,
    /// and so are the remotes of the thread that forked: from then on they reach the child's loop,
    /// and no longer that of the parent. Calls that had not been made are left to the parent, and
    /// so are signals that the loop had not reported, and all of its child processes. A loop over
    /// epoll(7), which keeps state in the kernel, gets a set of its own.
    ///
    /// Descriptors are shared with the parent. The child closes the channels that only the parent
    /// is to serve. A channel of your own whose descriptor cannot be shared implements
    /// [`Channel::after_fork`](crate::Channel::after_fork).
    ///
    /// # Errors
    ///
    /// The first error of a channel's [`after_fork`](crate::Channel::after_fork); those of making
    /// the descriptors of the poller, of remotes and signals, such as EMFILE. Every channel is
    /// called in any case.
    pub fn after_fork(&mut self) -> Result<()> {
        let mut result = Ok(());
        self.calls.clear();
        for key in self.watches.keys() {
            let mut renewed = Ok(());
            let visited = self.visit(
                key,
                Errand::With(&mut |channel, event_loop| {
                    renewed = channel.after_fork(event_loop);
                    Ok(())
                }),
            );
            result = result.and(visited).and(renewed);
        }
        for hook in self.forks.clone() {
            hook(self);
        }
        // After the channels, which may have put other files under their numbers.
        let prepared = self.poller.after_fork();
        result.and(prepared.map_err(|e| Error::system("make a loop of the child's own", None, e)))
    }

    /// Has `hook` called by [`after_fork`](EventLoop::after_fork).
    #[cfg(feature = "children")]
    pub(crate) fn at_fork(&mut self, hook: fn(&mut EventLoop)) {
        self.forks.push(hook);
    }
}
