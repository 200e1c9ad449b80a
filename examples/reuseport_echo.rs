//! An echo server with a loop in each of several threads.
//!
//! Each thread has a loop and a listener of its own. All listeners have the same address, which
//! `SO_REUSEPORT` permits, and the kernel distributes new connections among them. Nothing is
//! shared, so the threads never wait for each other. The main thread waits for a signal and then
//! stops the loops with their remotes.
//!
//! A connection stays in the thread that accepted it, so this suits connections that cause about
//! the same work. The kernel distributes by a hash of the addresses, not by load.
//!
//! Try it:
//!
//! ```text
//! cargo run --release --example reuseport_echo -- --threads 4 &
//! for i in 1 2 3 4 5 6 7 8; do echo hello | nc -N 127.0.0.1 8080; done
//! kill %1        # it then prints how many connections each thread has served
//! ```

mod common;

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use common::{Arguments, Failure};
use fdloop::{
    Address, Backend, Dispatcher, DispatcherWithSend, EventLoop, Handler, Io, Predicates, Remote,
    Result, Socket, SocketType,
};

const USAGE: &str = "\
usage: reuseport_echo [--backend select|poll|epoll] [--threads N] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT or [IPV6]:PORT; 127.0.0.1:8080 by default
  N is the number of threads that serve; as many as there are processors by default";

/// The limit of bytes received at once.
const CHUNK: usize = 64 * 1024;

/// Connections of one listener that are not accepted yet.
const BACKLOG: u32 = 1024;

/// A connection.
pub(crate) struct Echo;

impl Handler for Echo {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(CHUNK, |io, data| {
            io.send(data)?;
            Ok(())
        })
    }
}

/// The listener of a thread.
struct Server {
    served: usize,
}

impl Handler for Server {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        self.served += 1;
        let echo = DispatcherWithSend::new(socket, Echo)?;
        io.event_loop().add(echo.with_backpressure())?;
        Ok(())
    }
}

fn main() -> ExitCode {
    common::main(USAGE, &["--backend", "--threads"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let threads = threads(&mut arguments)?;
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    let Some(address) = addresses.first() else {
        return Err(Failure::operation("the name has no address"));
    };
    if address.port().is_none() {
        let message = format!("{address}: only an Internet address can be shared");
        return Err(Failure::usage(message));
    }
    serve(backend, address, threads.get())
}

/// Takes the value of `--threads`.
fn threads(arguments: &mut Arguments) -> Result<NonZeroUsize, Failure> {
    let Some(text) = arguments.value("--threads") else {
        let processors = thread::available_parallelism();
        return Ok(processors.unwrap_or(NonZeroUsize::MIN));
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let shown = common::shown(&text);
        Failure::usage(format!("--threads: {shown:?} is not a number above 0"))
    })
}

/// A thread that serves, and the way to stop it.
struct Worker {
    thread: JoinHandle<Result<usize>>,
    remote: Remote,
}

/// Serves until SIGINT or SIGTERM, or until a thread fails.
fn serve(backend: Backend, on: &Address, threads: usize) -> Result<(), Failure> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.stop_on(common::STOPPING)?;
    // All listen before the first line is printed: a client may connect right after it.
    let first = listen(on)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(listen(&address)?);
    }
    common::print(&format!("listening on {address}\n"))?;
    let mut workers = Vec::new();
    for listener in listeners {
        workers.push(start(backend, listener, event_loop.remote()?)?);
    }
    while !event_loop.is_stopping() {
        event_loop.turn(None)?;
    }
    for worker in &workers {
        // An error means that the loop has ended already.
        let _ = worker.remote.stop();
    }
    for (number, worker) in (1..).zip(workers) {
        let Ok(served) = worker.thread.join() else {
            return Err(Failure::operation(format!("thread {number} panicked")));
        };
        let served = served?;
        common::print(&format!("thread {number} served {served} connections\n"))?;
    }
    Ok(())
}

/// Makes a listener that shares its address with others. Returns its socket, which can go to
/// another thread, as a channel cannot.
fn listen(address: &Address) -> Result<Socket> {
    let mut listener = Dispatcher::unconnected(Server { served: 0 });
    listener.create_socket(address.family(), SocketType::Stream)?;
    listener.set_reuse_addr()?;
    listener.set_reuse_port()?;
    listener.bind(address)?;
    listener.listen(BACKLOG)?;
    let (socket, _) = listener.into_parts();
    socket.ok_or_else(|| fdloop::Error::other("the listener has no socket"))
}

/// Starts a thread that serves what `listener` accepts. When it ends, it stops the main loop.
fn start(backend: Backend, listener: Socket, main_loop: Remote) -> Result<Worker, Failure> {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        let served = work(backend, listener, &sender);
        drop(sender);
        // An error means that the main loop has ended already.
        let _ = main_loop.stop();
        served
    });
    let thread = thread.map_err(|e| Failure::operation(format!("cannot start a thread: {e}")))?;
    match receiver.recv() {
        Ok(remote) => Ok(Worker { thread, remote }),
        Err(_) => match thread.join() {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(Failure::operation("a thread ended before it served")),
        },
    }
}

/// Runs the loop of a thread. Returns the number of connections that it has served.
fn work(backend: Backend, listener: Socket, remotes: &mpsc::Sender<Remote>) -> Result<usize> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    let id = event_loop.add(Dispatcher::new(listener, Server { served: 0 })?)?;
    // The main thread waits for it.
    let _ = remotes.send(event_loop.remote()?);
    event_loop.run()?;
    let listener = event_loop.get(id);
    Ok(listener.map_or(0, |listener| listener.handler().served))
}
