//! A simulated world, for tests of handlers without descriptors, threads or sleeping.
//!
//! A [`World`] has a clock that moves only when a loop waits, and connections in memory. A test
//! puts its handler on one side of a connection, and plays the [`Peer`] on the other. The world's
//! seed decides everything else: the pieces in which data arrives and their delays, the bytes that
//! a receive or send moves, when it finds nothing or is interrupted, when spurious readiness is
//! reported, and the order in which channels are ready. So a handler meets in microseconds what a
//! network does to it in years, and a seed that fails fails each time.
//!
//! The module needs the feature `sim`. Turn it on for tests alone:
//!
//! ```toml
//! [dev-dependencies]
//! fdloop = { version = "0.1", features = ["sim"] }
//! ```
//!
//! # A test
//!
//! A handler that counts the lines that it gets, under 1,000 seeds:
//!
//! ```
//! use std::time::Duration;
//! use fdloop::sim::{self, End};
//! use fdloop::{AsyncChat, ChatHandler, ChatIo, Result};
//!
//! /// Sends the length of each line, and of the rest at the end.
//! struct Lengths;
//!
//! impl ChatHandler for Lengths {
//!     fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
//!         let line = io.take_data();
//!         io.push(format!("{}\n", line.len()))
//!     }
//!     fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
//!         let rest = io.take_data();
//!         io.push(format!("{} without an end\n", rest.len()))?;
//!         io.close_after_eof();
//!         Ok(())
//!     }
//! }
//!
//! sim::for_seeds(1_000, |world| {
//!     let mut event_loop = world.event_loop();
//!     let (stream, peer) = world.pair();
//!     let mut chat = AsyncChat::over(stream, Lengths);
//!     chat.set_terminator("\n");
//!     chat.set_timeout(Some(Duration::from_secs(60)));
//!     let id = event_loop.add(chat)?;
//!
//!     // The peer says the rest after a while, and half-closes. Sometimes it goes away.
//!     peer.send("one\n\nthr");
//!     let is_rude = world.chance(20);
//!     let later = peer.clone();
//!     world.call_later(world.duration(Duration::ZERO..=Duration::from_secs(30)), move |_| {
//!         later.send("ee\nfour");
//!         match is_rude {
//!             true => later.reset(),
//!             false => later.shutdown(),
//!         }
//!     });
//!     world.run(&mut event_loop)?;
//!
//!     assert!(!event_loop.contains(id));
//!     if !is_rude {
//!         assert_eq!(peer.received(), b"3\n0\n5\n4 without an end\n");
//!         assert_eq!(peer.end(), Some(End::InOrder));
//!     }
//!     Ok(())
//! })?;
//! # Ok::<(), fdloop::Error>(())
//! ```
//!
//! If a seed fails, the error names it and shows the last steps; see [`for_seeds`].
//!
//! # Servers
//!
//! Only real sockets listen and connect. So put what a server does with a connection into a
//! function that takes the channel, not the socket:
//!
//! ```
//! use fdloop::{
//!     Address, AsyncChat, ChatHandler, ChatIo, EventLoop, Handler, Io, Result, Socket,
//!     sim::World,
//! };
//!
//! struct Session;
//! impl ChatHandler for Session {
//!     fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
//!         io.push("250 OK\r\n")
//!     }
//! }
//!
//! fn open(event_loop: &mut EventLoop, mut chat: AsyncChat<Session>) -> Result<()> {
//!     chat.set_terminator("\r\n");
//!     chat.push("220 ready\r\n")?;
//!     event_loop.add(chat)?;
//!     Ok(())
//! }
//!
//! struct Server;
//! impl Handler for Server {
//!     fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
//!         let chat = AsyncChat::new(socket, Session)?;
//!         open(io.event_loop(), chat)
//!     }
//! }
//!
//! // The test:
//! let world = World::with_seed(0);
//! let mut event_loop = world.event_loop();
//! let (stream, client) = world.pair();
//! open(&mut event_loop, AsyncChat::over(stream, Session))?;
//! world.run(&mut event_loop)?;
//! assert_eq!(client.received(), b"220 ready\r\n");
//! # Ok::<(), fdloop::Error>(())
//! ```
//!
//! If sessions reach the listener's handler by its id, put that on a stream whose peer does
//! nothing: `event_loop.add_background(Dispatcher::over(world.pair().0, Server))`. Over a stream, a
//! channel has no properties of sockets, such as addresses.
//!
//! # Time
//!
//! Timers, timeouts of channels and timeouts of turns are on the world's clock. A handler that
//! is to be tested takes the time from [`EventLoop::now`](crate::EventLoop::now) and not from
//! [`Instant::now`](std::time::Instant::now).

mod peer;
mod poller;
mod random;
mod seeds;
mod side;
mod state;
mod stream;
mod trace;
mod world;

pub use peer::{End, Peer};
pub use seeds::for_seeds;
pub use stream::Stream;
pub use trace::{Step, What};
pub use world::World;
