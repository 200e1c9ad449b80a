//! Channels: what a loop serves.

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
/// The loop reads `as_raw_fd` when the channel is added, and the channel keeps that number for as
/// long as it is in a loop. A channel that gets another descriptor puts it under the same number,
/// with dup2(2), and calls [`EventLoop::descriptor_replaced`]. If the number has changed when a
/// method returns, the channel gets an `InvalidInput` error, and is removed.
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

    /// Returns how often the loop must ask for the [`interest`](Channel::interest). The loop
    /// reads this once, when the channel is added.
    fn predicates(&self) -> Predicates {
        Predicates::EveryPass
    }

    /// Handles readiness for reading.
    ///
    /// # Errors
    ///
    /// For this and the other events, [`Error`] describes the effect of an error.
    fn handle_read_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// Handles readiness for writing.
    ///
    /// # Errors
    ///
    /// As for [`handle_read_event`](Channel::handle_read_event).
    fn handle_write_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// Handles an exceptional condition: see [`Interest::PRIORITY`].
    ///
    /// # Errors
    ///
    /// As for [`handle_read_event`](Channel::handle_read_event).
    fn handle_expt_event(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// Handles the end of the time that was set with [`EventLoop::set_timeout`]. By default does
    /// nothing.
    ///
    /// # Errors
    ///
    /// As for [`handle_read_event`](Channel::handle_read_event).
    fn handle_timeout(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// Handles the end of the channel: the other side hung up, or one of the channel's methods
    /// returned `reason`, which means that the connection is lost. The loop calls this at most
    /// once, and then removes the channel.
    ///
    /// # Errors
    ///
    /// [`Error::ExitNow`] leaves the loop. Any other error is passed to `handle_error`.
    fn handle_close(&mut self, event_loop: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        let _ = (event_loop, reason);
        Ok(())
    }

    /// Handles an error that one of the channel's methods returned, unless it means that the
    /// connection is lost. By default it is returned.
    ///
    /// # Errors
    ///
    /// [`Error::ExitNow`] leaves the loop. Any other error is logged and ends the channel:
    /// `handle_close` is called.
    fn handle_error(&mut self, event_loop: &mut EventLoop, error: Error) -> Result<()> {
        let _ = event_loop;
        Err(error)
    }

    /// Checks whether `error`, which one of the channel's methods returned, means that the
    /// connection of the channel's own descriptor is lost. The loop then calls `handle_close`,
    /// else `handle_error`. By default returns true for a
    /// [disconnected](Error::is_disconnected) error that names the channel's descriptor or
    /// none.
    fn is_own_end(&self, error: &Error) -> bool {
        error.is_disconnected() && error.fd().is_none_or(|fd| fd == self.as_raw_fd())
    }

    /// Does what became due while the channel was reached from outside
    /// ([`EventLoop::get_mut`]). The loop calls this at the latest at the beginning of the next
    /// pass.
    ///
    /// # Errors
    ///
    /// As for [`handle_read_event`](Channel::handle_read_event).
    fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// Writes the output that the channel's handlers have sent and that was gathered, as far as
    /// there is room. The loop calls this if `run` ends before it can
    /// [`settle`](Channel::settle) the channel. By default does nothing.
    fn write_gathered(&mut self) {}

    /// Handles a hang-up of the other side while the channel does not wait to read, so that no
    /// read reports it. Returns whether it ends the channel: `handle_close` is then called. By
    /// default returns true. After it has returned false, the channel must not wait to write,
    /// or the hang-up is reported again at once.
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

    /// Closes the channel for [`EventLoop::close`], which then drops it. By default does
    /// nothing, since dropping closes the descriptor. Override it to return the error of
    /// closing.
    ///
    /// # Errors
    ///
    /// Those of closing the descriptor.
    fn close_descriptor(&mut self) -> Result<()> {
        Ok(())
    }

    /// Handles the loss of the descriptor: other code has closed its number. A channel that
    /// owns the number must not close it, since it may belong to another owner soon. The loop
    /// then calls `handle_close`, and removes the channel.
    fn descriptor_lost(&mut self) {}

    /// Gives the channel a state of its own in a child process that fork(2) has made:
    /// [`EventLoop::after_fork`] calls this for every channel. By default does nothing, since the
    /// child shares the descriptor with its parent. Override it for a descriptor whose state
    /// belongs to one process, and put the new one under the same number, with dup2(2).
    ///
    /// # Errors
    ///
    /// The errors of making the descriptor. [`EventLoop::after_fork`] returns the first one.
    fn after_fork(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        let _ = event_loop;
        Ok(())
    }

    /// Calls `handle_read_event`, and then sets `outcome` to the state of the channel.
    ///
    /// The usual event is one virtual call, which a dispatcher implements in fewer steps.
    #[doc(hidden)]
    fn deliver_read(&mut self, event_loop: &mut EventLoop, outcome: &mut Outcome) -> Result<()> {
        self.handle_read_event(event_loop)?;
        outcome.interest = match event_loop.serves_ending() {
            true => None,
            false => self.interest(event_loop),
        };
        outcome.fd = self.as_raw_fd();
        Ok(())
    }
}

/// The state of a channel after an event.
#[derive(Debug)]
pub struct Outcome {
    /// Its descriptor.
    pub(crate) fd: RawFd,
    /// Its interest; `None` if it is over.
    pub(crate) interest: Option<Interest>,
}

impl Default for Outcome {
    /// Makes the outcome of an event that was not delivered yet.
    fn default() -> Self {
        Self {
            fd: -1,
            interest: None,
        }
    }
}

/// The times at which a channel must be asked for its interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Predicates {
    /// In every pass. This is asyncore's contract and the safe default, since predicates may
    /// look at anything.
    #[default]
    EveryPass,
    /// Only after a method of the channel has run, or it was reached with
    /// [`EventLoop::get_mut`]: its predicates look only at its own state, or at that of a channel
    /// that reaches this one when it changes. Idle channels then cost nothing in a pass. Debug
    /// builds ask in every pass, and log an error if the promise is broken.
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
            fn deliver_read(
                &mut self,
                event_loop: &mut $crate::EventLoop,
                outcome: &mut $crate::event_loop::Outcome,
            ) -> $crate::Result<()> {
                $crate::Channel::deliver_read(&mut self.0, event_loop, outcome)
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
            fn handle_timeout(&mut self, event_loop: &mut $crate::EventLoop) -> $crate::Result<()> {
                $crate::Channel::handle_timeout(&mut self.0, event_loop)
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
            fn after_fork(&mut self, event_loop: &mut $crate::EventLoop) -> $crate::Result<()> {
                $crate::Channel::after_fork(&mut self.0, event_loop)
            }
        }
    };
}
pub(crate) use forward_channel;

/// The placeholder in the map for a channel that is being served.
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
