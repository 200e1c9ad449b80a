//! The loop: a map of channels, and passes over it.

mod add;
mod asking;
mod builder;
mod by_serial;
mod calls;
mod cancel;
mod channel;
mod clock;
mod deferred;
mod error;
mod extensions;
mod fork;
mod id;
mod interest;
mod map;
mod panics;
mod pass;
mod passes;
mod police;
mod reach;
mod remote;
mod removal;
mod run;
mod settling;
mod state;
mod timeouts;
mod timers;
mod upcast;
mod watch;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::os::fd::RawFd;
use std::time::Duration;

pub use builder::Builder;
pub use cancel::Cancel;
pub use channel::{Channel, Predicates};
pub(crate) use channel::{Outcome, forward_channel};
pub use deferred::Deferred;
pub use error::AddError;
pub use id::{AnyId, ChannelId};
pub use remote::Remote;
pub use run::{Ended, Hold, RunOptions};
pub use state::StateId;
pub use timers::TimerId;

use asking::Asking;

use crate::error::Result;
use crate::poller::{Backend, Deadline, Event, Interest, Poller};
use by_serial::BySerial;
use calls::Call;
use extensions::Extensions;
use id::{Key, SPARE_BITS, Serial};
use map::ChannelMap;
use remote::Receiver;
use run::{Awaited, Stop};
use state::States;
use timeouts::Timeouts;
use timers::Timers;
use watch::Watches;

/// An event loop: owns channels, waits until some of them are ready, and calls
/// their handlers. asyncore's `loop` and its map.
///
/// One thread runs a loop, and calls one handler at a time. A *pass* asks the channels for
/// their interest, waits once, and delivers the events: for each channel read, then write, then
/// priority, then hang-up. [`Predicates`] says which channels each pass asks.
///
/// A handler may add, close and reach any channel, and stop the loop. The channel whose handler
/// runs is not in the map meanwhile, and reaches itself through its own `io`.
///
/// ```
/// use fdloop::{DispatcherWithSend, EventLoop, Handler, Io, Result, Socket};
///
/// struct Shout;
/// impl Handler for Shout {
///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
///         let mut buf = [0; 1024];
///         let n = io.recv(&mut buf)?;
///         io.send(&buf[..n].to_ascii_uppercase())?;
///         Ok(())
///     }
/// }
///
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let mut event_loop = EventLoop::new()?;
/// event_loop.add(DispatcherWithSend::new(ours, Shout)?)?;
/// theirs.write_all(b"hello")?;
/// theirs.shutdown(std::net::Shutdown::Write)?;
/// event_loop.run()?; // until the last channel is closed
/// let mut answer = String::new();
/// theirs.read_to_string(&mut answer)?;
/// assert_eq!(answer, "HELLO");
/// # Ok::<(), fdloop::Error>(())
/// ```
///
/// # Threads
///
/// A loop and its channels stay in one thread: `EventLoop` is not `Send`, so that handlers may
/// hold what is not. To use several threads, make a loop in each, and send them what channels
/// are made of: [`Socket`](crate::Socket), [`FileWrapper`](crate::FileWrapper) and
/// [`Backend`] are `Send`. A [`Remote`] reaches a loop from other threads.
///
/// ```compile_fail,E0277
/// let mut event_loop = fdloop::EventLoop::new().unwrap();
/// std::thread::spawn(move || event_loop.run());
/// ```
///
/// ```
/// use fdloop::{Dispatcher, EventLoop, Handler, Result, Socket};
///
/// struct Session;
/// impl Handler for Session {}
///
/// let (socket, peer) = Socket::pair()?;
/// let worker = std::thread::spawn(move || -> Result<()> {
///     let mut event_loop = EventLoop::new()?;
///     event_loop.add_background(Dispatcher::new(socket, Session)?)?;
///     event_loop.run()
/// });
/// worker.join().unwrap()?;
/// # drop(peer);
/// # Ok::<(), fdloop::Error>(())
/// ```
pub struct EventLoop {
    /// Every channel, by the number of its descriptor, with [`channel::InService`] as a
    /// placeholder for one whose method runs.
    channels: ChannelMap,
    /// The loop's knowledge of each channel, by number. A number is watched exactly if it is a
    /// key of `channels`.
    watches: Watches,
    /// Has for each number exactly the interest of its watch.
    poller: Box<dyn Poller>,
    /// The number of channels that do not keep `run` going.
    background: usize,
    /// The number of channels that are the crate's own.
    own: usize,
    /// The numbers of the channels whose ids were given out before they were made.
    reserved: BySerial<RawFd>,
    /// Channels to settle and ask before the next wait. Each is marked so in its watch, and is
    /// in here once.
    touched: VecDeque<Key>,
    timers: Timers,
    timeouts: Timeouts,
    deferred: deferred::Functions,
    /// Calls of other threads that have arrived.
    calls: VecDeque<Call>,
    /// Called in a process that was forked, after the channels.
    forks: Vec<fn(&mut EventLoop)>,
    /// The loop's end of its remotes, once there is one.
    receiver: Option<Receiver>,
    /// The schedule for asking channels whose predicates may look at anything.
    asking: Asking,
    /// The serial number of the next channel. Channels of the pass that is being
    /// delivered have lower ones than those added since.
    next_serial: Serial,
    /// The channel whose method runs, the innermost one.
    serving: Option<Key>,
    /// A pass is going on, and another cannot be started.
    in_pass: bool,
    /// Some watch has a [`Life`](watch::Life) above `Going`, perhaps.
    ends: bool,
    /// `run` is making the passes.
    running: bool,
    /// The request to end `run`, or, while it does not run, the next one.
    stop: Stop,
    /// The reason for which the last run ended.
    ended_by: Option<Ended>,
    /// The channel that `run_until_closed` waits for.
    awaited: Option<Awaited>,
    /// Shared with everything that keeps `run` going without being a channel or a timer.
    hold: Hold,
    catch_panics: bool,
    /// The events of the last wait. Only a pass uses them.
    ready: Vec<Event>,
    /// Kept from pass to pass for its memory; empty in between.
    changes: Vec<(Key, Option<Interest>)>,
    /// Shared by all channels that receive into a buffer of the loop's.
    buffer: Vec<u8>,
    /// Values of the program's, of which the loop makes no use. Dropped after the channels.
    states: States,
    /// Values of the libraries over the loop. Dropped after the channels.
    extensions: Extensions,
}

