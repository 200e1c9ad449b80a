//! The children that a loop follows.

use std::io;
use std::process::ExitStatus;

use libc::{c_int, pid_t};

#[cfg(has_pidfd)]
use super::pidfd::PidfdChannel;
use crate::error::{Error, Result};
#[cfg(has_pidfd)]
use crate::event_loop::ChannelId;
use crate::event_loop::{Cancel, EventLoop, Hold, StateId};
use crate::signals::SignalId;
use crate::sys::child;

type Act = Box<dyn FnOnce(&mut EventLoop, Result<ExitStatus>) -> Result<()>>;

/// The id of a child process that a loop follows: [`EventLoop::on_child_exit`] returns it,
/// [`EventLoop::signal_child`] and [`EventLoop::cancel`] take it.
///
/// After the id was cancelled, the loop does not reap the child: the program reaps it, or leaves a
/// zombie until the program ends. (A child that had exited while `act` was still to be called is
/// reaped.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChildId {
    pid: pid_t,
    followed: StateId<Followed>,
}

impl ChildId {
    /// Returns the id of the process. The number is reused after the child was reaped: use
    /// [`signal_child`](EventLoop::signal_child), and not kill(2), to send it a signal.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }
}

/// A child whose callback is to be called.
struct Followed {
    act: Act,
    way: Way,
    /// The outcome, once it is known. The child is then reaped, and the call is due.
    exited: Option<Result<ExitStatus>>,
    _hold: Hold,
}

/// The way in which an exit is reported to the loop.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The child has exited.
    Exited,
    #[cfg(has_pidfd)]
    Pidfd(ChannelId<PidfdChannel>),
    Signal,
}

#[derive(Default)]
struct Children {
    /// The children that were not reaped, in the order of their pids.
    followed: Vec<ChildId>,
    /// The children that were reaped and whose callbacks are still to be called. Their pids are
    /// free.
    due: Vec<ChildId>,
    /// The callback of SIGCHLD, while a child needs it.
    sigchld: Option<SignalId>,
    /// The number of children that need SIGCHLD.
    by_signal: usize,
    /// True once `leave_to_parent` is registered, to be called after fork(2).
    forks: bool,
}

impl Children {
    /// Returns the place of a child that was not reaped, or the place for it.
    fn place(&self, pid: pid_t) -> Result<usize, usize> {
        self.followed.binary_search_by_key(&pid, |id| id.pid)
    }
}

/// Refuses a child that has a callback.
pub(super) fn check_new(event_loop: &mut EventLoop, pid: pid_t) -> Result<()> {
    let children = event_loop.extension::<Children>();
    if children.place(pid).is_err() {
        return Ok(());
    }
    let message = format!(
        "process {pid} has a callback already: a child is reaped once; cancel that one first"
    );
    Err(Error::misuse(io::ErrorKind::AlreadyExists, message))
}

/// Follows a child, which may have exited, with the status that it was then reaped with.
pub(super) fn add(
    event_loop: &mut EventLoop,
    pid: pid_t,
    exited: Option<ExitStatus>,
    act: Act,
) -> Result<ChildId> {
    let followed = Followed {
        act,
        way: Way::Exited,
        exited: None,
        _hold: event_loop.hold(),
    };
    let followed = event_loop.keep(followed);
    let id = ChildId { pid, followed };
    let children = event_loop.extension::<Children>();
    match children.place(pid) {
        Ok(place) => children.followed[place] = id,
        Err(place) => children.followed.insert(place, id),
    }
    if !std::mem::replace(&mut children.forks, true) {
        event_loop.at_fork(leave_to_parent);
    }
    match exited {
        Some(status) => finish(event_loop, id, Ok(status)),
        None => {
            if let Err(error) = follow(event_loop, id) {
                event_loop.cancel(id);
                return Err(error);
            }
        }
    }
    Ok(id)
}

fn follow(event_loop: &mut EventLoop, id: ChildId) -> Result<()> {
    // Fails with ENOSYS before Linux 5.3, with EPERM in some containers, and when the
    // process has too many descriptors.
    #[cfg(has_pidfd)]
    if let Ok(pidfd) = child::open_pidfd(id.pid) {
        if let Ok(channel) = event_loop.add_own(PidfdChannel::new(pidfd, id)) {
            if let Some(followed) = event_loop.state_mut(id.followed) {
                followed.way = Way::Pidfd(channel);
            }
            return Ok(());
        }
    }
    follow_by_signal(event_loop, id)
}

/// Follows a child with SIGCHLD, since other code has closed its descriptor.
#[cfg(has_pidfd)]
pub(super) fn pidfd_lost(event_loop: &mut EventLoop, id: ChildId) {
    if let Err(error) = follow_by_signal(event_loop, id) {
        finish(event_loop, id, Err(error));
    }
}

