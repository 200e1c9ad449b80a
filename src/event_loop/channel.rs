//! What the loop serves.

use std::any::Any;
use std::os::fd::{AsRawFd, RawFd};

use super::EventLoop;
use super::upcast::Upcast;
use crate::error::{Error, Result};
use crate::poller::Interest;

/// Something with a descriptor that an [`EventLoop`] serves.
///
/// [`Dispatcher`](crate::Dispatcher) and the types made of it are channels that call the
/// handlers of asyncore. Implement this trait yourself for a descriptor that is not a stream of
/// bytes: a self-pipe, a timer descriptor, a device with an interface of its own.
///
/// The loop takes a channel out of its map while one of these methods runs, so each of them may
/// use the loop freely.
///
/// # The descriptor's number
///
/// The loop reads `as_raw_fd` when the channel is added, and the channel keeps that number for
/// as long as it is in a loop. A channel that gets another descriptor puts it under the same
/// number, with dup2(2). If the number has changed when a method returns, the channel gets an
/// `InvalidInput` error, and is removed.
///
/// -1 means that there is no descriptor. A channel without one cannot be added. One that gives
/// up its descriptor while it is in the loop returns `None` from
/// [`interest`](Channel::interest) from then on.
///
/// ```
/// use fdloop::{Channel, EventLoop, Error, Result};
/// use std::io::{Read, Write};
/// use std::os::fd::{AsRawFd, RawFd};
/// use std::os::unix::net::UnixStream;
///
/// /// Stops the loop when the other end is written to.
/// struct Stopper(UnixStream);
///
/// impl AsRawFd for Stopper {
///     fn as_raw_fd(&self) -> RawFd {
///         self.0.as_raw_fd()
///     }
/// }
///
/// impl Channel for Stopper {
///     fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
///         self.0.read(&mut [0])?;
///         event_loop.stop();
///         Ok(())
///     }
/// }
///
/// let (reader, mut writer) = UnixStream::pair()?;
/// let mut event_loop = EventLoop::new()?;
/// event_loop.add(Stopper(reader))?;
/// writer.write_all(b"!")?;
/// event_loop.run()?;
/// # Ok::<(), Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a channel",
    label = "not a channel",
    note = "wrap a handler in a channel: `Dispatcher::new(socket, handler)`, \
            `DispatcherWithSend::new(socket, handler)`, `FileDispatcher::new(file, handler)` or \
            `AsyncChat::new(socket, chat_handler)`",
    note = "implement `Channel` yourself for something with a descriptor that is not a stream of \
            bytes"
)]
pub trait Channel: AsRawFd + Upcast {
    /// Returns what the loop waits for, or `None` once the channel is closed: the loop then
    /// calls no other method of it, and removes it. asyncore's `readable` and `writable` in
    /// one; by default the channel always waits to read.
    ///
    /// The poller reports a descriptor in every pass in which it is ready, so a channel that
    /// waits to write while it has nothing to write keeps the loop awake.
    ///
    /// ```
    /// use fdloop::{Channel, EventLoop, Interest};
    /// use std::os::fd::{AsRawFd, RawFd};
    ///
    /// /// A device that takes commands, and answers them.
    /// struct Plotter {
    ///     device: std::fs::File,
    ///     commands: Vec<u8>,
    /// }
    /// # impl AsRawFd for Plotter {
    /// #     fn as_raw_fd(&self) -> RawFd {
    /// #         self.device.as_raw_fd()
    /// #     }
    /// # }
    /// impl Channel for Plotter {
    ///     fn interest(&self, _: &EventLoop) -> Option<Interest> {
    ///         let mut interest = Interest::READABLE;
    ///         interest.set(Interest::WRITABLE, !self.commands.is_empty());
    ///         Some(interest)
    ///     }
    /// }
    /// ```
    fn interest(&self, event_loop: &EventLoop) -> Option<Interest> {
        let _ = event_loop;
        Some(Interest::READABLE | Interest::PRIORITY)
    }

    /// How often the loop must ask for the [`interest`](Channel::interest). Read
    /// once, when the channel is added.
    fn predicates(&self) -> Predicates {
        Predicates::EveryPass
    }

