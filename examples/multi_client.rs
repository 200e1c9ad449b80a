//! A server in which each client has a worker thread of its own.
//!
//! A client sends numbers, a line each, and gets their prime factors. That may take long, so a
//! thread computes them, and the loop goes on serving the others. The results come back through a
//! [`Remote`]. The thread ends with the client.
//!
//! Try it, in two terminals at the same time:
//!
//! ```text
//! cargo run --release --example multi_client &
//! nc 127.0.0.1 8080        # and then: 999998727899999
//! nc 127.0.0.1 8080        # and then: 12
//! ```

mod common;

use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use common::{Arguments, Failure};
use fdloop::{
    Address, AnyId, AsyncChat, ChatHandler, ChatIo, EventLoop, Handler, Io, Predicates, Remote,
    Result, Socket,
};

const USAGE: &str = "\
usage: multi_client [--backend select|poll|epoll] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default";

/// The longest line, in bytes.
pub(crate) const LINE_LIMIT: usize = 100;

/// The largest number. It takes a fraction of a second, so that a client that has left does not
/// keep its worker for long.
pub(crate) const MOST: u64 = 1_000_000_000_000_000;

/// A connection.
pub(crate) struct Client {
    /// The numbers for the worker, which ends when this is dropped.
    jobs: Option<Sender<u64>>,
}

impl Client {
    /// Makes a client whose worker receives the other end of `jobs`.
    pub(crate) fn new(jobs: Sender<u64>) -> Self {
        Self { jobs: Some(jobs) }
    }
}

/// Makes the chat of a client ready for the loop. The tests do so with a chat that has no socket,
/// and a handler around the client.
pub(crate) fn prepare<H: ChatHandler>(mut chat: AsyncChat<H>) -> AsyncChat<H> {
    chat.set_terminator("\n");
    chat.set_limit(LINE_LIMIT);
    chat
}

impl ChatHandler for Client {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let line = io.take_data();
        let number = std::str::from_utf8(&line)
            .ok()
            .map(str::trim)
            .map(str::parse);
        match (number, &self.jobs) {
            (Some(Ok(number @ 1..=MOST)), Some(jobs)) => {
                // It fails only if the worker has panicked.
                jobs.send(number).map_err(fdloop::Error::other)
            }
            _ => io.push(format!("send a number from 1 to {MOST}\n")),
        }
    }

    fn handle_eof(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        // A client that has only ended its output still reads: the worker closes the connection
        // when it has computed everything.
        self.jobs = None;
        Ok(())
    }
}

/// Computes until the client has said everything or is gone, or the loop is.
fn work(jobs: &Receiver<u64>, remote: &Remote, id: AnyId) {
    for number in jobs {
        let factors = factors(number);
        let sent = remote.call(move |event_loop| tell(event_loop, id, number, &factors));
        if sent.is_err() {
            return;
        }
    }
    // An error means that the loop is gone.
    let _ = remote.call(move |event_loop| {
        finish(event_loop, id);
        Ok(())
    });
}

/// Sends a result, unless the client is gone.
pub(crate) fn tell(
    event_loop: &mut EventLoop,
    id: AnyId,
    number: u64,
    factors: &str,
) -> Result<()> {
    match event_loop.endpoint_mut(id) {
        Some(client) => client
            .send(format!("{number}:{factors}\n").as_bytes())
            .map(drop),
        None => Ok(()),
    }
}

/// Closes the connection after the last result, unless the client is gone.
pub(crate) fn finish(event_loop: &mut EventLoop, id: AnyId) {
    if let Some(client) = event_loop.endpoint_mut(id) {
        client.close_when_done();
    }
}

/// The prime factors of `number`, each after a space.
pub(crate) fn factors(mut number: u64) -> String {
    let mut factors = String::new();
    let mut divisor = 2;
    while divisor <= number / divisor {
        if number % divisor == 0 {
            factors += &format!(" {divisor}");
            number /= divisor;
        } else {
            divisor += 1;
        }
    }
    if number > 1 {
        factors += &format!(" {number}");
    }
    factors
}

/// The listener.
struct Server;

impl Handler for Server {
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        let event_loop = io.event_loop();
        let remote = event_loop.remote()?;
        event_loop.add_with(|_, id| {
            let (jobs, waiting) = mpsc::channel();
            thread::Builder::new().spawn(move || work(&waiting, &remote, id.into()))?;
            AsyncChat::new(socket, Client::new(jobs)).map(prepare)
        })?;
        Ok(())
    }
}

fn main() -> ExitCode {
    common::main(USAGE, &["--backend"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    common::serve(backend, &addresses, Server)
}
