//! asyncore and asynchat for Rust: an event loop built directly on select(2) and poll(2), for any
//! Unix file descriptor: sockets, pipes, terminals, regular files, devices.
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
//! - An [`EventLoop`] owns [channels](Channel). It waits until a descriptor is ready, and calls
//!   the methods of its channel. A [`Poller`] makes the system call: [`SelectPoller`],
//!   [`PollPoller`], or one of your own.
//! - A [`Dispatcher`] is a channel over a socket. It calls your [`Handler`], and passes it an
//!   [`Io`], which has the methods of the channel. A [`DispatcherWithSend`] also buffers output
//!   until it can be written. A [`FileDispatcher`] is for every other kind of file, over a
//!   [`FileWrapper`], which has the methods of a socket.
//! - An [`AsyncChat`] is a channel for protocols of lines or other pieces. It cuts its input at a
//!   [`Terminator`], and calls your [`ChatHandler`] with each piece.
//! - The loop also calls functions: at a time ([`EventLoop::call_later`]), for a signal
//!   ([`EventLoop::on_signal`]), when a child process has exited ([`EventLoop::on_child_exit`]) and
//!   for other threads ([`Remote`]).
//! - A [`ChannelId`] identifies a channel as long as it exists. With it, every handler reaches
//!   every channel.
//!
//! The names are asyncore's, and so is the order in which handlers are called.
//!
//! # Hostile peers
//!
//! A server must bound the resources that a client can use. By default only the length of a chat's
//! pieces has a limit.
//!
//! - **Its own output.** A client that sends and does not read makes the output buffer grow.
//!   With [`set_backpressure`](Endpoint::set_backpressure) a channel is not read from while its
//!   output is congested: from when [`pending`](Endpoint::pending) reaches the high watermark
//!   until it is down to the low one. [`set_watermarks`](Endpoint::set_watermarks) sets both;
//!   they are 65,536 and 16,384 bytes unless set.
//! - **The output of others.** Backpressure does not bound what other channels send to a
//!   client, as in a broadcast. Before each such send, check
//!   [`is_congested`](Endpoint::is_congested) of the receiver, and skip or
//!   [close](EventLoop::close) a client that does not read.
//! - **The length of a piece.** A piece that ends with bytes may have 65,536 bytes in an
//!   [`AsyncChat`]. [`set_limit`](AsyncChat::set_limit) changes that limit; set it to the
//!   longest line of your protocol. A longer piece is an [`Error::LineTooLong`], which by
//!   default ends the chat. The limit does not apply to counts: check a length that a client
//!   has announced before you give it to [`set_terminator`](ChatIo::set_terminator).
//! - **Time.** A client may connect and say nothing: [`set_timeout`](Endpoint::set_timeout) ends a
//!   connection on which no bytes move. It may also send a byte a minute. Record when a client
//!   last completed something useful, and close the clients that are overdue from a periodic
//!   timer ([`call_every`](EventLoop::call_every)).
//! - **The number of connections.** Each takes a descriptor and memory. Count them, and drop
//!   the socket in [`handle_accepted`](Handler::handle_accepted) when there are too many. If the
//!   process runs out of descriptors nevertheless (EMFILE, ENFILE), the listener refuses the
//!   connections that wait, logs that once, and recovers by itself: see
//!   [`accept`](Endpoint::accept).
//!
//! A chat server with all of these but the broadcast:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use fdloop::{
//!     Address, AsyncChat, ChannelId, ChatHandler, ChatIo, Dispatcher, EventLoop, Handler, Io, Result,
//!     Socket,
//! };
//!
//! const CLIENTS: usize = 500;
//! const LONGEST_LINE: usize = 1_000;
//! const PATIENCE: Duration = Duration::from_secs(60);
//! const SWEEP: Duration = Duration::from_secs(1);
//!
//! struct Client {
//!     last_line: Instant,
//! }
//!
//! impl ChatHandler for Client {
//!     fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
//!         self.last_line = Instant::now(); // single bytes do not count
//!         let line = io.take_data();
//!         io.push(line)?;
//!         io.push("\n")
//!     }
//! }
//!
//! #[derive(Default)]
//! struct Server {
//!     clients: Vec<ChannelId<AsyncChat<Client>>>,
//! }
//!
//! impl Handler for Server {
//!     fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
//!         if self.clients.len() >= CLIENTS {
//!             return Ok(()); // dropping the socket closes it
//!         }
//!         let last_line = Instant::now();
//!         let mut chat = AsyncChat::new(socket, Client { last_line })?;
//!         chat.set_terminator("\n");
//!         chat.set_limit(LONGEST_LINE);
//!         chat.set_backpressure(true);
//!         self.clients.push(io.event_loop().add(chat)?);
//!         Ok(())
//!     }
//! }
//!
//! impl Server {
//!     /// Closes the clients that are overdue, and forgets those that are gone.
//!     fn sweep(clients: &mut Vec<ChannelId<AsyncChat<Client>>>, event_loop: &mut EventLoop) {
//!         clients.retain(|&id| {
//!             let Some(chat) = event_loop.get(id) else {
//!                 return false;
//!             };
//!             let overdue = chat.handler().last_line.elapsed() > PATIENCE;
//!             if overdue {
//!                 let _ = event_loop.close(id); // gone in any case
//!             }
//!             !overdue
//!         });
//!     }
//! }
//!
//! let mut event_loop = EventLoop::new()?;
//! let server = event_loop.add(Dispatcher::listen("127.0.0.1:0", Server::default())?)?;
//! # // A client whose line is too long; the server ends when that is closed.
//! # let address = event_loop.get(server).unwrap().local_addr()?;
//! # let client = std::thread::spawn(move || {
//! #     use std::io::{Read, Write};
//! #     let mut stream = std::net::TcpStream::connect(("127.0.0.1", address.port().unwrap()))?;
//! #     stream.write_all(b"short\n")?;
//! #     let mut echo = [0; 6];
//! #     stream.read_exact(&mut echo)?;
//! #     stream.write_all(&[b'x'; 1_001])?;
//! #     let end = stream.read(&mut echo);
//! #     Ok::<bool, std::io::Error>(matches!(end, Ok(0) | Err(_)))
//! # });
//! event_loop.call_every(SWEEP, move |event_loop| {
//!     event_loop.with(server, |server, event_loop| {
//!         Server::sweep(&mut server.handler_mut().clients, event_loop);
//!         Ok(())
//!     })
//! });
//! # let client = std::rc::Rc::new(std::cell::RefCell::new(Some(client)));
//! # let running = client.clone();
//! # event_loop.call_every(Duration::from_millis(5), move |event_loop| {
//! #     if running.borrow().as_ref().is_some_and(|client| client.is_finished()) {
//! #         event_loop.close(server)?;
//! #     }
//! #     Ok(())
//! # });
//! event_loop.run()?;
//! # let client = client.take().unwrap();
//! # assert!(client.join().unwrap()?);
//! # Ok::<(), fdloop::Error>(())
//! ```
//!
//! # Platforms
//!
//! Unix: Linux, macOS, the BSDs, illumos. Platform differences are documented where they apply.
//!
//! # Features
//!
//! All but `coroutines`, `epoll`, `expect` and `sim` are on by default.
//!
//! - `select`, `poll` and `epoll` build the backends in; a loop chooses between them at run time,
//!   with [`Backend`]. One of them is needed. `epoll` builds nothing except on Linux, Android and
//!   illumos.
//! - `signals`: callbacks for signals, [`EventLoop::on_signal`] and [`EventLoop::stop_on`].
//! - `children`: callbacks for the exits of child processes, [`EventLoop::on_child_exit`].
//! - `tty`: terminals, `RawMode`, `WindowSize` and `Pty`.
//! - `expect`: `Expect`, for scripts that talk to programs on a terminal.
//! - `sim`: the module `sim`, a simulated world for tests of your handlers without descriptors,
//!   threads or sleeping.
//! - `coroutines`: async functions on the same loop, `EventLoop::spawn`, `Handle`, `Async` and
//!   `Conversation`. The chapter [From generators and callbacks to async] introduces them.
//!
//! [From generators and callbacks to async]: https://github.com/fdloop/fdloop/blob/main/docs/coroutines.md

