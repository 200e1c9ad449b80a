//! A connection: the steps that `smtp_sink` spreads over handlers, in the order in which they
//! happen.
//!
//! Beside `smtp_sink/session.rs`, line by line: the fields `greeted` and `envelope` are variables
//! here; `message` and `over`, which say what the next line is, are places in the function; and
//! `handle_timeout` is a wrapper around each wait.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::time::Duration;

use fdloop::{Conversation, Error, Handle, Result};

use super::Server;
use super::command::{self, Command};
use super::message::Message;

/// A reply without the end of its line: a code of three digits, and text.
pub type Reply = Cow<'static, str>;

/// The limit of the length of a command: see `smtp_sink`.
const COMMAND_LIMIT: usize = 510 + 26 + 17;

/// The most recipients of a message: the fewest that RFC 5321 allows as a limit.
const RECIPIENT_LIMIT: usize = 100;

/// The limit of pending replies, in bytes, at which no more is received.
const PENDING_LIMIT: usize = 64 * 1024;

/// The sender of a message, and the number of its recipients.
pub struct Envelope {
    pub sender: String,
    pub recipients: usize,
}

/// Waits for input of the client, at most until the time limit.
struct Patience {
    handle: Handle,
    limit: Duration,
}

impl Patience {
    async fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.handle.timeout(self.limit, future).await?
    }
}

/// Serves a client, from the greeting to the end.
pub async fn serve(handle: Handle, mut chat: Conversation, server: &RefCell<Server>) -> Result<()> {
    let limit = server.borrow().timeout;
    let patience = Patience { handle, limit };
    match converse(&patience, &mut chat, server).await {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => send_reply(
            &mut chat,
            "421 the session is over, since nothing came for too long",
        ),
        result => result,
    }
}

async fn converse(
    patience: &Patience,
    chat: &mut Conversation,
    server: &RefCell<Server>,
) -> Result<()> {
    let (name, size_limit) = {
        let server = server.borrow();
        (server.name.clone(), server.size_limit)
    };
    chat.set_limit(COMMAND_LIMIT);
    send_reply(chat, &format!("220 {name} coroutine_smtp takes everything"))?;
    let mut greeted = false;
    let mut envelope: Option<Envelope> = None;
    while let Some(command) = next_command(patience, chat).await? {
        let reply = match command {
            Err(reply) => reply,
            // EHLO and HELO begin anew, at any time.
            Ok(Command::Helo) => {
                (greeted, envelope) = (true, None);
                format!("250 {name}").into()
            }
            Ok(Command::Ehlo) => {
                (greeted, envelope) = (true, None);
                format!(
                    "250-{name}\r\n250-SIZE {size_limit}\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
                     250 HELP"
                )
                .into()
            }
            Ok(Command::Mail { sender, size }) => {
                if !greeted {
                    "503 send EHLO or HELO first".into()
                } else if envelope.is_some() {
                    "503 the sender is set already; RSET clears it".into()
                } else if size > size_limit {
                    too_large()
                } else {
                    let recipients = 0;
                    envelope = Some(Envelope { sender, recipients });
                    "250 OK".into()
                }
            }
            Ok(Command::Rcpt) => match &mut envelope {
                None => "503 send MAIL first".into(),
                Some(envelope) if envelope.recipients == RECIPIENT_LIMIT => {
                    "452 too many recipients".into()
                }
                Some(envelope) => {
                    envelope.recipients += 1;
                    "250 OK".into()
                }
            },
            Ok(Command::Data) => match begin_message(&envelope, server) {
                Err(reply) => reply,
                Ok(message) => {
                    send_reply(chat, "354 end the message with a line that is a dot")?;
                    let Some(message) = receive(patience, chat, message).await? else {
                        return Ok(());
                    };
                    match (message.deliver(), envelope.take()) {
                        (Err(reply), _) => reply,
                        (Ok(delivered), Some(envelope)) => {
                            server.borrow_mut().note(&envelope, &delivered);
                            "250 OK".into()
                        }
                        (Ok(_), None) => "250 OK".into(),
                    }
                }
            },
            Ok(Command::Rset) => {
                envelope = None;
                "250 OK".into()
            }
            Ok(Command::Noop) => "250 OK".into(),
            Ok(Command::Vrfy) => "252 cannot verify a user, but takes mail for any".into(),
            Ok(Command::Help) => {
                "214 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT: see RFC 5321".into()
            }
            // Input that the client sent before it read the reply is not read.
            Ok(Command::Quit) => return send_reply(chat, &format!("221 {name} goodbye")),
        };
        send_reply(chat, &reply)?;
        if chat.pending() >= PENDING_LIMIT {
            // A client may send commands and read no replies.
            patience.wait(chat.flush()).await?;
        }
    }
    Ok(())
}

/// Reads a command. The error is the reply to a malformed command. Returns `None` when the client
/// has gone.
async fn next_command(
    patience: &Patience,
    chat: &mut Conversation,
) -> Result<Option<Result<Command, Reply>>> {
    loop {
        match patience.wait(chat.read_until("\r\n")).await {
            Ok(line) => return Ok(line.map(|line| command::parse(&line))),
            Err(Error::LineTooLong(_)) => {
                send_reply(chat, "500 the line is too long")?;
                // The rest of the line is dropped, and the next is a command again.
                while let Some(part) = patience.wait(chat.read_part("\r\n")).await? {
                    if part.is_last {
                        break;
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Begins a message. The error is the reply that refuses it.
fn begin_message(envelope: &Option<Envelope>, server: &RefCell<Server>) -> Result<Message, Reply> {
    match envelope {
        None => return Err("503 send MAIL and RCPT first".into()),
        Some(envelope) if envelope.recipients == 0 => return Err("554 no valid recipients".into()),
        Some(_) => {}
    }
    let server = &mut *server.borrow_mut();
    Message::begin(server.maildir.as_mut(), server.size_limit).map_err(|error| {
        // No space, no descriptors, no directory: the client may try later.
        super::common::complain(&format!("cannot take a message: {error}"));
        "451 the message cannot be stored".into()
    })
}

/// Receives the lines of a message, of any length, which are not kept in memory. Returns `None`
/// when the client has gone.
async fn receive(
    patience: &Patience,
    chat: &mut Conversation,
    mut message: Message,
) -> Result<Option<Message>> {
    loop {
        let part = match patience.wait(chat.read_part("\r\n")).await {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        if !part.data.is_empty() {
            message.collect(&part.data);
        }
        if part.is_last && message.end_line() {
            return Ok(Some(message));
        }
    }
}

fn send_reply(chat: &mut Conversation, reply: &str) -> Result<()> {
    chat.push(reply)?;
    chat.push("\r\n")
}

/// The reply to a message that is larger than the limit, or was announced to be.
pub fn too_large() -> Reply {
    "552 the message is too large".into()
}