impl EventLoop {
    /// Makes a loop over the default [`Backend`].
    ///
    /// # Errors
    ///
    /// None at present. Later versions may need descriptors.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Makes a loop over a backend.
    ///
    /// # Errors
    ///
    /// As for [`new`](EventLoop::new).
    pub fn with_backend(backend: Backend) -> Result<Self> {
        Self::builder().backend(backend).build()
    }

    /// Makes a loop over a poller of your own. [`Builder::poller`] also takes other options.
    #[must_use]
    pub fn with_poller(poller: impl Poller + 'static) -> Self {
        Self::from_parts(Box::new(poller), false)
    }

    /// Returns a builder for a loop with options.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn from_parts(poller: Box<dyn Poller>, catch_panics: bool) -> Self {
        Self {
            channels: ChannelMap::default(),
            watches: Watches::default(),
            poller,
            background: 0,
            own: 0,
            reserved: BySerial::default(),
            touched: VecDeque::new(),
            timers: Timers::default(),
            timeouts: Timeouts::default(),
            deferred: deferred::Functions::default(),
            calls: VecDeque::new(),
            forks: Vec::new(),
            receiver: None,
            asking: Asking::new(),
            next_serial: first_serial(),
            serving: None,
            in_pass: false,
            ends: false,
            running: false,
            stop: Stop::Unasked,
            ended_by: None,
            awaited: None,
            hold: Hold::default(),
            catch_panics,
            ready: Vec::new(),
            changes: Vec::new(),
            buffer: Vec::new(),
            states: States::default(),
            extensions: Extensions::default(),
        }
    }

    /// Returns the number of channels, including those whose methods run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len() - self.own
    }

    /// Checks whether the loop has no channels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the id of the channel whose method runs, for a handler that passes it to others.
    /// `None` outside of handlers.
    ///
    /// `C` must be the channel's type; an id of another type finds nothing.
    #[must_use]
    pub fn serving<C: Channel>(&self) -> Option<ChannelId<C>> {
        self.serving.map(ChannelId::new)
    }

    /// Returns the id of the channel whose method runs, whatever its type. `None` outside
    /// of handlers. Within them it is [`Io::id`](crate::Io::id).
    #[must_use]
    pub fn serving_id(&self) -> Option<AnyId> {
        self.serving.map(AnyId::new)
    }

    /// Checks whether something is left that keeps `run` going.
    pub(super) fn has_work(&self) -> bool {
        let can_end_a_wait =
            !self.channels.is_empty() || !self.timers.is_empty() || !self.calls.is_empty();
        self.channels.len() > self.background
            || self.timers.has_one_shots()
            || self.awaited.is_some()
            || (can_end_a_wait && self.hold.is_shared())
    }

    /// Lends a buffer of at least `size` bytes, for a channel that receives into it, to be
    /// [returned](EventLoop::return_buffer) afterwards. All channels of the loop share it,
    /// and it holds data that earlier users have left.
    ///
    /// While it is lent, a second caller gets a buffer that is made for it. One that is not
    /// returned is dropped, and the next caller's is made anew.
    /// [`Io::recv_with`](crate::Io::recv_with) does both for a handler.
    ///
    /// ```
    /// use fdloop::{Channel, EventLoop, Result};
    /// use os_pipe::PipeReader;
    /// use std::io::{Read, Write};
    /// use std::os::fd::{AsRawFd, RawFd};
    ///
    /// struct Count(PipeReader, usize);
    /// impl AsRawFd for Count {
    ///     fn as_raw_fd(&self) -> RawFd {
    ///         self.0.as_raw_fd()
    ///     }
    /// }
    /// impl Channel for Count {
    ///     fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
    ///         let mut buffer = event_loop.lend_buffer(4096);
    ///         let received = self.0.read(&mut buffer);
    ///         event_loop.return_buffer(buffer);
    ///         self.1 += received?;
    ///         event_loop.stop();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let id = event_loop.add(Count(reader, 0))?;
    /// writer.write_all(b"twelve bytes")?;
    /// event_loop.run()?;
    /// assert_eq!(event_loop.get(id).unwrap().1, 12);
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[inline]
    #[must_use = "the buffer is to be returned: `event_loop.return_buffer(buffer)`"]
    pub fn lend_buffer(&mut self, size: usize) -> Vec<u8> {
        let mut buffer = mem::take(&mut self.buffer);
        if buffer.len() < size {
            // Not by `resize`, which would write to all of it: most of a large buffer is often never
            // used, and memory that the system has zeroed takes up nothing until then.
            buffer = vec![0; size];
        }
        buffer
    }

    /// Returns a buffer that was [lent](EventLoop::lend_buffer). The loop keeps the longest.
    #[inline]
    pub fn return_buffer(&mut self, buffer: Vec<u8>) {
        if self.buffer.len() < buffer.len() {
            self.buffer = buffer;
        }
    }

    /// Makes one pass, which waits at most for `timeout` (`None`: until an event arrives), for
    /// programs that have a loop of their own. Returns the number of channels that were ready.
    /// asyncore's `poll` and `poll2`.
    ///
    /// Without channels it sleeps for `timeout`, and returns at once if that is `None`.
    ///
    /// # Errors
    ///
    /// [`Error::ExitNow`] or a fatal error ([`Error::fatal`]) if a handler returned it; the
    /// error of the system call, for reasons that are not a channel's fault; `Unsupported`
    /// when called from a handler, since the pass is going on.
    ///
    /// [`Error::ExitNow`]: crate::Error::ExitNow
    /// [`Error::fatal`]: crate::Error::fatal
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<usize> {
        self.one_pass(self.deadline_after(timeout))
    }

    /// Makes one pass as [`turn`](EventLoop::turn) does, which waits until `deadline` at
    /// most, on the clock of [`now`](EventLoop::now). For a program that makes several passes up
    /// to one point in time, which then need not compute each one's timeout.
    ///
    /// ```
    /// use fdloop::{Deadline, EventLoop};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let deadline = Deadline::after(Some(Duration::from_millis(5)));
    /// while !deadline.has_passed() {
    ///     event_loop.turn_until(deadline)?;
    /// }
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`turn`](EventLoop::turn).
    pub fn turn_until(&mut self, deadline: Deadline) -> Result<usize> {
        self.one_pass(deadline)
    }
}

impl Drop for EventLoop {
    /// Closes all channels.
    fn drop(&mut self) {
        self.receiver = None;
        for (_, channel) in mem::take(&mut self.channels) {
            self.discard(channel);
        }
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("poller", &self.poller)
            .field("channels", &self.channels.len())
            .field("serving", &self.serving)
            .finish_non_exhaustive()
    }
}

/// Returns a random first serial number, far from those of any other loop, so that an id finds
/// nothing in a loop that did not return it.
fn first_serial() -> Serial {
    use std::hash::{BuildHasher, RandomState};
    // The low half is left to count in.
    Serial::MIN | ((RandomState::new().hash_one(0) >> SPARE_BITS) & !0xFFFF_FFFF)
}

#[cfg(test)]
mod tests;
