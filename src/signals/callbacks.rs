//! The callbacks of a loop's signals.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use libc::c_int;

use super::channel::SignalChannel;
use super::info::SignalInfo;
use crate::error::{Error, Result};
use crate::event_loop::{Cancel, ChannelId, EventLoop, StateId};
use crate::sys::signal::{Caught, Mailbox, catch};

pub(super) type Callback = Box<dyn FnMut(&mut EventLoop, SignalInfo) -> Result<()>>;

/// The id of a signal's callback: [`EventLoop::on_signal`] returns it, and [`EventLoop::cancel`]
/// takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignalId {
    signal: c_int,
    /// `None` while the callback runs.
    callback: StateId<Option<Callback>>,
}

/// The signals that a loop follows. Each has a callback.
#[derive(Default)]
struct Signals {
    /// In the order of their numbers.
    followed: Vec<Followed>,
    /// `None` if no signal is followed, or the descriptor was lost and cannot be made anew.
    source: Option<Source>,
}

impl Signals {
    /// Returns the place of a signal, or the place for it.
    fn place(&self, signal: c_int) -> Result<usize, usize> {
        self.followed.binary_search_by_key(&signal, |it| it.signal)
    }

    fn get_mut(&mut self, signal: c_int) -> Option<&mut Followed> {
        let place = self.place(signal).ok()?;
        self.followed.get_mut(place)
    }
}

struct Followed {
    signal: c_int,
    /// The callbacks, in the order in which they are called.
    callbacks: Vec<SignalId>,
    /// `None` if the loop has no source of signals.
    caught: Option<Caught>,
}

struct Source {
    mailbox: Arc<Mailbox>,
    channel: ChannelId<SignalChannel>,
}

/// Makes the source that brings signals to the loop, unless it exists, and catches the signals that
/// are followed.
fn connect(event_loop: &mut EventLoop) -> Result<Arc<Mailbox>> {
    if let Some(source) = &event_loop.extension::<Signals>().source {
        return Ok(Arc::clone(&source.mailbox));
    }
    let mailbox = Mailbox::new().map_err(|e| Error::system("follow signals", None, e))?;
    let mailbox = Arc::new(mailbox);
    let channel = event_loop.add_own(SignalChannel(Arc::clone(&mailbox)))?;
    let signals = event_loop.extension::<Signals>();
    signals.source = Some(Source {
        mailbox: Arc::clone(&mailbox),
        channel,
    });
    for followed in &mut signals.followed {
        followed.caught = Some(catch_into(followed.signal, &mailbox)?);
    }
    Ok(mailbox)
}

fn catch_into(signal: c_int, mailbox: &Arc<Mailbox>) -> Result<Caught> {
    let caught = catch(signal, Arc::clone(mailbox));
    caught.map_err(|e| Error::system(format!("catch signal {signal}"), None, e))
}

/// Adds a callback, and the source if the loop has none.
pub(super) fn add(event_loop: &mut EventLoop, signal: c_int, act: Callback) -> Result<SignalId> {
    let mailbox = connect(event_loop)?;
    if let Err(place) = event_loop.extension::<Signals>().place(signal) {
        let caught = match catch_into(signal, &mailbox) {
            Ok(caught) => Some(caught),
            Err(error) => {
                end_if_unused(event_loop);
                return Err(error);
            }
        };
        let callbacks = Vec::new();
        let followed = Followed {
            signal,
            callbacks,
            caught,
        };
        let signals = event_loop.extension::<Signals>();
        signals.followed.insert(place, followed);
    }
    let callback = event_loop.keep(Some(act));
    let id = SignalId { signal, callback };
    let signals = event_loop.extension::<Signals>();
    if let Some(followed) = signals.get_mut(signal) {
        followed.callbacks.push(id);
    }
    Ok(id)
}

impl Cancel for SignalId {
    fn cancel(self, event_loop: &mut EventLoop) -> bool {
        let Some(callback) = event_loop.take(self.callback) else {
            return false;
        };
        let signals = event_loop.extension::<Signals>();
        if let Ok(place) = signals.place(self.signal) {
            let followed = &mut signals.followed[place];
            followed.callbacks.retain(|id| *id != self);
            if followed.callbacks.is_empty() {
                signals.followed.remove(place);
            }
        }
        end_if_unused(event_loop);
        // The callback's destructor is the program's.
        drop(callback);
        true
    }
}

/// Gives up the descriptor if no signal is followed.
fn end_if_unused(event_loop: &mut EventLoop) {
    let signals = event_loop.extension::<Signals>();
    if !signals.followed.is_empty() {
        return;
    }
    if let Some(source) = signals.source.take() {
        event_loop.remove(source.channel);
    }
}

/// Has the callbacks of the signals in `mailbox` called at the end of the pass.
pub(super) fn schedule(event_loop: &mut EventLoop, mailbox: &Mailbox) {
    let mut calls = Vec::new();
    for followed in &event_loop.extension::<Signals>().followed {
        if let Some(origin) = mailbox.take(followed.signal) {
            let info = SignalInfo::new(followed.signal, origin);
            calls.extend(followed.callbacks.iter().map(|id| (*id, info)));
        }
    }
    for (id, info) in calls {
        event_loop.call_at_end(move |event_loop| call(event_loop, id, info));
    }
}

/// Calls a callback, unless it was cancelled.
fn call(event_loop: &mut EventLoop, id: SignalId, info: SignalInfo) -> Result<()> {
    let callback = event_loop.state_mut(id.callback).and_then(Option::take);
    let Some(mut callback) = callback else {
        return Ok(());
    };
    let result = match catch_unwind(AssertUnwindSafe(|| callback(event_loop, info))) {
        Ok(result) => {
            if let Some(kept) = event_loop.state_mut(id.callback) {
                *kept = Some(callback);
            }
            result
        }
        Err(panic) => {
            event_loop.cancel(id);
            if !event_loop.catches_panics() {
                resume_unwind(panic);
            }
            Err(Error::panicked(&*panic))
        }
    };
    event_loop.call_free(format_args!("a callback of {info}"), |_| result)
}

/// Makes a descriptor in place of the one of `old`, which other code has closed.
pub(super) fn reconnect(event_loop: &mut EventLoop, old: &Arc<Mailbox>) -> Result<()> {
    let signals = event_loop.extension::<Signals>();
    let current = signals
        .source
        .take_if(|source| Arc::ptr_eq(&source.mailbox, old));
    if current.is_none() {
        return Ok(());
    }
    for followed in &mut signals.followed {
        followed.caught = None;
    }
    // The signals that arrived while nothing woke the loop.
    schedule(event_loop, old);
    connect(event_loop).map(drop)
}
