//! `smtp_sink` with coroutines: each session is a function, from the greeting to the last reply.
//!
//! It does what `smtp_sink` does, and shares the parts that are not about waiting with it:
//! commands, messages, the maildir. Compare `session.rs` with `smtp_sink/session.rs`.
//!
//! Try it:
//!
//! ```text
//! cargo run --features coroutines --example coroutine_smtp -- --maildir /tmp/mail &
//! curl smtp://127.0.0.1:2525 --mail-from me@example.org --mail-rcpt you@example.org -T README.md
//! ```

#[path = "../smtp_sink/command.rs"]
mod command;
#[path = "../common/mod.rs"]
mod common;
#[path = "../smtp_sink/domain.rs"]
mod domain;
#[path = "../smtp_sink/maildir.rs"]
mod maildir;
#[path = "../smtp_sink/message.rs"]
mod message;
pub(crate) mod session;

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{Conversation, EventLoop, Handle, Listener};

use maildir::Maildir;
use message::Delivered;

const USAGE: &str = "\
usage: coroutine_smtp [--backend select|poll|epoll] [--maildir DIR] [--size-limit BYTES]
                      [--timeout SECONDS] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:2525 by default
  DIR is created if it does not exist
  BYTES is the limit of the size of a message; 33554432 by default
  SECONDS is how long a client may be silent; 300 by default, the least of RFC 5321";

const SIZE_LIMIT: u64 = 32 << 20;

/// RFC 5321, section 4.5.3.2.7: at least 5 minutes.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The state that all sessions share.
pub(crate) struct Server {
    /// The domain name that the server announces.
    pub(crate) name: String,
    pub(crate) maildir: Option<Maildir>,
    pub(crate) size_limit: u64,
    pub(crate) timeout: Duration,
    pub(crate) delivered: u64,
    /// A line for each message goes here.
    pub(crate) report: Box<dyn Write>,
}

impl Server {
    /// Counts a complete message, and reports it.
    fn note(&mut self, envelope: &session::Envelope, delivered: &Delivered) {
        self.delivered += 1;
        // An error means that the reader has gone. The server goes on.
        let _ = writeln!(
            self.report,
            "message {}: {} bytes from <{}> for {} recipient{}",
            self.delivered,
            delivered.size,
            common::escaped(envelope.sender.as_bytes()),
            envelope.recipients,
            if envelope.recipients == 1 { "" } else { "s" },
        );
    }
}

fn main() -> ExitCode {
    common::main(
        USAGE,
        &["--backend", "--maildir", "--size-limit", "--timeout"],
        run,
    )
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let timeout = arguments.timeout()?.unwrap_or(TIMEOUT);
    let maildir = arguments.value("--maildir").map(PathBuf::from);
    let size_limit = match arguments.value("--size-limit") {
        Some(bytes) => bytes
            .to_str()
            .and_then(|bytes| bytes.parse().ok())
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| {
                Failure::usage(format!("--size-limit: {bytes:?} is not a number from 1 up"))
            })?,
        None => SIZE_LIMIT,
    };
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:2525"))?;
    let maildir = match maildir {
        // An error is better reported now than at the first message.
        Some(path) => Some(Maildir::open(&path).map_err(|error| {
            Failure::operation(format!("cannot use {}: {error}", path.display()))
        })?),
        None => None,
    };
    let server = Rc::new(RefCell::new(Server {
        name: domain::own_name(),
        maildir,
        size_limit,
        timeout,
        delivered: 0,
        report: Box::new(io::stdout()),
    }));
    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.stop_on(common::STOPPING)?;
    let handle = event_loop.handle();
    let accepting = async {
        let listener = handle.listen(&addresses)?;
        let address = listener.local_addr()?;
        let _file = common::SocketFile::of(&address);
        common::print(&format!("listening on {address}\n"))?;
        accept(&handle, &listener, &server).await
    };
    match event_loop.block_on(accepting) {
        // A signal has stopped the loop.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result?,
    }
}

/// Makes a task of each connection.
async fn accept(
    handle: &Handle,
    listener: &Listener,
    server: &Rc<RefCell<Server>>,
) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        let chat = Conversation::new(handle, stream.into_inner())?;
        let (clock, server) = (handle.clone(), Rc::clone(server));
        let session = async move {
            // This client cannot be served; the others can.
            if let Err(error) = session::serve(clock, chat, &server).await {
                log::info!("a session has ended: {error}");
            }
        };
        handle.spawn(session).detach();
    }
}