// Without a feature, the documentation's links to what it adds lead nowhere.
#![cfg_attr(
    not(all(
        feature = "select",
        feature = "poll",
        with_epoll,
        feature = "children",
        feature = "tty"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

/// The README, whose examples are compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The chapter on coroutines, for the same reason.
#[cfg(all(doctest, feature = "coroutines"))]
#[doc = include_str!("../docs/coroutines.md")]
struct Coroutines;

mod address;
mod chat;
#[cfg(feature = "children")]
mod children;
#[cfg(feature = "coroutines")]
mod coroutine;
mod dispatcher;
mod error;
mod event_loop;
#[cfg(feature = "expect")]
mod expect;
mod file;
mod poller;
mod resolver;
#[cfg(feature = "signals")]
mod signals;
#[cfg(feature = "sim")]
pub mod sim;
mod sys;
#[cfg(feature = "tty")]
mod tty;

pub use crate::{
    address::{Address, Family, ToAddresses},
    chat::{AsyncChat, ChatHandler, ChatIo, IntoBytes, Terminator},
    dispatcher::{
        Connection, Dispatcher, DispatcherWithSend, Endpoint, Handler, IntoSocket, Io,
        IterProducer, Passage, Producer, ReadProducer, SimpleProducer, Socket, SocketType,
        Transport, View,
    },
    error::{Error, Misuse, Panic, Result, SystemError},
    event_loop::{
        AddError, AnyId, Builder, Cancel, Channel, ChannelId, Deferred, Ended, EventLoop, Hold,
        Predicates, Remote, RunOptions, StateId, TimerId,
    },
    file::{FileDispatcher, FileWrapper},
    poller::{Backend, Deadline, Event, Interest, Poller, Readiness},
    resolver::{Lookup, Resolver},
};

#[cfg(feature = "children")]
pub use crate::children::{ChildId, IntoChild};
#[cfg(feature = "signals")]
pub use crate::signals::{Sender, SignalId, SignalInfo};

#[cfg(all(feature = "coroutines", feature = "signals"))]
pub use crate::coroutine::Signals;
#[cfg(feature = "coroutines")]
pub use crate::coroutine::{
    Async, Conversation, Handle, Interval, JoinHandle, Listener, Part, QueueReceiver, QueueSender,
    Sleep, queue, unbounded_queue,
};
#[cfg(with_epoll)]
pub use crate::poller::EpollPoller;
#[cfg(feature = "poll")]
pub use crate::poller::PollPoller;
#[cfg(feature = "select")]
pub use crate::poller::SelectPoller;

#[cfg(feature = "expect")]
pub use crate::expect::{Expect, Match, Pattern};
#[cfg(feature = "tty")]
pub use crate::tty::{Pty, RawMode, WindowSize, is_tty};

/// The levels that [`Handler::log_info`] takes, from the `log` facade.
pub use log::Level;
