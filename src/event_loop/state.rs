//! State that handlers and the program share.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use super::EventLoop;
use super::by_serial::BySerial;
use super::id::Serial;

/// The id of a value that a loop keeps, for its handlers and the program to share: small,
/// copyable, and typed like the value. [`EventLoop::keep`] returns it.
///
/// An id whose value was taken finds nothing, and neither does another loop's.
pub struct StateId<T> {
    serial: Serial,
    value: PhantomData<fn() -> T>,
}

// Derived, these would ask the same of T.
impl<T> Clone for StateId<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StateId<T> {}

impl<T> PartialEq for StateId<T> {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl<T> Eq for StateId<T> {}

impl<T> Hash for StateId<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.serial.hash(state);
    }
}

impl<T> fmt::Debug for StateId<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateId(#{:x})", self.serial)
    }
}

/// The values that a loop keeps.
#[derive(Default)]
pub(super) struct States(BySerial<Box<dyn Any>>);

impl EventLoop {
    /// Keeps a value that several handlers and the program share, and returns its id.
    /// Handlers reach it with [`state_mut`](EventLoop::state_mut), through
    /// [`Io::event_loop`](crate::Io::event_loop), and so need no `Rc<RefCell<…>>`. The loop
    /// drops it last, after its channels.
    ///
    /// ```
    /// use fdloop::{Dispatcher, EventLoop, Handler, Io, Result, StateId};
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    ///
    /// /// Adds what it reads to a record that others write to as well.
    /// struct Source(StateId<Vec<u8>>);
    /// impl Handler for Source {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 64];
    ///         let n = io.recv(&mut buf)?;
    ///         if let Some(record) = io.event_loop().state_mut(self.0) {
    ///             record.extend_from_slice(&buf[..n]);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let record = event_loop.keep(Vec::new());
    /// for _ in 0..2 {
    ///     let (ours, mut theirs) = UnixStream::pair()?;
    ///     event_loop.add(Dispatcher::new(ours, Source(record))?)?;
    ///     theirs.write_all(b"once ")?;
    /// }
    /// event_loop.run()?;
    /// assert_eq!(event_loop.take(record), Some(b"once once ".to_vec()));
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn keep<T: 'static>(&mut self, value: T) -> StateId<T> {
        let serial = self.take_serial();
        self.states.0.insert(serial, Box::new(value));
        StateId {
            serial,
            value: PhantomData,
        }
    }

    /// Returns a value that the loop keeps. `None` if it was taken. Predicates reach it
    /// through [`View::event_loop`](crate::View::event_loop); they then depend on more than
    /// the channel's own state (see [`Predicates`](crate::Predicates)).
    #[must_use]
    pub fn state<T: 'static>(&self, id: StateId<T>) -> Option<&T> {
        self.states.0.get(id.serial)?.downcast_ref()
    }

    /// Returns a value that the loop keeps, to change it. `None` if it was taken.
    ///
    /// The value borrows the loop. To use both at once, [`take`](EventLoop::take) it, or
    /// move what is needed out of it.
    #[must_use]
    pub fn state_mut<T: 'static>(&mut self, id: StateId<T>) -> Option<&mut T> {
        self.states.0.get_mut(id.serial)?.downcast_mut()
    }

    /// Takes a value out of the loop. `None` if it was taken before. The id finds nothing
    /// from then on.
    pub fn take<T: 'static>(&mut self, id: StateId<T>) -> Option<T> {
        let value = self.states.0.remove(id.serial)?;
        value.downcast().ok().map(|value| *value)
    }
}
