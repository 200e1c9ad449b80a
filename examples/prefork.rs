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
    Address, Backend, ChildId, Deadline, Dispatcher, DispatcherWithSend, EventLoop, Handler, Io,
    Predicates, Result, Socket, StateId, View,
};
use nix::unistd::{ForkResult, fork};

const USAGE: &str = "\
usage: prefork [--backend select|poll|epoll] [--workers N] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default
  N is the number of processes that serve; as many as there are processors by default";

/// The time between the start of a worker and that of its replacement, at least.
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

/// The workers, which the loop keeps.
struct Team {
    workers: BTreeMap<libc::pid_t, Worker>,
    /// The time from which on the next worker may be started.
    not_before: Instant,
}

struct Worker {
    id: ChildId,
    started: Instant,
}

/// Starts the workers, and new ones for those that end, until SIGINT or SIGTERM.
fn supervise(backend: Backend, on: &[Address], wanted: usize) -> Result<(), Failure> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.stop_on(common::STOPPING)?;
    // The listener is in the loops of the workers alone.
    let listener = Dispatcher::listen(on, Server)?;
    let address = listener.local_addr()?;
    let file = common::SocketFile::of(&address);
    common::print(&format!("listening on {address}\n"))?;
    let (life_line, alive) = UnixStream::pair().map_err(fdloop::Error::from)?;

    let id = event_loop.keep(Team {
        workers: BTreeMap::new(),
        not_before: Instant::now(),
    });
    while !event_loop.is_stopping() {
        let Some(team) = event_loop.state_mut(id) else {
            break;
        };
        let missing = team.workers.len() < wanted;
        let now = Instant::now();
        if !missing || now < team.not_before {
            let deadline = match missing {
                true => Deadline::At(team.not_before),
                false => Deadline::Never,
            };
            event_loop.turn_until(deadline)?;
            continue;
        }
        match in_two() {
            Ok(Some(worker)) => {
                common::print(&format!("worker {worker}\n"))?;
                follow(&mut event_loop, id, worker)?;
            }
            Ok(None) => {
                mem::forget(file); // the parent removes it
                drop(alive);
                return serve(event_loop, listener, life_line);
            }
            Err(error) if team.workers.is_empty() => return Err(cannot_start(error)),
            Err(error) => {
                common::complain(&format!("cannot start another worker now: {error}"));
                team.not_before = now + SHORT_LIFE;
            }
        }
    }
    end(&mut event_loop, id)
}

/// Follows a worker until it ends.
fn follow(event_loop: &mut EventLoop, team: StateId<Team>, worker: libc::pid_t) -> Result<()> {
    let id = event_loop.on_child_exit(worker, move |event_loop, status| {
        match status {
            Ok(_) if event_loop.is_stopping() => {}
            Ok(status) => common::complain(&format!("worker {worker} has ended: {status}")),
            Err(error) => common::complain(&error),
        }
        if let Some(team) = event_loop.state_mut(team) {
            if let Some(Worker { started, .. }) = team.workers.remove(&worker) {
                team.not_before = team.not_before.max(started + SHORT_LIFE);
            }
        }
        Ok(())
    })?;
    let started = Instant::now();
    if let Some(team) = event_loop.state_mut(team) {
        team.workers.insert(worker, Worker { id, started });
    }
    Ok(())
}

/// Ends the workers, and waits for them.
fn end(event_loop: &mut EventLoop, team: StateId<Team>) -> Result<(), Failure> {
    let Some(all) = event_loop.state(team) else {
        return Ok(());
    };
    let all: Vec<_> = all.workers.values().map(|worker| worker.id).collect();
    for worker in all {
        event_loop.signal_child(worker, libc::SIGTERM)?;
    }
    while event_loop
        .state(team)
        .is_some_and(|team| !team.workers.is_empty())
    {
        event_loop.turn(None)?;
    }
    Ok(())
}

fn cannot_start(error: nix::Error) -> Failure {
    Failure::operation(format!("cannot start a worker: {error}"))
}

/// Forks. Returns the worker's pid in the parent, and `None` in the worker.
#[allow(unsafe_code, reason = "fork(2)")]
fn in_two() -> nix::Result<Option<libc::pid_t>> {
    // SAFETY: this process has one thread, so that the child finds nothing locked or half done by
    // another, and may go on like any process.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(child.as_raw())),
        ForkResult::Child => Ok(None),
    }
}

// --- a worker ------------------------------------------------------------------------

/// Serves with the copy of the parent's loop, until SIGINT or SIGTERM or the parent is gone.
fn serve(
    mut event_loop: EventLoop,
    listener: Dispatcher<Server>,
    life_line: UnixStream,
) -> Result<(), Failure> {
    // The loop now gets the signals of this process, including those that have arrived meanwhile.
    // The other workers are left to the parent.
    event_loop.after_fork()?;
    event_loop.add(Dispatcher::new(life_line, LifeLine)?)?;
    event_loop.add(listener)?;
    event_loop.run()?;
    Ok(())
}

/// Ends the worker when the parent is gone.
pub(crate) struct LifeLine;

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
pub(crate) struct Echo;

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
