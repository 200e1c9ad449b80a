//! Reaching a loop from other threads.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::EventLoop;
use super::calls::Call;
use super::channel::{Channel, Predicates};
use crate::error::{Error, Result};
use crate::sys::wake::Waker;

/// A handle with which other threads reach a loop: [`EventLoop::remote`] returns it. It is `Send`
/// and `Sync`, and cheap to clone.
///
/// The loop learns of calls and wakes through a descriptor. Many of them cost one write.
///
/// ```
/// use fdloop::{EventLoop, Remote};
///
/// let mut event_loop = EventLoop::new()?;
/// let sum = event_loop.keep(0);
/// let remote: Remote = event_loop.remote()?;
/// let worker = std::thread::spawn(move || {
///     for number in 1..=4 {
///         remote.call(move |event_loop| {
///             *event_loop.state_mut(sum).unwrap() += number;
///             Ok(())
///         })?;
///     }
///     remote.stop()
/// });
/// while event_loop.state(sum) != Some(&10) {
///     event_loop.turn(None)?;
/// }
/// worker.join().unwrap()?;
/// # Ok::<(), fdloop::Error>(())
/// ```
///
/// A remote does not keep [`run`](EventLoop::run) going. A program that waits only for calls of
/// other threads makes [turns](EventLoop::turn), as above, or adds a timer or a channel.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    /// The loop was woken, and has not looked since.
    woken: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// `None` once the loop is gone.
    waker: Option<Arc<Waker>>,
    calls: Vec<Call>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of the program's runs while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) -> Result<()> {
        // A load would not do: earlier writes of this thread could be reordered after it.
        if self.woken.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let waker = self.lock().waker.clone();
        let Some(waker) = waker else {
            self.woken.store(false, Ordering::Release);
            return Err(gone());
        };
        write(&waker)
    }

    fn call(&self, call: Call) -> Result<()> {
        let mut state = self.lock();
        let Some(waker) = &state.waker else {
            // `call` is dropped after the lock is released.
            drop(state);
            return Err(gone());
        };
        let sleeps = !self.woken.swap(true, Ordering::AcqRel);
        let waker = sleeps.then(|| Arc::clone(waker));
        state.calls.push(call);
        // The write has the loop run at once, and the loop needs the lock.
        drop(state);
        waker.map_or(Ok(()), |waker| write(&waker))
    }

    /// Takes the calls that have arrived.
    fn take(&self, waker: &Waker) -> Vec<Call> {
        waker.clear();
        // A wake from here on writes again.
        self.woken.swap(false, Ordering::AcqRel);
        mem::take(&mut self.lock().calls)
    }
}

fn write(waker: &Waker) -> Result<()> {
    let number = Some(waker.as_fd().as_raw_fd());
    waker
        .wake()
        .map_err(|e| Error::system("wake the loop", number, e))
}

/// Returns the error of a call to a loop that was dropped.
#[cold]
fn gone() -> Error {
    let message = "the loop of this remote is gone: it was dropped, and what it had not called \
                   with it; end the thread that calls it";
    Error::misuse(io::ErrorKind::BrokenPipe, message)
}

impl Remote {
    /// Has the loop call `act`, at the end of a pass. Calls of one thread are made in order. Errors
    /// and panics of `act` are treated as those of a [timer](EventLoop::call_later).
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the loop was dropped; `act` is dropped. If the loop is dropped before it has
    /// called `act`, `act` is dropped as well.
    pub fn call(
        &self,
        act: impl FnOnce(&mut EventLoop) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.0.call(Box::new(act))
    }

    /// Makes the loop end its current or next wait, so that it asks its channels again.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the loop was dropped.
    pub fn wake(&self) -> Result<()> {
        self.0.wake()
    }

    /// Stops the loop, after the calls made before: see [`EventLoop::stop`].
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the loop was dropped.
    pub fn stop(&self) -> Result<()> {
        self.call(|event_loop| {
            event_loop.stop();
            Ok(())
        })
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gone = self.0.lock().waker.is_none();
        f.debug_struct("Remote")
            .field("gone", &gone)
            .finish_non_exhaustive()
    }
}

/// The channel that reads the descriptor.
struct Inbox {
    shared: Arc<Shared>,
    waker: Arc<Waker>,
}

impl AsRawFd for Inbox {
    fn as_raw_fd(&self) -> RawFd {
        self.waker.as_fd().as_raw_fd()
    }
}

impl Channel for Inbox {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        event_loop.calls.extend(self.shared.take(&self.waker));
        Ok(())
    }

    fn after_fork(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let Ok(mut state) = self.shared.state.try_lock() else {
            // Another thread of the parent held the lock, and does not exist here. The next
            // `remote` makes everything anew.
            mem::forget(event_loop.receiver.take());
            event_loop.vacate();
            return Ok(());
        };
        let calls = mem::take(&mut state.calls);
        let renewed = state.waker.as_ref().map_or(Ok(()), |waker| waker.renew());
        drop(state);
        drop(calls);
        self.shared.woken.store(false, Ordering::Release);
        renewed.map_err(|e| Error::system("make a remote", Some(self.as_raw_fd()), e))
    }

    fn descriptor_lost(&mut self) {
        self.shared.lock().waker = None;
        // The number is not closed again, so the value stays in memory.
        mem::forget(Arc::clone(&self.waker));
    }
}

/// A loop's own end of its remotes.
pub(super) struct Receiver(Arc<Shared>);

impl Drop for Receiver {
    /// Makes later calls fail, and drops those that were not made.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let calls = mem::take(&mut state.calls);
        state.waker = None;
        self.0.woken.store(false, Ordering::Release);
        drop(state);
        // Their destructors are the program's.
        drop(calls);
    }
}

impl EventLoop {
    /// Returns a handle with which other threads reach the loop. The first call makes the
    /// descriptor through which they wake it: an eventfd on Linux, elsewhere a pipe.
    ///
    /// A remote does not keep [`run`](EventLoop::run) going.
    ///
    /// # Errors
    ///
    /// The errors of eventfd(2) or pipe(2), such as EMFILE.
    pub fn remote(&mut self) -> Result<Remote> {
        if let Some(receiver) = &self.receiver {
            if receiver.0.lock().waker.is_some() {
                return Ok(Remote(Arc::clone(&receiver.0)));
            }
            // Other code has closed its descriptor.
            self.receiver = None;
        }
        let waker = Waker::new().map_err(|e| Error::system("make a remote", None, e))?;
        let waker = Arc::new(waker);
        let shared = Arc::new(Shared {
            woken: AtomicBool::new(false),
            state: Mutex::new(State {
                waker: Some(Arc::clone(&waker)),
                calls: Vec::new(),
            }),
        });
        let inbox = Inbox {
            shared: Arc::clone(&shared),
            waker,
        };
        self.add_own(inbox)?;
        self.receiver = Some(Receiver(Arc::clone(&shared)));
        Ok(Remote(shared))
    }

    /// Checks whether a remote reaches this loop.
    pub(crate) fn is_reached_by(&self, remote: &Remote) -> bool {
        let own = self.receiver.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(&own.0, &remote.0))
    }
}
