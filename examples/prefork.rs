//! An echo server whose connections are shared out among processes.
//!
//! The parent makes the listener and the loop, and forks workers, which accept from the same
//! listener: the kernel gives each connection to one of them. Each worker goes on with its copy of
//! the loop, whose signals [`EventLoop::after_fork`] separates from the parent's. The parent
//! supervises:
//!
//! - It starts a new worker for one that has ended, but not at once for one that has ended within
//!   a second of its start.
//! - On SIGINT and SIGTERM it ends the workers and waits for them.
//! - If it is killed, the workers end as well: they have one end of a socket pair whose other end
//!   only the parent has.
//!
//! A worker greets its clients with the number of its process.
//!
//! Try it:
//!
//! ```text
//! cargo run --example prefork -- --workers 4 &
//! nc 127.0.0.1 8080        # and, in another terminal, kill the worker that greets
//! ```

mod common;

use std::collections::BTreeMap;
use std::mem;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::{Arguments, Failure};
use fdloop::{
    Address, Backend, Deadline, Dispatcher, DispatcherWithSend, EventLoop, Handler, Io, Predicates,
    Result, Socket, View,
};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

const USAGE: &str = "\
usage: prefork [--backend select|poll] [--workers N] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default
  N is the number of processes that serve; as many as there are processors by default";

/// A worker that has not lived for so long is not replaced before.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The most bytes that are received at once.
const CHUNK: usize = 64 * 1024;

fn main() -> ExitCode {
    common::main(USAGE, &["--backend", "--workers"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let workers = workers(&mut arguments)?;
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    supervise(backend, &addresses, workers.get())
}

/// Takes the value of `--workers`.
fn workers(arguments: &mut Arguments) -> Result<NonZeroUsize, Failure> {
    let Some(text) = arguments.value("--workers") else {
        let processors = std::thread::available_parallelism();
        return Ok(processors.unwrap_or(NonZeroUsize::MIN));
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let shown = common::shown(&text);
        Failure::usage(format!("--workers: {shown:?} is not a number above 0"))
    })
}

// --- the parent ----------------------------------------------------------------------

/// Starts the workers, and new ones for those that end, until a signal says to end.
fn supervise(backend: Backend, on: &[Address], wanted: usize) -> Result<(), Failure> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.stop_on(common::STOPPING)?;
    // Wakes the loop.
    let deaths = event_loop.on_signal(libc::SIGCHLD, |_, _| Ok(()))?;
    // It is in the loops of the workers alone.
    let listener = Dispatcher::listen(on, Server)?;
    let address = listener.local_addr()?;
    let file = common::SocketFile::of(&address);
    common::print(&format!("listening on {address}\n"))?;
    let (life_line, alive) = UnixStream::pair().map_err(fdloop::Error::from)?;

    let mut workers = BTreeMap::new();
    let mut not_before = Instant::now();
    while !event_loop.is_stopping() {
        let now = Instant::now();
        if workers.len() < wanted && now >= not_before {
            match start() {
                Ok(Some(worker)) => {
                    common::print(&format!("worker {worker}\n"))?;
                    workers.insert(worker, now);
                }
                Ok(None) => {
                    mem::forget(file); // the parent removes it
                    drop(alive);
                    event_loop.cancel(deaths);
                    return serve(event_loop, listener, life_line);
                }
                Err(error) if workers.is_empty() => return Err(cannot_start(error)),
                Err(error) => {
                    common::complain(&format!("cannot start another worker now: {error}"));
                    not_before = now + SHORT_LIFE;
                }
            }
            continue;
        }
        let deadline = match workers.len() < wanted {
            true => Deadline::At(not_before),
            false => Deadline::Never,
        };
        event_loop.turn_until(deadline)?;
        for (worker, status) in ended(&workers) {
            common::complain(&format!("worker {worker} has ended: {status}"));
            if let Some(started) = workers.remove(&worker) {
                not_before = not_before.max(started + SHORT_LIFE);
            }
        }
    }
    for worker in workers.keys() {
        // It may have ended by now.
        let _ = kill(*worker, Signal::SIGTERM);
    }
    for worker in workers.keys() {
        let _ = waitpid(*worker, None);
    }
    Ok(())
}

/// The workers that have ended, and how.
fn ended(workers: &BTreeMap<Pid, Instant>) -> Vec<(Pid, String)> {
    let status = |worker: &Pid| match waitpid(*worker, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(worker, code)) => Some((worker, format!("exit code {code}"))),
        Ok(WaitStatus::Signaled(worker, signal, _)) => Some((worker, signal.to_string())),
        Ok(_) | Err(_) => None,
    };
    workers.keys().filter_map(status).collect()
}

/// Forks. Returns the worker, or `None` in the worker. Signals wait until each process can tell its
/// own from the other's: see [`serve`] for the worker.
fn start() -> nix::Result<Option<Pid>> {
    let signals = handled_signals();
    signals.thread_block()?;
    let forked = in_two();
    if !matches!(forked, Ok(None)) {
        signals.thread_unblock()?;
    }
    forked
}

fn cannot_start(error: nix::Error) -> Failure {
    Failure::operation(format!("cannot start a worker: {error}"))
}

fn handled_signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD]
        .into_iter()
        .collect()
}

#[allow(unsafe_code, reason = "fork(2)")]
fn in_two() -> nix::Result<Option<Pid>> {
    // SAFETY: this process has one thread, so that the child finds nothing locked or half done by
    // another, and may go on like any process.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

// --- a worker ------------------------------------------------------------------------

/// Serves with the copy of the parent's loop, until a signal says to end or the parent is gone.
fn serve(
    mut event_loop: EventLoop,
    listener: Dispatcher<Server>,
    life_line: UnixStream,
) -> Result<(), Failure> {
    // From here on, the loop's signals are those of this process.
    event_loop.after_fork()?;
    handled_signals().thread_unblock().map_err(cannot_start)?;

    event_loop.add(Dispatcher::new(life_line, LifeLine)?)?;
    event_loop.add(listener)?;
    event_loop.run()?;
    Ok(())
}

/// Ends the worker when the parent is gone.
struct LifeLine;

impl Handler for LifeLine {
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }

    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv(&mut [0; 1]).map(drop)
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.event_loop().stop();
        Ok(())
    }
}

/// The listener.
struct Server;

impl Handler for Server {
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        let mut client = DispatcherWithSend::new(socket, Echo)?.with_backpressure();
        client.send(format!("worker {}\n", std::process::id()).as_bytes())?;
        io.event_loop().add(client)?;
        Ok(())
    }
}

/// A connection.
struct Echo;

impl Handler for Echo {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(CHUNK, |io, data| io.send(data).map(drop))
    }

    fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
        Ok(())
    }
}
