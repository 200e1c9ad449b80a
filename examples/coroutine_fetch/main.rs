//! Fetches several URLs at once, each in a coroutine, and shows the progress of all.
//!
//! Names are resolved on threads, the addresses of a name are tried beside each other, and each step
//! has a limit of time. The bodies are counted and dropped: a line on stdout for each URL says how
//! large it was. The lines of the progress are on stderr if that is a terminal.
//!
//! Try it:
//!
//! ```text
//! python3 -m http.server 8000 &
//! cargo run --features coroutines --example coroutine_fetch -- \
//!     http://localhost:8000/ http://localhost:8000/README.md
//! ```

#[path = "../common/mod.rs"]
mod common;
#[path = "../http_client/header.rs"]
#[allow(dead_code, reason = "http_client uses more of it")]
mod header;
mod progress;
#[path = "../http_client/url.rs"]
mod url;

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{Async, EventLoop, Handle, Resolver, Socket};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use progress::Progress;
use url::Url;

const USAGE: &str = "\
usage: coroutine_fetch [--backend select|poll|epoll] [--timeout SECONDS] URL...
  URL is http://HOST[:PORT][/PATH], or http+unix:SOCKET:/PATH
  SECONDS is how long a server may be silent; 30 by default";

/// The time for which a server may be silent.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The number of names that are resolved at once.
const THREADS: usize = 4;

/// The time between two updates of the progress.
const FRAME: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    common::main(USAGE, &["--backend", "--timeout"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let timeout = arguments.timeout()?.unwrap_or(TIMEOUT);
    let mut urls = vec![Url::parse(&arguments.required("URL")?)?];
    while let Some(text) = arguments.operand()? {
        urls.push(Url::parse(&text)?);
    }
    arguments.finish()?;
    let mut event_loop = EventLoop::with_backend(backend)?;
    let resolver = Resolver::start(&mut event_loop, THREADS.min(urls.len()))?;
    let handle = event_loop.handle();
    let failed = event_loop.block_on(fetch_all(&handle, &resolver, urls, timeout))??;
    match failed {
        0 => Ok(()),
        1 => Err(Failure::operation("one URL could not be fetched")),
        failed => Err(Failure::operation(format!(
            "{failed} URLs could not be fetched"
        ))),
    }
}

/// Fetches all at once. Returns the number of those that failed.
async fn fetch_all(
    handle: &Handle,
    resolver: &Resolver,
    urls: Vec<Url>,
    timeout: Duration,
) -> Result<usize, Failure> {
    let names = urls.iter().map(|url| url.text.clone()).collect();
    let progress = Rc::new(RefCell::new(Progress::new(names)));
    let mut tasks = Vec::new();
    for (number, url) in urls.into_iter().enumerate() {
        let fetch = Fetch {
            handle: handle.clone(),
            resolver: resolver.clone(),
            timeout,
            number,
            progress: Rc::clone(&progress),
        };
        let name = url.text.clone();
        tasks.push((name, handle.spawn(async move { fetch.fetch(&url).await })));
    }
    let (ticks, shown) = (handle.clone(), Rc::clone(&progress));
    let show = handle.spawn(async move {
        let mut ticks = ticks.interval(FRAME);
        loop {
            shown.borrow_mut().show();
            ticks.tick().await;
        }
    });
    let mut failed = 0;
    for (name, task) in tasks {
        let result = task.await;
        progress.borrow_mut().clear();
        match result {
            Ok(bytes) => common::print(&format!("{name}: {bytes} bytes\n"))?,
            // The other URLs go on.
            Err(error) => {
                failed += 1;
                common::complain(&format!("{name}: {error}"));
            }
        }
    }
    drop(show);
    Ok(failed)
}

/// The fetch of one URL.
struct Fetch {
    handle: Handle,
    resolver: Resolver,
    timeout: Duration,
    number: usize,
    progress: Rc<RefCell<Progress>>,
}

impl Fetch {
    /// Fetches a URL. Returns the size of the body.
    async fn fetch(&self, url: &Url) -> Result<u64, String> {
        self.note("connecting");
        let name = url.address.as_str();
        let connect = self
            .handle
            .connect_by_name(&self.resolver, name, self.timeout);
        let mut stream = connect.await.map_err(|error| error.to_string())?;
        let request = url.request();
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(|error| format!("cannot send the request: {error}"))?;
        self.note("waiting");
        let (length, mut received) = self.receive_header(&mut stream).await?;
        let mut buf = vec![0; 64 * 1024];
        loop {
            self.note(&match length {
                Some(length) => format!("{received} of {length} bytes"),
                None => format!("{received} bytes"),
            });
            // A server may keep the connection open after the body.
            if length.is_some_and(|length| received >= length) {
                break;
            }
            match self.read(&mut stream, &mut buf).await? {
                0 => break,
                n => received += n as u64,
            }
        }
        self.note("done");
        match length {
            Some(length) if received < length => Err(format!(
                "the server closed the connection after {received} of {length} bytes"
            )),
            Some(length) => Ok(length),
            None => Ok(received),
        }
    }

    /// Returns the length of the body, if the header has it, and the number of its bytes that came
    /// with the header.
    async fn receive_header(
        &self,
        stream: &mut Async<Socket>,
    ) -> Result<(Option<u64>, u64), String> {
        let mut incoming = header::Incoming::default();
        let mut buf = [0; 4096];
        loop {
            let n = self.read(stream, &mut buf).await?;
            if n == 0 {
                return Err("the server closed the connection before the body".to_owned());
            }
            if let Some((header, body)) = incoming.take(&buf[..n])? {
                return Ok((header.body_length()?, body.len() as u64));
            }
        }
    }

    async fn read(&self, stream: &mut Async<Socket>, buf: &mut [u8]) -> Result<usize, String> {
        match self.handle.timeout(self.timeout, stream.read(buf)).await {
            Ok(received) => received.map_err(|error| format!("cannot receive: {error}")),
            Err(_) => Err(format!("the server was silent for {:?}", self.timeout)),
        }
    }

    fn note(&self, state: &str) {
        self.progress.borrow_mut().set(self.number, state);
    }
}
