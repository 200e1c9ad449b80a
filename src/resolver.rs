//! Resolving names without blocking the loop.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::address::{Address, ToAddresses};
use crate::error::{Error, Result};
use crate::event_loop::{EventLoop, Remote, StateId, TimerId};

/// Threads that resolve names, since getaddrinfo(3) blocks: a loop that called it would serve no
/// channel meanwhile.
///
/// The program starts the threads, and they end after the resolver was dropped. A thread that is
/// in the middle of a lookup ends when getaddrinfo returns.
///
/// ```
/// use fdloop::{Dispatcher, EventLoop, Handler, Io, Resolver, Result};
/// use std::time::Duration;
///
/// struct Greeter;
/// impl Handler for Greeter {
///     fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
///         io.close();
///         Ok(())
///     }
/// }
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let name = format!("localhost:{}", listener.local_addr()?.port());
/// let mut event_loop = EventLoop::new()?;
/// let resolver = Resolver::start(&mut event_loop, 1)?;
/// resolver.resolve(&mut event_loop, name, Duration::from_secs(10), |event_loop, addresses| {
///     event_loop.add(Dispatcher::connect(addresses?, Greeter)?)?;
///     Ok(())
/// })?;
/// event_loop.run()?; // until the name is resolved and the connection is closed
/// # Ok::<(), fdloop::Error>(())
/// ```
pub struct Resolver {
    jobs: Sender<Job>,
    remote: Remote,
}

struct Job {
    name: String,
    lookup: Lookup,
    remote: Remote,
}

type Then = Box<dyn FnOnce(&mut EventLoop, Result<Vec<Address>>) -> Result<()>>;

/// A lookup in progress: [`Resolver::resolve`] returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lookup {
    then: StateId<Then>,
    timer: TimerId,
}

impl Resolver {
    /// Starts `threads` threads, and at least one. Each resolves one name at a time.
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::remote`]; else those of starting a thread.
    pub fn start(event_loop: &mut EventLoop, threads: usize) -> Result<Self> {
        let remote = event_loop.remote()?;
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads.max(1) {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new()
                .name("resolver".to_owned())
                .spawn(move || work(&waiting))
                .map_err(|e| Error::system("start a thread that resolves names", None, e))?;
        }
        Ok(Self { jobs, remote })
    }

    /// Resolves `name`, in any form that [`ToAddresses`] takes as text, and then calls `then` with
    /// its addresses on the loop's thread. If that takes longer than `timeout`, `then` is called
    /// with a `TimedOut` error.
    ///
    /// The lookup keeps [`run`](EventLoop::run) going. Errors and panics of `then` are treated as
    /// those of a [timer](EventLoop::call_later).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the resolver was started for another loop; `then` is dropped.
    pub fn resolve(
        &self,
        event_loop: &mut EventLoop,
        name: impl Into<String>,
        timeout: Duration,
        then: impl FnOnce(&mut EventLoop, Result<Vec<Address>>) -> Result<()> + 'static,
    ) -> Result<Lookup> {
        if !event_loop.is_reached_by(&self.remote) {
            let message = "the resolver was started for another loop: start one for this loop";
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        }
        let name = name.into();
        let then: StateId<Then> = event_loop.keep(Box::new(then));
        let late = name.clone();
        let timer = event_loop.call_later(timeout, move |event_loop| {
            let Some(then) = event_loop.take(then) else {
                return Ok(());
            };
            let error = io::Error::from_raw_os_error(libc::ETIMEDOUT);
            let action = format!("resolve {late:?} within {timeout:?}");
            then(event_loop, Err(Error::system(action, None, error)))
        });
        let lookup = Lookup { then, timer };
        let remote = self.remote.clone();
        let job = Job {
            name,
            lookup,
            remote,
        };
        if self.jobs.send(job).is_err() {
            lookup.cancel(event_loop);
            let message = "the threads of the resolver have ended: start another resolver";
            return Err(Error::misuse(io::ErrorKind::BrokenPipe, message));
        }
        Ok(lookup)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Lookup {
    /// Cancels the lookup. Returns false if its function was called already.
    pub fn cancel(self, event_loop: &mut EventLoop) -> bool {
        event_loop.cancel(self.timer);
        event_loop.take(self.then).is_some()
    }
}

/// Resolves names until the resolver is dropped, or the loop is.
fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.recv()
        };
        let Ok(Job {
            name,
            lookup,
            remote,
        }) = job
        else {
            return;
        };
        let addresses = name.as_str().to_addresses();
        let finished = remote.call(move |event_loop| {
            event_loop.cancel(lookup.timer);
            match event_loop.take(lookup.then) {
                Some(then) => then(event_loop, addresses),
                None => Ok(()),
            }
        });
        if finished.is_err() {
            return;
        }
    }
}