    /// The descriptor is ready for reading.
    ///
    /// # Errors
    ///
    /// For this and the other events, [`Error`] says what becomes of an error.
    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// The descriptor is ready for writing.
    ///
    /// # Errors
    ///
    /// As for [`handle_read_event`](Channel::handle_read_event).
    fn handle_write_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// The descriptor has an exceptional condition: see [`Interest::PRIORITY`].
    ///
    /// # Errors
    ///
    /// As for [`handle_read_event`](Channel::handle_read_event).
    fn handle_expt_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// The channel has come to its end: the other side hung up, or one of the
    /// channel's methods returned `reason`, which says that the connection is
    /// gone. The loop calls this at most once, and removes the channel when it
    /// returns.
    ///
    /// # Errors
    ///
    /// [`Error::ExitNow`] leaves the loop; others are given to `handle_error`.
    fn handle_close(&mut self, event_loop: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        let _ = (event_loop, reason);
        Ok(())
    }

    /// One of the channel's methods returned `error`, and it is not one of those
    /// that say that the connection is gone. By default it is handed back.
    ///
    /// # Errors
    ///
    /// [`Error::ExitNow`] leaves the loop; any other is logged and ends the
    /// channel: `handle_close` follows.
    fn handle_error(&mut self, event_loop: &mut EventLoop, error: Error) -> Result<()> {
        let _ = event_loop;
        Err(error)
    }

    /// Whether `error`, which one of the channel's methods returned, says that the
    /// connection of the channel's own descriptor is gone, so that `handle_close` is
    /// next and not `handle_error`. By default that is an error of a
    /// [disconnected](Error::is_disconnected) class which names the channel's
    /// descriptor or none.
    fn is_own_end(&self, error: &Error) -> bool {
        error.is_disconnected() && error.fd().is_none_or(|fd| fd == self.as_raw_fd())
    }

    /// Does what became due while the channel was reached from outside
    /// ([`EventLoop::get_mut`]), at the beginning of the next pass at the latest.
    ///
    /// # Errors
    ///
    /// As for [`handle_read_event`](Channel::handle_read_event).
    fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// Writes what the channel's handlers have sent and what waits only so that it
    /// leaves together, as far as there is room. The loop calls this where it stops
    /// before it could [`settle`](Channel::settle) the channel: when `run` ends. By
    /// default nothing waits.
    fn write_gathered(&mut self) {}

    /// The other side has hung up while the channel does not wait to read, so that
    /// reading will not tell. Whether this ends the channel, as it does by default:
    /// `handle_close` follows. If not, the channel must no longer wait to write
    /// either, or it hears of this again at once.
    fn ends_by_hangup(&mut self) -> bool {
        true
    }

    /// Returns a part of the channel that others reach by its id without knowing the
    /// channel's type, with [`EventLoop::part`]. A dispatcher, and so a chat or a file,
    /// shows its [`Endpoint`](crate::Endpoint). By default there is none.
    ///
    /// ```
    /// use fdloop::{Channel, EventLoop};
    /// use std::any::Any;
    /// use std::os::fd::{AsRawFd, RawFd};
    ///
    /// /// What all of a program's devices have.
    /// struct Statistics {
    ///     bytes: u64,
    /// }
    ///
    /// struct Device(os_pipe::PipeReader, Statistics);
    /// impl AsRawFd for Device {
    ///     fn as_raw_fd(&self) -> RawFd {
    ///         self.0.as_raw_fd()
    ///     }
    /// }
    /// impl Channel for Device {
    ///     fn part(&self) -> Option<&dyn Any> {
    ///         Some(&self.1)
    ///     }
    ///     fn part_mut(&mut self) -> Option<&mut dyn Any> {
    ///         Some(&mut self.1)
    ///     }
    /// }
    ///
    /// let (reader, _writer) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let id = event_loop.add(Device(reader, Statistics { bytes: 7 }))?;
    /// assert_eq!(event_loop.part::<Statistics>(id).unwrap().bytes, 7);
    /// event_loop.part_mut::<Statistics>(id).unwrap().bytes = 0;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    fn part(&self) -> Option<&dyn Any> {
        None
    }

    /// Returns the [`part`](Channel::part), to change it.
    fn part_mut(&mut self) -> Option<&mut dyn Any> {
        None
    }

    /// Closes the channel on behalf of [`EventLoop::close`], which then drops it.
    /// By default nothing is left to do, since dropping closes the descriptor;
    /// override it to say what closing answered.
    ///
    /// # Errors
    ///
    /// What closing the descriptor answered.
    fn close_descriptor(&mut self) -> Result<()> {
        Ok(())
    }

    /// The descriptor's number is not open any more: somebody closed it behind
    /// the channel's back. A channel that owns the number must not close it, for
    /// it may be somebody else's soon. What follows is `handle_close`, and the
    /// channel is removed.
    fn descriptor_lost(&mut self) {}
}

