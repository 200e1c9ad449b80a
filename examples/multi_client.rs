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
    Address, AsyncChat, ChannelId, ChatHandler, ChatIo, EventLoop, Handler, Io, Predicates, Remote,
    Result, Socket,
};

const USAGE: &str = "\
usage: multi_client [--backend select|poll|epoll] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default";

/// The longest line, in bytes.
pub(crate) const LINE_LIMIT: usize = 100;

pub(crate) type Id = ChannelId<AsyncChat<Client>>;

/// The largest number. It takes a fraction of a second, so that a client that has left does not
/// keep its worker for long.
pub(crate) const MOST: u64 = 1_000_000_000_000_000;

/// A connection. Its worker ends when this is dropped.
pub(crate) struct Client {
    jobs: Sender<u64>,
    /// Numbers whose factors are not computed yet.
    waiting: usize,
}

impl Client {
    /// Makes a client whose worker receives the other end of `jobs`.
    pub(crate) fn new(jobs: Sender<u64>) -> Self {
        Self { jobs, waiting: 0 }
    }

    /// Makes a chat ready for the loop. The tests do so with one that has no socket.
    pub(crate) fn prepare(mut chat: AsyncChat<Self>) -> AsyncChat<Self> {
        chat.set_terminator("\n");
        chat.set_limit(LINE_LIMIT);
        chat
    }
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
        match number {
            Some(Ok(number @ 1..=MOST)) => {
                self.waiting += 1;
                // It fails only if the worker has panicked.
                self.jobs.send(number).map_err(fdloop::Error::other)
            }
            _ => io.push(format!("send a number from 1 to {MOST}\n")),
        }
    }

    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        // A client that has only ended its output still reads.
        if self.waiting == 0 {
            io.close_when_done();
        }
        Ok(())
    }
}

/// Computes until the client is gone, or the loop.
fn work(jobs: &Receiver<u64>, remote: &Remote, id: Id) {
    for number in jobs {
        let factors = factors(number);
        let sent = remote.call(move |event_loop| tell(event_loop, id, number, &factors));
        if sent.is_err() {
            return;
        }
    }
}

/// Sends a result, unless the client is gone.
pub(crate) fn tell(event_loop: &mut EventLoop, id: Id, number: u64, factors: &str) -> Result<()> {
    let Some(chat) = event_loop.get_mut(id) else {
        return Ok(());
    };
    chat.push(format!("{number}:{factors}\n"))?;
    chat.handler_mut().waiting -= 1;
    if chat.input_ended() && chat.handler().waiting == 0 {
        chat.close_when_done();
    }
    Ok(())
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
            thread::Builder::new().spawn(move || work(&waiting, &remote, id))?;
            AsyncChat::new(socket, Client::new(jobs)).map(Client::prepare)
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
