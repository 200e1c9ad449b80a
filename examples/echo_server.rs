//! An echo server: it sends back what each client sends.
//!
//! This is the classic of asyncore. The listener makes a channel of each connection: a
//! [`DispatcherWithSend`], which buffers what the client does not read yet. The pending output of a
//! client that sends and never reads would grow without bound, so a connection is read only while
//! little output is pending.
//!
//! Try it:
//!
//! ```text
//! cargo run --example echo_server &
//! echo hello | nc -N 127.0.0.1 8080
//!
//! cargo run --example echo_server -- --backend select /tmp/echo.sock &
//! echo hello | nc -N -U /tmp/echo.sock
//! ```

mod common;

use std::process::ExitCode;
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{Address, DispatcherWithSend, Handler, Io, Predicates, Result, Socket};

const USAGE: &str = "\
usage: echo_server [--backend select|poll|epoll] [--timeout SECONDS] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default
  SECONDS is how long a connection may be silent; for ever by default";

/// The limit of bytes received at once. With smaller pieces the system calls cost more than the
/// copying; larger ones are not faster.
const CHUNK: usize = 256 * 1024;

/// A connection.
pub(crate) struct Echo;

impl Handler for Echo {
    fn predicates(&self) -> Predicates {
        // The defaults look at nothing but this channel.
        Predicates::OnChange
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(CHUNK, |io, data| {
            io.send(data)?;
            Ok(())
        })
    }
}

/// The listener.
struct Server {
    timeout: Option<Duration>,
}

impl Handler for Server {
    // An error here, such as a limit of the system, costs one connection and is logged:
    // that is the default of `handle_accept_error`.
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        let mut echo = DispatcherWithSend::new(socket, Echo)?;
        echo.set_timeout(self.timeout);
        io.event_loop().add(echo.with_backpressure())?;
        Ok(())
    }
}

fn main() -> ExitCode {
    common::main(USAGE, &["--backend", "--timeout"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let timeout = arguments.timeout()?;
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    common::serve(backend, &addresses, Server { timeout })
}