/// How often a channel must be asked what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Predicates {
    /// In every pass. asyncore's contract and the safe default, since predicates may look
    /// at anything.
    #[default]
    EveryPass,
    /// Only after a method of the channel ran, or it was reached with
    /// [`EventLoop::get_mut`]: its predicates look at its own state alone. Idle channels
    /// then cost nothing in a pass. Debug builds ask all the same, and log an error where
    /// the claim is wrong.
    OnChange,
}

/// Makes `Outer<H>(Inner<H>)` a channel by forwarding everything to the inner one:
/// asyncore's inheritance. `settle` names a function to call on the inner one in place of
/// its [`Channel::settle`].
macro_rules! forward_channel {
    ($outer:ident<$param:ident: $bound:ident + 'static>) => {
        $crate::event_loop::forward_channel! {
            $outer<$param: $bound + 'static>, settle: $crate::Channel::settle
        }
    };
    ($outer:ident<$param:ident: $bound:ident + 'static>, settle: $settle:path) => {
        impl<$param: $bound + 'static> $crate::Channel for $outer<$param> {
            fn interest(&self, event_loop: &$crate::EventLoop) -> Option<$crate::Interest> {
                self.0.interest(event_loop)
            }
            fn predicates(&self) -> $crate::Predicates {
                self.0.predicates()
            }
            fn handle_read_event(
                &mut self,
                event_loop: &mut $crate::EventLoop,
            ) -> $crate::Result<()> {
                self.0.handle_read_event(event_loop)
            }
            fn handle_write_event(
                &mut self,
                event_loop: &mut $crate::EventLoop,
            ) -> $crate::Result<()> {
                self.0.handle_write_event(event_loop)
            }
            fn handle_expt_event(
                &mut self,
                event_loop: &mut $crate::EventLoop,
            ) -> $crate::Result<()> {
                self.0.handle_expt_event(event_loop)
            }
            fn handle_close(
                &mut self,
                event_loop: &mut $crate::EventLoop,
                reason: Option<$crate::Error>,
            ) -> $crate::Result<()> {
                self.0.handle_close(event_loop, reason)
            }
            fn handle_error(
                &mut self,
                event_loop: &mut $crate::EventLoop,
                error: $crate::Error,
            ) -> $crate::Result<()> {
                self.0.handle_error(event_loop, error)
            }
            fn is_own_end(&self, error: &$crate::Error) -> bool {
                $crate::Channel::is_own_end(&self.0, error)
            }
            fn settle(&mut self, event_loop: &mut $crate::EventLoop) -> $crate::Result<()> {
                $settle(&mut self.0, event_loop)
            }
            fn write_gathered(&mut self) {
                $crate::Channel::write_gathered(&mut self.0);
            }
            fn ends_by_hangup(&mut self) -> bool {
                self.0.ends_by_hangup()
            }
            fn part(&self) -> Option<&dyn std::any::Any> {
                $crate::Channel::part(&self.0)
            }
            fn part_mut(&mut self) -> Option<&mut dyn std::any::Any> {
                $crate::Channel::part_mut(&mut self.0)
            }
            fn close_descriptor(&mut self) -> $crate::Result<()> {
                self.0.close_descriptor()
            }
            fn descriptor_lost(&mut self) {
                self.0.descriptor_lost();
            }
        }
    };
}
pub(crate) use forward_channel;

/// Stands in the map for a channel that is being served.
#[derive(Debug)]
pub(super) struct InService;

impl AsRawFd for InService {
    fn as_raw_fd(&self) -> RawFd {
        -1
    }
}

impl Channel for InService {
    fn interest(&self, _: &EventLoop) -> Option<Interest> {
        Some(Interest::empty())
    }
}
