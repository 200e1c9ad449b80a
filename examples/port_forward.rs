//! Forwards connections: a client that connects to LISTEN talks to REMOTE.
//!
//! Each connection is two channels, the client's and the remote's. Each has the [`AnyId`] of the
//! other, sends there what it receives, and ends the other when it ends itself:
//!
//! - A half-close is passed on as a half-close, after the data before it. The connection ends when
//!   both sides have closed.
//! - A reset is passed on as a reset, after the data before it.
//! - If a side has half-closed and is then reset, the other side is closed when all data is written
//!   to it, and what it sends meanwhile is dropped. It is not reset, since a reset would discard
//!   data that the kernel has not delivered yet.
//! - If the remote cannot be reached, the client's connection is closed.
//!
//! Threads resolve the name of REMOTE for each connection, so that the loop serves the others
//! meanwhile. Until then, the client's input waits.
//!
//! At most 256 KiB are pending for each side, however slow it is: a side is not read while too much
//! output is pending for the other.
//!
//! Try it:
//!
//! ```text
//! python3 -m http.server 8000 &
//! cargo run --example port_forward -- 127.0.0.1:8080 127.0.0.1:8000 &
//! curl http://127.0.0.1:8080/
//! ```

mod common;

use std::borrow::BorrowMut;
use std::process::ExitCode;
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{
    Address, AnyId, DispatcherWithSend, Endpoint, EventLoop, Handler, Io, Predicates, Resolver,
    Result, Socket, View,
};

const USAGE: &str = "\
usage: port_forward [--backend select|poll|epoll] [--timeout SECONDS] LISTEN REMOTE
  each is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME
  SECONDS is how long a connection may be silent, or connecting to REMOTE may take;
  for ever by default";

/// The number of names that are resolved at a time.
const RESOLVERS: usize = 4;

/// The limit of the pending output of one side, in bytes.
pub(crate) const LIMIT: usize = 256 * 1024;

/// The room in the other side's output from which on a side is read. With smaller pieces the
/// system calls cost more than the copying.
const LEAST_ROOM: usize = 64 * 1024;

/// One side of a forwarded connection.
#[derive(Default)]
pub(crate) struct Half {
    other: Option<AnyId>,
}

impl Half {
    /// Returns the other side, unless it is gone.
    fn other<'a>(&self, io: &'a mut Io<'_>) -> Option<&'a mut Endpoint> {
        io.event_loop().endpoint_mut(self.other?)
    }
}

impl Handler for Half {
    fn readable(&self, io: &View<'_>) -> bool {
        let other = self.other.and_then(|other| io.event_loop().endpoint(other));
        other.is_none_or(|other| !other.is_congested())
    }

    /// The result of `readable` changes when this side sends, and when the other side drains or
    /// ends. In the latter cases the other side reaches this one, so that this one is asked again.
    /// Idle connections then cost nothing in a pass.
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let pending = self.other(io).map_or(0, |other| other.pending());
        io.recv_with(LIMIT - pending.min(LIMIT - LEAST_ROOM), |io, data| {
            // Without the other side, the data is dropped.
            if let Some(other) = self.other(io) {
                if let Err(error) = other.send(data) {
                    // Not this side's error.
                    other.fail(error);
                }
            }
            Ok(())
        })
    }

    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        // It may read again.
        let _ = self.other(io);
        Ok(())
    }

    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        match self.other(io) {
            Some(other) if !other.input_ended() => {
                if let Err(error) = other.shutdown_when_done() {
                    other.fail(error);
                }
            }
            Some(other) => {
                // Both have ended: each closes when its output is written.
                other.close_when_done();
                io.close_when_done();
            }
            None => io.close_when_done(),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, io: &mut Io<'_>) -> Result<()> {
        // What this side sent is still written to the other, which has a timeout of its own.
        if self.other(io).is_none_or(|other| other.pending() == 0) {
            let timed_out = std::io::Error::from_raw_os_error(libc::ETIMEDOUT);
            io.fail(timed_out.into());
        }
        Ok(())
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: fdloop::Error) -> Result<()> {
        // Such as a refused connection. `handle_close` handles all ends.
        io.fail(error);
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        let was_never_connected = !io.connected();
        if let Some(reason) = io.reason().filter(|_| was_never_connected) {
            // Not resolved, refused, unreachable, timed out.
            let reason = reason.to_string();
            let client = self.other(io).and_then(|client| client.addr().cloned());
            let client = client.map_or_else(|| "a client".to_owned(), |it| it.to_string());
            common::complain(&format!("cannot reach the remote for {client}: {reason}"));
        }
        let all_received = io.input_ended();
        let Some(other) = self.other(io) else {
            return Ok(());
        };
        if was_never_connected {
            other.close();
            return Ok(());
        }
        // What this side sent is still delivered. If it had not ended its input, the end is a
        // reset, or another failure in the middle.
        if !all_received {
            other.reset_on_close();
        }
        other.close_when_done();
        Ok(())
    }
}

/// The listener.
struct Forwarder {
    resolver: Resolver,
    remote: String,
    timeout: Option<Duration>,
}

/// Makes two channels the sides of a connection, and returns their ids. The tests do so without
/// sockets, and with handlers around these.
pub(crate) fn join<H: Handler + BorrowMut<Half> + 'static>(
    event_loop: &mut EventLoop,
    mut client: DispatcherWithSend<H>,
    mut remote: DispatcherWithSend<H>,
    timeout: Option<Duration>,
) -> Result<[AnyId; 2]> {
    for side in [&mut client, &mut remote] {
        // Its input is passed on even if it does not read any more itself.
        side.set_keep_unread(true);
        side.set_timeout(timeout);
        side.set_watermarks(LIMIT - LEAST_ROOM, LIMIT - LEAST_ROOM + 1);
    }
    let remote = event_loop.add(remote)?;
    client.handler_mut().borrow_mut().other = Some(remote.into());
    let client = event_loop.add(client)?;
    if let Some(remote) = event_loop.get_mut(remote) {
        remote.handler_mut().borrow_mut().other = Some(client.into());
    }
    Ok([client.into(), remote.into()])
}

impl Handler for Forwarder {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    // An error here costs one connection and is logged: there are too many descriptors. The
    // client's connection is closed by then.
    fn handle_accepted(&mut self, io: &mut Io<'_>, client: Socket, _: Address) -> Result<()> {
        let half = Half::default();
        let remote = DispatcherWithSend::connect_by_name(&self.resolver, &self.remote, half)?;
        let client = DispatcherWithSend::new(client, Half::default())?;
        join(io.event_loop(), client, remote, self.timeout)?;
        Ok(())
    }
}

fn main() -> ExitCode {
    common::main(USAGE, &["--backend", "--timeout"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let timeout = arguments.timeout()?;
    let listen = arguments.required("LISTEN")?;
    let remote = arguments.required("REMOTE")?;
    arguments.finish()?;
    let listen = common::addresses(&listen)?;
    common::serve_with(backend, &listen, |event_loop| {
        let resolver = Resolver::start(event_loop, RESOLVERS)?;
        // A malformed REMOTE is reported now, and not when the first client connects.
        let trial = DispatcherWithSend::connect_by_name(&resolver, &remote, Half::default());
        drop(trial.map_err(common::of_address)?);
        Ok(Forwarder {
            resolver,
            remote,
            timeout,
        })
    })
}
