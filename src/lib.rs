//! asyncore and asynchat for Rust: an event loop made of raw select(2) and
//! poll(2), for any Unix file descriptor: sockets, pipes, terminals, regular
//! files, devices.
//!
//! An echo server:
//!
//! ```no_run
//! use fdloop::{Address, Dispatcher, DispatcherWithSend, EventLoop, Handler, Io, Result, Socket};
//!
//! struct Echo;
//! impl Handler for Echo {
//!     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
//!         io.recv_with(65536, |io, data| {
//!             io.send(data)?; // buffered: this is a DispatcherWithSend
//!             Ok(())
//!         })
//!     }
//! }
//!
//! struct Server;
//! impl Handler for Server {
//!     fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, peer: Address) -> Result<()> {
//!         println!("incoming connection from {peer}");
//!         let echo = DispatcherWithSend::new(socket, Echo)?;
//!         io.event_loop().add(echo.with_backpressure())?; // reads no faster than the client
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> Result<()> {
//!     let mut event_loop = EventLoop::new()?;
//!     event_loop.add(Dispatcher::listen("127.0.0.1:8080", Server)?)?;
//!     event_loop.run() // until the last channel is closed
//! }
//! ```
//!
//! # The parts
//!
//! - An [`EventLoop`] owns [channels](Channel) and calls them when their
//!   descriptors are ready, which a [`Poller`] finds out: [`SelectPoller`],
//!   [`PollPoller`], or your own.
//! - A [`Dispatcher`] is a channel over a socket that calls a [`Handler`] of
//!   yours, with an [`Io`] to do the work; a [`DispatcherWithSend`] keeps its
//!   output until it can be written; a [`FileDispatcher`] is one over any other
//!   kind of file, which a [`FileWrapper`] makes look like a socket.
//! - An [`AsyncChat`] is a channel for a conversation: a [`ChatHandler`] gets its
//!   input cut into pieces, at a [`Terminator`].
//! - A [`ChannelId`] names a channel, for as long as it lives; with it, every
//!   handler reaches every channel.
//!
//! The names are asyncore's, and so is the order in which handlers are called.
//!
//! # Platforms
//!
//! Unix: Linux, macOS, the BSDs, illumos. What differs is said where it does.
//!
//! # Features
//!
//! `select` and `poll`, both on by default, build the two backends in; a loop
//! chooses between them at run time, with [`Backend`].

// With one backend built in, the documentation's links to the other lead nowhere.
#![cfg_attr(
    not(all(feature = "select", feature = "poll")),
    allow(rustdoc::broken_intra_doc_links)
)]

/// The README, whose examples are compiled with the documentation's.
#[cfg(all(doctest, unix, any(feature = "select", feature = "poll")))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(not(unix))]
compile_error!("fdloop is for Unix: it is made of select(2) and poll(2)");

#[cfg(not(any(feature = "select", feature = "poll")))]
compile_error!(
    "fdloop needs a backend: enable the feature \"select\" or \"poll\" (the default enables both)"
);

// Without a backend nothing else could be said than a list of what is missing.
#[cfg(all(unix, any(feature = "select", feature = "poll")))]
mod address;
#[cfg(all(unix, any(feature = "select", feature = "poll")))]
mod chat;
#[cfg(all(unix, any(feature = "select", feature = "poll")))]
mod dispatcher;
#[cfg(all(unix, any(feature = "select", feature = "poll")))]
mod error;
#[cfg(all(unix, any(feature = "select", feature = "poll")))]
mod event_loop;
#[cfg(all(unix, any(feature = "select", feature = "poll")))]
mod file;
#[cfg(all(unix, any(feature = "select", feature = "poll")))]
mod poller;
#[cfg(all(unix, any(feature = "select", feature = "poll")))]
mod sys;

#[cfg(all(unix, any(feature = "select", feature = "poll")))]
pub use crate::{
    address::{Address, Family, ToAddresses},
    chat::{AsyncChat, ChatHandler, ChatIo, IntoBytes, Terminator},
    dispatcher::{
        Dispatcher, DispatcherWithSend, Endpoint, Handler, IntoSocket, Io, IterProducer, Producer,
        ReadProducer, SimpleProducer, Socket, SocketType, Transport, View,
    },
    error::{Error, Misuse, Panic, Result, SystemError},
    event_loop::{AddError, Builder, Channel, ChannelId, EventLoop, Predicates, RunOptions},
    file::{FileDispatcher, FileWrapper},
    poller::{Backend, Deadline, Event, Interest, Poller, Readiness},
};

#[cfg(all(unix, feature = "poll"))]
pub use crate::poller::PollPoller;
#[cfg(all(unix, feature = "select"))]
pub use crate::poller::SelectPoller;

/// The levels that [`Handler::log_info`] takes, from the `log` facade.
pub use log::Level;
