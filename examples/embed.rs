//! An echo server in a program that has a loop of its own.
//!
//! The program waits in its own poll loop, here popol's, for its own descriptors: a console on
//! standard input. These stay with the program. A [`Poller`] passes it the interests of the
//! channels. It waits for all descriptors at once, at most until [`EventLoop::next_deadline`], and
//! then passes the events to [`EventLoop::turn`].
//!
//! Try it:
//!
//! ```text
//! cargo run --example embed
//! echo hello | nc -N 127.0.0.1 8080        # in another terminal
//! ```

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{
    Address, Deadline, Dispatcher, DispatcherWithSend, Event, EventLoop, Handler, Interest, Io,
    Poller, Readiness, Result, Socket,
};
use popol::interest::{READ, WRITE};
use popol::{Sources, Timeout};

const USAGE: &str = "\
usage: embed [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default
  On standard input, `count` prints the number of connections, and `quit` or its end ends.";

/// The time after which a silent connection is closed.
const TIMEOUT: Duration = Duration::from_secs(600);

// --- the bridge between the two loops ----------------------------------------------

/// The interests of the channels, and the events that the program has found.
#[derive(Debug, Default)]
struct Bridge {
    interests: BTreeMap<RawFd, Interest>,
    ready: Vec<Event>,
}

/// A poller that leaves waiting to the program.
#[derive(Debug, Clone, Default)]
struct Bridged(Rc<RefCell<Bridge>>);

impl Poller for Bridged {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        let mut bridge = self.0.borrow_mut();
        if interest.is_empty() {
            bridge.interests.remove(&fd);
            // The number may belong to another file from now on.
            bridge.ready.retain(|event| event.fd != fd);
        } else {
            bridge.interests.insert(fd, interest);
        }
        Ok(())
    }

    fn wait(&mut self, _: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        ready.append(&mut self.0.borrow_mut().ready);
        Ok(())
    }
}

// --- the program and its own loop --------------------------------------------------

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Console,
    Channel(RawFd),
}

fn main() -> ExitCode {
    common::main(USAGE, &[], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    let poller = Bridged::default();
    let mut event_loop = EventLoop::with_poller(poller.clone());
    let listener = event_loop.add(Dispatcher::listen(addresses.as_slice(), Server)?)?;
    if let Some(listener) = event_loop.get(listener) {
        common::print(&format!("listening on {}\n", listener.local_addr()?))?;
    }
    loop {
        let console = wait(&poller, event_loop.next_deadline()).map_err(fdloop::Error::from)?;
        event_loop.turn(Some(Duration::ZERO))?;
        if console {
            let mut line = String::new();
            let length = io::stdin()
                .read_line(&mut line)
                .map_err(fdloop::Error::from)?;
            match line.trim() {
                _ if length == 0 => return Ok(()),
                "quit" => return Ok(()),
                "count" => common::print(&format!("{} connections\n", event_loop.len() - 1))?,
                _ => common::print("the commands are: count, quit\n")?,
            }
        }
    }
}

/// Waits for the console and the channels. Returns whether the console is ready.
fn wait(poller: &Bridged, deadline: Deadline) -> io::Result<bool> {
    let mut bridge = poller.0.borrow_mut();
    let mut sources = Sources::new();
    sources.register(Key::Console, &io::stdin(), READ);
    for (fd, interest) in &bridge.interests {
        let mut wanted = 0;
        if interest.contains(Interest::READABLE) {
            wanted |= READ;
        }
        if interest.contains(Interest::WRITABLE) {
            wanted |= WRITE;
        }
        sources.register(Key::Channel(*fd), fd, wanted);
    }
    let timeout = match (deadline, deadline.remaining()) {
        (Deadline::Now, _) => Timeout::from_millis(0),
        // popol counts milliseconds, and cuts them off.
        (_, Some(left)) => Timeout::from(left + Duration::from_millis(1)),
        (_, None) => Timeout::Never,
    };
    let mut events = Vec::new();
    match sources.poll(&mut events, timeout) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        polled => drop(polled?),
    }
    let mut console = false;
    for event in events {
        let Key::Channel(fd) = event.key else {
            console = true;
            continue;
        };
        let mut readiness = Readiness::empty();
        readiness.set(
            Readiness::READABLE,
            event.is_readable() || event.is_hangup(),
        );
        readiness.set(Readiness::WRITABLE, event.is_writable());
        readiness.set(Readiness::ERROR, event.is_error());
        readiness.set(Readiness::INVALID, event.is_invalid());
        bridge.ready.push(Event::new(fd, readiness));
    }
    Ok(console)
}

// --- the channels ------------------------------------------------------------------

struct Server;

impl Handler for Server {
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        let mut echo = DispatcherWithSend::new(socket, Echo)?.with_backpressure();
        echo.set_timeout(Some(TIMEOUT));
        io.event_loop().add(echo)?;
        Ok(())
    }
}

pub(crate) struct Echo;

impl Handler for Echo {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(65_536, |io, data| io.send(data).map(drop))
    }
}
