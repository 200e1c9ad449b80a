//! Running the loop to its end.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::EventLoop;
use super::channel::Channel;
use super::id::{ChannelId, Key};
use crate::error::{Error, Result};

/// The options of [`EventLoop::run_with`]: the arguments of asyncore's `loop`.
///
/// ```
/// use fdloop::{EventLoop, RunOptions};
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new()?;
/// event_loop.run_with(RunOptions::new().timeout(Duration::from_secs(30)).count(10))?;
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    timeout: Option<Duration>,
    count: Option<u64>,
}

impl RunOptions {
    /// Makes options without timeout and count, as [`EventLoop::run`] uses.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the longest time that a pass waits. Without it, a pass waits until an event
    /// arrives. With it, the channels are asked again at least that often, for predicates that
    /// look at things that change by themselves. (asyncore's default is 30 seconds.)
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the maximum number of passes; 0 makes none.
    #[must_use]
    pub fn count(mut self, passes: u64) -> Self {
        self.count = Some(passes);
        self
    }
}

/// The reason for which a run ended: [`EventLoop::ended_by`] returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// No channel, timer or other work was left that keeps a run going.
    NoWork,
    /// [`EventLoop::stop`].
    Stopped,
    /// [`EventLoop::stop_when_idle`], and a wait that found nothing.
    Idle,
    /// As many passes were made as [`RunOptions::count`] permits.
    Count,
    /// The channel of [`EventLoop::run_until_closed`] was closed or removed.
    Closed,
    /// The condition of [`EventLoop::run_until`] was met.
    Done,
    /// An error, which the run returned, or a panic.
    Error,
}

/// Keeps a loop's [`run`](EventLoop::run) going until it and its clones are dropped:
/// [`EventLoop::hold`] returns it.
#[derive(Debug, Clone, Default)]
#[must_use = "dropping it ends the hold"]
pub struct Hold(Rc<()>);

impl Hold {
    /// Checks whether another clone exists.
    pub(super) fn is_shared(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }
}

/// A request to end `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stop {
    /// None.
    #[default]
    Unasked,
    /// End at the first wait that finds nothing ready.
    WhenIdle,
    /// End after the current pass.
    Now,
}

/// The channel that `run_until_closed` waits for.
pub(super) struct Awaited {
    pub(super) key: Key,
    /// The channel itself, once it is closed.
    pub(super) channel: Option<Box<dyn Channel>>,
}

/// A `run` that is being made. Dropped when it returns or panics, so that a later
/// `turn` or `run` finds no trace of it.
struct Run<'a>(&'a mut EventLoop);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.end_passes();
        self.0.running = false;
        self.0.stop = Stop::Unasked;
        self.0.awaited = None;
        self.0.write_gathered();
    }
}

impl EventLoop {
    /// Makes passes until the last channel is closed or [`stop`](EventLoop::stop)
    /// is called. Channels that were [added in the background](EventLoop::add_background)
    /// do not count.
    ///
    /// In every case, the output that handlers have sent is written as far as there is room,
    /// including output sent together with [`Error::ExitNow`].
    ///
    /// # Errors
    ///
    /// As for [`turn`](EventLoop::turn). Channels are left as they are, and `run`
    /// can be called again.
    ///
    /// [`Error::ExitNow`]: crate::Error::ExitNow
    pub fn run(&mut self) -> Result<()> {
        self.run_with(RunOptions::new())
    }

    /// Makes passes until the last channel is closed, `options` are exhausted, or
    /// [`stop`](EventLoop::stop) is called. asyncore's `loop`.
    ///
    /// # Errors
    ///
    /// As for [`turn`](EventLoop::turn).
    pub fn run_with(&mut self, options: RunOptions) -> Result<()> {
        self.check_not_in_pass()?;
        self.running = true;
        self.in_pass = true;
        self.ended_by = Some(Ended::Error);
        let ended = Run(self).0.make_passes(options, None)?;
        self.ended_by = Some(ended);
        Ok(())
    }

