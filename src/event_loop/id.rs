//! Ids of channels.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::os::fd::RawFd;

/// The id of a channel: small, copyable, and typed like the channel.
///
/// It has a serial number beside the descriptor's number, so that the id of a closed channel
/// never finds a later one with the same number: it finds nothing.
///
/// [`EventLoop::get`](crate::EventLoop::get) and similar methods take it. Two channels can know
/// each other: make the second with the id of the first, and give the first the id of the
/// second afterwards, or use [`EventLoop::add_with`](crate::EventLoop::add_with).
///
/// ```
/// use fdloop::{ChannelId, DispatcherWithSend, EventLoop, Handler, Io, Result};
///
/// /// Passes what it gets on to the other side.
/// struct Half {
///     other: Option<ChannelId<DispatcherWithSend<Half>>>,
/// }
/// impl Handler for Half {
///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
///         let mut buf = [0; 4096];
///         let n = io.recv(&mut buf)?;
///         let other = self.other.and_then(|id| io.event_loop().get_mut(id));
///         if let Some(other) = other {
///             other.send(&buf[..n])?; // leaves before the loop next waits
///         }
///         Ok(())
///     }
///     fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
///         if let Some(other) = self.other.and_then(|id| io.event_loop().get_mut(id)) {
///             other.close_when_done();
///         }
///         Ok(())
///     }
/// }
///
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// let ((left, mut west), (right, mut east)) = (UnixStream::pair()?, UnixStream::pair()?);
/// let mut event_loop = EventLoop::new()?;
/// let left = event_loop.add(DispatcherWithSend::new(left, Half { other: None })?)?;
/// let right = event_loop.add(DispatcherWithSend::new(right, Half { other: Some(left) })?)?;
/// if let Some(left) = event_loop.get_mut(left) {
///     left.handler_mut().other = Some(right);
/// }
/// west.write_all(b"hello")?;
/// drop(west);
/// event_loop.run()?;
/// let mut heard = String::new();
/// east.read_to_string(&mut heard)?;
/// assert_eq!(heard, "hello");
/// # Ok::<(), fdloop::Error>(())
/// ```
pub struct ChannelId<C> {
    pub(super) key: Key,
    channel: PhantomData<fn() -> C>,
}

/// Unique to a channel. Never 0, so that an `Option<Key>` is as small as a `Key`.
pub(super) type Serial = NonZeroU64;

/// The number of high bits that are 0 in each serial number. One keeps counting from overflowing. The
/// timers keep a value of their own in the room of both.
pub(super) const SPARE_BITS: u32 = 2;

/// An id without its type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// [`RESERVED`] in an id that was given out before its channel was made. The loop
    /// resolves it.
    pub(super) fd: RawFd,
    /// Unique among all channels of all loops: see `EventLoop::next_serial`.
    pub(super) serial: Serial,
}

/// The number in an id whose channel is still to be made.
const RESERVED: RawFd = -1;

impl Key {
    /// The key of a channel that is still to be made.
    pub(super) fn reserved(serial: Serial) -> Self {
        let fd = RESERVED;
        Self { fd, serial }
    }

    pub(super) fn is_reserved(self) -> bool {
        self.fd == RESERVED
    }
}

// The serial number says it all. A reserved key is equal to the resolved one.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.serial.hash(state);
    }
}

/// The id of a channel of any type.
///
/// It is made of a [`ChannelId`], or is [`Io::id`](crate::Io::id) of the handler that runs.
/// With it a handler reaches the [`Endpoint`](crate::Endpoint) of a partner that may be a
/// socket, a file or a chat: [`EventLoop::endpoint_mut`](crate::EventLoop::endpoint_mut).
///
/// ```
/// use fdloop::{AnyId, Dispatcher, EventLoop, Handler, Socket};
///
/// struct Quiet;
/// impl Handler for Quiet {}
///
/// let (ours, _theirs) = Socket::pair()?;
/// let mut event_loop = EventLoop::new()?;
/// let id = event_loop.add(Dispatcher::new(ours, Quiet)?)?;
/// let any: AnyId = id.into();
/// assert_eq!(any.typed::<Dispatcher<Quiet>>(), id);
/// assert!(event_loop.close(any)?);
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnyId {
    pub(super) key: Key,
}

impl AnyId {
    /// Finds no channel, of no loop.
    pub(crate) const NOTHING: Self = Self {
        key: Key {
            fd: RESERVED,
            serial: Serial::MAX,
        },
    };

    pub(super) fn new(key: Key) -> Self {
        Self { key }
    }

    /// Returns the id as that of a channel of type `C`. If the channel has another type,
    /// it finds nothing.
    #[must_use]
    pub fn typed<C>(self) -> ChannelId<C> {
        ChannelId::new(self.key)
    }

    /// Returns the descriptor's number, for messages: see [`ChannelId::fd`].
    #[must_use]
    pub fn fd(self) -> RawFd {
        self.key.fd
    }
}

impl<C> From<ChannelId<C>> for AnyId {
    fn from(id: ChannelId<C>) -> Self {
        Self::new(id.key)
    }
}

impl fmt::Debug for AnyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyId(fd {}, #{:x})", self.key.fd, self.key.serial)
    }
}

impl<C> ChannelId<C> {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            channel: PhantomData,
        }
    }

    /// Returns the descriptor's number, for messages. It is the channel's as long as that
    /// lives. -1 in the id that [`add_with`](crate::EventLoop::add_with) passes to its
    /// function, since the channel has no descriptor yet.
    #[must_use]
    pub fn fd(self) -> RawFd {
        self.key.fd
    }
}

// Derived, these would ask the same of C.
impl<C> Clone for ChannelId<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for ChannelId<C> {}

impl<C> PartialEq for ChannelId<C> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<C> Eq for ChannelId<C> {}

impl<C> Hash for ChannelId<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl<C> fmt::Debug for ChannelId<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId(fd {}, #{:x})", self.key.fd, self.key.serial)
    }
}
