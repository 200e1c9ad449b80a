//! Resolving names without blocking the loop.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::address::{Address, ToAddresses};
use crate::error::{Error, Result};
use crate::event_loop::{Cancel, EventLoop, Remote, StateId, TimerId};

/// Threads that resolve names, since getaddrinfo(3) blocks: a loop that called it would serve no
/// channel meanwhile.
///
/// The program starts the threads, and they end after the resolver and its clones were dropped. A
/// thread that is in the middle of a lookup ends when getaddrinfo returns. A forked child has no
/// threads, and starts a resolver of its own.
///
/// [`Dispatcher::connect_by_name`](crate::Dispatcher::connect_by_name) connects with one. To use
/// the addresses in another way:
///
/// ```
/// use fdloop::{EventLoop, Resolver};
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new()?;
/// let resolver = Resolver::start(&mut event_loop, 1)?;
/// let patience = Duration::from_secs(10);
/// resolver.resolve(&mut event_loop, "localhost:80", patience, |_, addresses| {
///     for address in addresses? {
///         println!("{address}");
///     }
///     Ok(())
/// })?;
/// event_loop.run()?; // until the name is resolved
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Clone)]
pub struct Resolver {
    jobs: Sender<Job>,
    remote: Remote,
}

struct Job {
    name: String,
    /// A reference that is dead once the request is withdrawn.
    wanted: Weak<()>,
    remote: Remote,
    then: Deliver,
}

/// Takes the result of a lookup, on the loop's thread.
type Deliver = Box<dyn FnOnce(&mut EventLoop, Result<Vec<Address>>) -> Result<()> + Send>;

/// A request for a lookup. Dropping it withdraws the request: a thread that has not begun the
/// lookup skips it, and the result of a lookup that has begun is dropped.
#[derive(Debug, Default)]
pub(crate) struct Request(Arc<()>);

type Then = Box<dyn FnOnce(&mut EventLoop, Result<Vec<Address>>) -> Result<()>>;

/// The function of the program's that waits for a lookup.
struct Waiting {
    then: Then,
    _request: Request,
}

/// A lookup in progress: [`Resolver::resolve`] returns it, and [`EventLoop::cancel`] takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lookup {
    waiting: StateId<Waiting>,
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
        self.check_loop(event_loop)?;
        let name = name.into();
        let request = Request::default();
        let wanted = Arc::downgrade(&request.0);
        let waiting = event_loop.keep(Waiting {
            then: Box::new(then),
            _request: request,
        });
        let late = name.clone();
        let timer = event_loop.call_later(timeout, move |event_loop| {
            let Some(waiting) = event_loop.take(waiting) else {
                return Ok(());
            };
            let error = io::Error::from_raw_os_error(libc::ETIMEDOUT);
            let action = format!("resolve {late:?} within {timeout:?}");
            (waiting.then)(event_loop, Err(Error::system(action, None, error)))
        });
        let lookup = Lookup { waiting, timer };
        let sent = self.send(name, wanted, move |event_loop, addresses| {
            event_loop.cancel(timer);
            match event_loop.take(waiting) {
                Some(waiting) => (waiting.then)(event_loop, addresses),
                None => Ok(()),
            }
        });
        if sent.is_err() {
            event_loop.cancel(lookup);
        }
        sent.map(|()| lookup)
    }

    /// Requests the addresses of `name`. `then` is called on the loop's thread, unless the request
    /// is withdrawn.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Self::resolve).
    pub(crate) fn request(
        &self,
        event_loop: &EventLoop,
        name: &str,
        then: impl FnOnce(&mut EventLoop, Result<Vec<Address>>) -> Result<()> + Send + 'static,
    ) -> Result<Request> {
        self.check_loop(event_loop)?;
        let request = Request::default();
        self.send(name.to_owned(), Arc::downgrade(&request.0), then)?;
        Ok(request)
    }

    fn check_loop(&self, event_loop: &EventLoop) -> Result<()> {
        if event_loop.is_reached_by(&self.remote) {
            return Ok(());
        }
        let message = "the resolver was started for another loop: start one for this loop";
        Err(Error::misuse(io::ErrorKind::InvalidInput, message))
    }

    fn send(
        &self,
        name: String,
        wanted: Weak<()>,
        then: impl FnOnce(&mut EventLoop, Result<Vec<Address>>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let job = Job {
            name,
            wanted,
            remote: self.remote.clone(),
            then: Box::new(then),
        };
        self.jobs.send(job).map_err(|_| {
            let message = "the threads of the resolver have ended: start another resolver";
            Error::misuse(io::ErrorKind::BrokenPipe, message)
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Cancel for Lookup {
    fn cancel(self, event_loop: &mut EventLoop) -> bool {
        event_loop.cancel(self.timer);
        event_loop.take(self.waiting).is_some()
    }
}

/// Resolves names until the resolver is dropped, or the loop is.
fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.recv()
        };
        let Ok(job) = job else {
            return;
        };
        if job.wanted.strong_count() == 0 {
            continue;
        }
        let addresses = job.name.as_str().to_addresses();
        let finished = job
            .remote
            .call(move |event_loop| match job.wanted.strong_count() {
                0 => Ok(()),
                _ => (job.then)(event_loop, addresses),
            });
        if finished.is_err() {
            return;
        }
    }
}