    /// Makes passes as [`run`](EventLoop::run) does, until `done` returns true. `done` is called
    /// before each pass, after the channels are settled. Returns true if `done` did, and false if
    /// the run ended for another reason.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let calls = event_loop.keep(0);
    /// event_loop.call_every(Duration::from_millis(1), move |event_loop| {
    ///     *event_loop.state_mut(calls).unwrap() += 1;
    ///     Ok(())
    /// });
    /// let hold = event_loop.hold(); // a periodic timer does not keep it going
    /// assert!(event_loop.run_until(|event_loop| event_loop.state(calls) == Some(&3))?);
    /// # drop(hold);
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`turn`](EventLoop::turn).
    pub fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> Result<bool> {
        self.check_not_in_pass()?;
        self.running = true;
        self.in_pass = true;
        self.ended_by = Some(Ended::Error);
        let run = Run(self);
        let ended = run.0.make_passes(RunOptions::new(), Some(&mut done))?;
        run.0.ended_by = Some(ended);
        Ok(ended == Ended::Done)
    }

    /// Returns the reason for which the last run ended, and `None` before the first.
    ///
    /// ```
    /// use fdloop::{Ended, EventLoop};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.call_later(Duration::ZERO, |event_loop| {
    ///     event_loop.stop();
    ///     Ok(())
    /// });
    /// event_loop.run()?;
    /// assert_eq!(event_loop.ended_by(), Some(Ended::Stopped));
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn ended_by(&self) -> Option<Ended> {
        self.ended_by
    }

    /// Checks whether [`stop`](EventLoop::stop) or [`stop_when_idle`](EventLoop::stop_when_idle)
    /// was called and no run has ended since: for a program that makes
    /// [turns](EventLoop::turn) in a loop of its own.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.call_later(Duration::ZERO, |event_loop| {
    ///     event_loop.stop();
    ///     Ok(())
    /// });
    /// while !event_loop.is_stopping() {
    ///     event_loop.turn(None)?;
    /// }
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop != Stop::Unasked
    }

    /// Makes passes until a channel is closed, and returns it, so that the program gets its
    /// handler with the data that it has collected. Returns `None` if the run ended before: by
    /// [`stop`](EventLoop::stop), or because the channel was [removed](EventLoop::remove).
    ///
    /// Other channels stay in the loop.
    ///
    /// ```
    /// use fdloop::{Dispatcher, EventLoop, Handler, Io, Result};
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    ///
    /// #[derive(Default)]
    /// struct Download(Vec<u8>);
    /// impl Handler for Download {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 4096];
    ///         let n = io.recv(&mut buf)?;
    ///         self.0.extend_from_slice(&buf[..n]);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let id = event_loop.add(Dispatcher::new(ours, Download::default())?)?;
    /// theirs.write_all(b"everything")?;
    /// drop(theirs);
    /// let channel = event_loop.run_until_closed(id)?.unwrap();
    /// assert_eq!(channel.into_handler().0, b"everything");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound` if the channel is gone already, or has another type than the id; else as
    /// for [`turn`](EventLoop::turn), and the channel is dropped if it was just closed.
    pub fn run_until_closed<C: Channel>(&mut self, id: ChannelId<C>) -> Result<Option<C>> {
        self.check_not_in_pass()?;
        if self.get(id).is_none() {
            let message = format!(
                "the channel of fd {} cannot be waited for: it is closed already",
                id.fd()
            );
            return Err(Error::misuse(io::ErrorKind::NotFound, message));
        }
        let key = self.resolve(id.key);
        self.running = true;
        self.in_pass = true;
        let run = Run(self);
        let channel = None;
        run.0.awaited = Some(Awaited { key, channel });
        run.0.ended_by = Some(Ended::Error);
        let ended = run.0.make_passes(RunOptions::new(), None)?;
        let awaited = run.0.awaited.take();
        let gone = awaited
            .as_ref()
            .is_none_or(|awaited| awaited.channel.is_some());
        run.0.ended_by = Some(if gone { Ended::Closed } else { ended });
        let closed = awaited.and_then(|awaited| awaited.channel);
        let closed = closed.map(|channel| channel.into_any());
        Ok(closed.and_then(|closed| closed.downcast().ok().map(|channel| *channel)))
    }

    /// Keeps [`run`](EventLoop::run) going until the returned value is dropped, for work with an
    /// end of its own that is neither a channel nor a timer: a request to another thread, a child
    /// process. Drop it in a handler or a callback: dropping it does not wake a loop that waits. A
    /// loop without any channel or timer returns from [`run`](EventLoop::run) nevertheless, since
    /// nothing could end its wait.
    ///
    /// ```
    /// use fdloop::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let remote = event_loop.remote()?;
    /// let hold = event_loop.keep(event_loop.hold());
    /// let worker = std::thread::spawn(move || {
    ///     remote.call(move |event_loop| {
    ///         event_loop.take(hold); // the work is done
    ///         Ok(())
    ///     })
    /// });
    /// event_loop.run()?;
    /// worker.join().unwrap()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn hold(&self) -> Hold {
        self.hold.clone()
    }

    fn make_passes(
        &mut self,
        options: RunOptions,
        mut done: Option<&mut dyn FnMut(&mut Self) -> bool>,
    ) -> Result<Ended> {
        let mut left = options.count.unwrap_or(u64::MAX);
        while left > 0 {
            let calm = match done {
                None if self.asking.is_needed() => {
                    self.calm_passes::<true>(options.timeout, left)?
                }
                None => self.calm_passes::<false>(options.timeout, left)?,
                Some(_) => 0,
            };
            if calm == 0 {
                // A handler that closes the last channel, or stops the loop, before
                // the wait must not be made to wait.
                self.prepare_pass()?;
                if let Some(done) = &mut done {
                    if done(self) {
                        return Ok(Ended::Done);
                    }
                }
                if self.stop == Stop::Now {
                    return Ok(Ended::Stopped);
                }
                if !self.has_work() {
                    return Ok(Ended::NoWork);
                }
                self.whole_pass(self.deadline_after(options.timeout))?;
            }
            left -= calm.max(1);
            if self.stop == Stop::WhenIdle && self.found_nothing() {
                return Ok(Ended::Idle);
            }
        }
        Ok(Ended::Count)
    }

    /// Makes [`run`](EventLoop::run) return at the end of the current pass, or, outside of one,
    /// as soon as it is next called. Input that other channels have not read stays unread: see
    /// [`stop_when_idle`](EventLoop::stop_when_idle).
    pub fn stop(&mut self) {
        self.stop = Stop::Now;
    }

    /// Makes [`run`](EventLoop::run) return at the first wait that finds no channel ready.
    /// Until then it goes on without blocking, so that data that has arrived is read, and
    /// output for which there is room is written.
    ///
    /// Use this to end at a child's exit or a signal without losing what the child has written.
    /// A peer that sends without a pause keeps the loop going; [`stop`](EventLoop::stop) ends
    /// it.
    ///
    /// ```
    /// use fdloop::{EventLoop, FileDispatcher, Handler, Io, Result, View};
    /// use std::io::Write;
    ///
    /// /// Asks for the end at the first bytes, and still gets the rest.
    /// struct Reader(usize);
    /// impl Handler for Reader {
    ///     fn writable(&self, _: &View<'_>) -> bool {
    ///         false
    ///     }
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         self.0 += io.recv(&mut [0; 4])?;
    ///         io.event_loop().stop_when_idle();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let id = event_loop.add(FileDispatcher::new(reader, Reader(0))?)?;
    /// writer.write_all(b"twelve bytes")?;
    /// event_loop.run()?; // returns although the writer is still open
    /// assert_eq!(event_loop.get(id).unwrap().handler().0, 12);
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn stop_when_idle(&mut self) {
        if self.stop == Stop::Unasked {
            self.stop = Stop::WhenIdle;
        }
    }

    /// Checks whether the last wait found nothing, and nothing has become due since.
    fn found_nothing(&self) -> bool {
        let calls = !self.calls.is_empty() || self.deferred.are_due();
        self.ready.is_empty() && self.touched.is_empty() && !calls
    }

    /// Makes every channel that was touched since the last wait write its gathered output.
    /// Calls no handler.
    pub(super) fn write_gathered(&mut self) {
        for key in &self.touched {
            if self.watches.current(*key).is_some() {
                if let Some(channel) = self.channels.get_mut(&key.fd) {
                    channel.write_gathered();
                }
            }
        }
    }
}