/// Follows a child with SIGCHLD.
fn follow_by_signal(event_loop: &mut EventLoop, id: ChildId) -> Result<()> {
    let Some(followed) = event_loop.state_mut(id.followed) else {
        return Ok(());
    };
    if followed.exited.is_some() {
        return Ok(());
    }
    followed.way = Way::Exited;
    if event_loop.extension::<Children>().sigchld.is_none() {
        let sigchld = event_loop.on_signal(libc::SIGCHLD, |event_loop, _| {
            check_all(event_loop);
            Ok(())
        })?;
        event_loop.extension::<Children>().sigchld = Some(sigchld);
    }
    event_loop.extension::<Children>().by_signal += 1;
    if let Some(followed) = event_loop.state_mut(id.followed) {
        followed.way = Way::Signal;
    }
    // It may have exited before the signal was followed.
    check(event_loop, id);
    Ok(())
}

/// Checks each child that has no descriptor. SIGCHLD does not tell which have exited: signals of
/// several children are one.
fn check_all(event_loop: &mut EventLoop) {
    let all = event_loop.extension::<Children>().followed.clone();
    for id in all {
        let followed = event_loop.state(id.followed);
        if followed.is_some_and(|followed| matches!(followed.way, Way::Signal)) {
            check(event_loop, id);
        }
    }
}

/// Reaps a child if it has exited, and has its callback called at the end of the pass. Returns true
/// if nothing is left to wait for.
pub(super) fn check(event_loop: &mut EventLoop, id: ChildId) -> bool {
    if event_loop
        .state(id.followed)
        .is_none_or(|followed| followed.exited.is_some())
    {
        return true;
    }
    let exited = match child::try_wait(id.pid) {
        Ok(None) => return false,
        Ok(Some(status)) => Ok(status),
        Err(error) => {
            let action = format!("learn the exit status of process {}", id.pid);
            let advice = "other code has reaped the child, or the process ignores SIGCHLD: leave \
                          the children of the loop to it";
            Err(Error::system(action, None, error).advise(advice))
        }
    };
    finish(event_loop, id, exited);
    true
}

/// Records the outcome, and has the callback called.
fn finish(event_loop: &mut EventLoop, id: ChildId, exited: Result<ExitStatus>) {
    let Some(followed) = event_loop.state_mut(id.followed) else {
        return;
    };
    followed.exited = Some(exited);
    let way = std::mem::replace(&mut followed.way, Way::Exited);
    // The pid may belong to another child from now on.
    release(event_loop, id, way);
    event_loop.extension::<Children>().due.push(id);
    event_loop.call_at_end(move |event_loop| {
        let due = &mut event_loop.extension::<Children>().due;
        due.retain(|other| *other != id);
        let Some(followed) = event_loop.take(id.followed) else {
            return Ok(());
        };
        let Followed {
            act,
            exited: Some(exited),
            ..
        } = followed
        else {
            return Ok(());
        };
        event_loop.call_free(
            format_args!("the callback of the child process {}", id.pid),
            |event_loop| act(event_loop, exited),
        )
    });
}

/// Gives up the pidfd or the SIGCHLD with which the loop follows a child.
fn release(event_loop: &mut EventLoop, id: ChildId, way: Way) {
    let children = event_loop.extension::<Children>();
    if let Ok(place) = children.place(id.pid) {
        if children.followed[place] == id {
            children.followed.remove(place);
        }
    }
    match way {
        Way::Exited => {}
        // Closes itself when it finds the child reaped. Closed here, if the child was cancelled.
        #[cfg(has_pidfd)]
        Way::Pidfd(channel) => {
            event_loop.remove(channel);
        }
        Way::Signal => {
            children.by_signal -= 1;
            let unused = children.by_signal == 0;
            let sigchld = children.sigchld.take_if(|_| unused);
            if let Some(sigchld) = sigchld {
                event_loop.cancel(sigchld);
            }
        }
    }
}

impl Cancel for ChildId {
    fn cancel(self, event_loop: &mut EventLoop) -> bool {
        let Some(followed) = event_loop.take(self.followed) else {
            return false;
        };
        release(event_loop, self, followed.way);
        true
    }
}

pub(super) fn send_signal(event_loop: &mut EventLoop, id: ChildId, signal: c_int) -> Result<bool> {
    let Some(followed) = event_loop.state(id.followed) else {
        return Ok(false);
    };
    if followed.exited.is_some() {
        return Ok(false);
    }
    #[cfg(has_pidfd)]
    let pidfd = match followed.way {
        Way::Pidfd(channel) => event_loop.get(channel).and_then(PidfdChannel::as_pidfd),
        _ => None,
    };
    #[cfg(not(has_pidfd))]
    let pidfd = None;
    match child::send_signal(id.pid, pidfd, signal) {
        Ok(()) => Ok(true),
        // Other code has reaped the child.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => {
            let action = format!("send signal {signal} to process {}", id.pid);
            Err(Error::system(action, None, error))
        }
    }
}

/// Drops all callbacks in a process that was forked: the children are its parent's.
fn leave_to_parent(event_loop: &mut EventLoop) {
    let children = event_loop.extension::<Children>();
    let mut all = std::mem::take(&mut children.due);
    all.extend_from_slice(&children.followed);
    for id in all {
        event_loop.cancel(id);
    }
}
