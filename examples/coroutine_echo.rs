//! An echo server of coroutines: `echo_server`, written as functions that wait.
//!
//! A task accepts connections, and makes a task of each, which reads and writes in turn. It does
//! not read while it writes, so a client that sends and never reads costs one buffer.
//!
//! Try it:
//!
//! ```text
//! cargo run --features coroutines --example coroutine_echo &
//! echo hello | nc -N 127.0.0.1 8080
//! ```

mod common;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{Error, EventLoop, Handle, Listener};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const USAGE: &str = "\
usage: coroutine_echo [--backend select|poll|epoll] [--timeout SECONDS] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default
  SECONDS is how long a connection may be silent; for ever by default";

/// The most bytes that a connection receives at once.
const CHUNK: usize = 16 * 1024;

fn main() -> ExitCode {
    common::main(USAGE, &["--backend", "--timeout"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let timeout = arguments.timeout()?;
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.stop_on(common::STOPPING)?;
    let handle = event_loop.handle();
    let server = async {
        let listener = handle.listen(&addresses)?;
        let address = listener.local_addr()?;
        let _file = common::SocketFile::of(&address);
        common::print(&format!("listening on {address}\n"))?;
        serve(&handle, &listener, timeout).await
    };
    match event_loop.block_on(server) {
        // A signal has stopped the loop.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result?,
    }
}

/// Accepts connections until that fails.
async fn serve(
    handle: &Handle,
    listener: &Listener,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        let clock = handle.clone();
        let connection = async move {
            // The peer has reset the connection, or was silent for too long.
            if let Err(error) = echo(&clock, stream, timeout).await {
                log::info!("a connection has ended: {error}");
            }
        };
        handle.spawn(connection).detach();
    }
}

/// Sends back what a client sends, until it has half-closed.
pub(crate) async fn echo(
    handle: &Handle,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    let mut buf = vec![0; CHUNK];
    loop {
        let read = stream.read(&mut buf);
        let n = match timeout {
            Some(limit) => handle.timeout(limit, read).await??,
            None => read.await?,
        };
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}
