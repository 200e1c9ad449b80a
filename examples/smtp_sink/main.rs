//! A mail server that accepts every message and delivers none, to test programs that send mail.
//!
//! It speaks SMTP as in RFC 5321, with the extensions SIZE, PIPELINING and
//! 8BITMIME. Each connection is an [`AsyncChat`] whose pieces are lines. A command is one line of
//! limited length. A message has any number of lines of any length, which are written to its file
//! as they arrive, so that no message is held in memory.
//!
//! With `--maildir`, each message becomes a file in DIR/new. It appears there complete, with the
//! bytes that were sent. Without it, messages are dropped. A line on stdout reports each message.
//!
//! Try it:
//!
//! ```text
//! cargo run --example smtp_sink -- --maildir /tmp/mail &
//! curl smtp://127.0.0.1:2525 --mail-from me@example.org --mail-rcpt you@example.org -T README.md
//! ls /tmp/mail/new
//! ```

mod command;
#[path = "../common/mod.rs"]
mod common;
mod domain;
mod maildir;
mod message;
pub(crate) mod session;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{Address, AnyId, AsyncChat, ChatHandler, EventLoop, Handler, Io, Result, Socket};

use maildir::Maildir;
use message::Delivered;
use session::{COMMAND_LIMIT, Session};

const USAGE: &str = "\
usage: smtp_sink [--backend select|poll|epoll] [--maildir DIR] [--size-limit BYTES]
                 [--timeout SECONDS] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:2525 by default
  DIR is created if it does not exist
  BYTES is the limit of the size of a message; 33554432 by default
  SECONDS is how long a client may be silent; 300 by default, the least of RFC 5321";

const SIZE_LIMIT: u64 = 32 << 20;

/// RFC 5321, section 4.5.3.2.7: at least 5 minutes.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The listener, and the state that all sessions share: they know it by its id.
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
    /// Begins a session. The tests do so without a socket, and with a handler around this one.
    pub(crate) fn open_session<H: ChatHandler + 'static>(
        &self,
        event_loop: &mut EventLoop,
        mut chat: AsyncChat<H>,
    ) -> Result<AnyId> {
        chat.set_terminator("\r\n");
        chat.set_limit(COMMAND_LIMIT);
        chat.set_timeout(Some(self.timeout));
        chat.push(format!("220 {} smtp_sink takes everything\r\n", self.name))?;
        Ok(event_loop.add(chat)?.into())
    }

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

impl Handler for Server {
    // An error here costs one connection and is logged.
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        // The channel whose handler runs is the listener.
        let session = Session::new(io.event_loop().serving());
        self.open_session(io.event_loop(), AsyncChat::new(socket, session)?)?;
        Ok(())
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
    let server = Server {
        name: domain::own_name(),
        maildir,
        size_limit,
        timeout,
        delivered: 0,
        report: Box::new(io::stdout()),
    };
    common::serve(backend, &addresses, server)
}
