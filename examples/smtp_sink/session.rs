//! A connection: the order of its commands, and the reply to each.

use std::borrow::Cow;

use fdloop::{ChannelId, ChatHandler, ChatIo, Dispatcher, Error, Predicates, Result, View};

use super::Server;
use super::command::{self, Command};
use super::message::Message;

/// A reply without the end of its line: a code of three digits, and text.
pub type Reply = Cow<'static, str>;

/// The limit of the length of a command without its CR LF: 512 bytes with it, and the lengths that
/// SIZE and BODY add to MAIL (RFC 1870 and RFC 6152).
pub const COMMAND_LIMIT: usize = 510 + 26 + 17;

/// The most recipients of a message: the fewest that RFC 5321 allows as a limit.
const RECIPIENT_LIMIT: usize = 100;

/// The limit of pending replies, in bytes, at which no more is received: a client may send commands
/// and read no replies.
const PENDING_LIMIT: usize = 64 * 1024;

/// A connection.
#[derive(Default)]
pub struct Session {
    server: Option<ServerId>,
    /// The client has sent EHLO or HELO.
    greeted: bool,
    /// Between MAIL and the end of that transaction.
    envelope: Option<Envelope>,
    /// Between DATA and the end of the message.
    message: Option<Message>,
    /// The client has sent QUIT.
    over: bool,
}

pub type ServerId = ChannelId<Dispatcher<Server>>;

/// The sender of a message, and the number of its recipients.
pub struct Envelope {
    pub sender: String,
    pub recipients: usize,
}

impl Session {
    pub fn new(server: Option<ServerId>) -> Self {
        Self {
            server,
            ..Self::default()
        }
    }

    fn server<'a>(&self, io: &'a mut ChatIo<'_>) -> Option<&'a mut Server> {
        let listener = io.event_loop().get_mut(self.server?)?;
        Some(listener.handler_mut())
    }

    fn server_name(&self, io: &mut ChatIo<'_>) -> String {
        let server = self.server(io);
        server.map_or_else(|| "localhost".to_owned(), |server| server.name.clone())
    }

    fn obey(&mut self, io: &mut ChatIo<'_>, command: Command) -> Reply {
        match command {
            Command::Helo => {
                self.greet();
                format!("250 {}", self.server_name(io)).into()
            }
            Command::Ehlo => {
                self.greet();
                let name = self.server_name(io);
                let limit = self.server(io).map_or(0, |server| server.size_limit);
                format!(
                    "250-{name}\r\n250-SIZE {limit}\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
                     250 HELP"
                )
                .into()
            }
            Command::Mail { sender, size } => self.mail(io, sender, size),
            Command::Rcpt => self.rcpt(),
            Command::Data => self.data(io),
            Command::Rset => {
                self.envelope = None;
                "250 OK".into()
            }
            Command::Noop => "250 OK".into(),
            Command::Vrfy => "252 cannot verify a user, but takes mail for any".into(),
            Command::Help => {
                "214 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT: see RFC 5321".into()
            }
            Command::Quit => {
                self.over = true;
                format!("221 {} goodbye", self.server_name(io)).into()
            }
        }
    }

    /// EHLO and HELO begin anew, at any time.
    fn greet(&mut self) {
        self.greeted = true;
        self.envelope = None;
    }

    fn mail(&mut self, io: &mut ChatIo<'_>, sender: String, size: u64) -> Reply {
        if !self.greeted {
            return "503 send EHLO or HELO first".into();
        }
        if self.envelope.is_some() {
            return "503 the sender is set already; RSET clears it".into();
        }
        if self
            .server(io)
            .is_some_and(|server| size > server.size_limit)
        {
            return too_large();
        }
        self.envelope = Some(Envelope {
            sender,
            recipients: 0,
        });
        "250 OK".into()
    }

    fn rcpt(&mut self) -> Reply {
        match &mut self.envelope {
            None => "503 send MAIL first".into(),
            Some(envelope) if envelope.recipients == RECIPIENT_LIMIT => {
                "452 too many recipients".into()
            }
            Some(envelope) => {
                envelope.recipients += 1;
                "250 OK".into()
            }
        }
    }

    fn data(&mut self, io: &mut ChatIo<'_>) -> Reply {
        match &self.envelope {
            None => return "503 send MAIL and RCPT first".into(),
            Some(envelope) if envelope.recipients == 0 => {
                return "554 no valid recipients".into();
            }
            Some(_) => {}
        }
        let Some(server) = self.server(io) else {
            return "451 the server is shutting down".into();
        };
        match Message::begin(server.maildir.as_mut(), server.size_limit) {
            Ok(message) => {
                self.message = Some(message);
                // The lines of a message have any length. They are not kept in memory.
                io.set_limit(None);
                "354 end the message with a line that is a dot".into()
            }
            // No space, no descriptors, no directory: the client may try later.
            Err(error) => {
                super::common::complain(&format!("cannot take a message: {error}"));
                "451 the message cannot be stored".into()
            }
        }
    }

    /// Handles the end of a message.
    fn end_message(&mut self, io: &mut ChatIo<'_>, message: Message) -> Reply {
        io.set_limit(COMMAND_LIMIT);
        let delivered = match message.deliver() {
            Ok(delivered) => delivered,
            Err(reply) => {
                self.envelope = None;
                return reply;
            }
        };
        if let (Some(envelope), Some(server)) = (self.envelope.take(), self.server(io)) {
            server.note(&envelope, &delivered);
        }
        "250 OK".into()
    }
}

impl ChatHandler for Session {
    fn readable(&self, io: &View<'_>) -> bool {
        io.pending() < PENDING_LIMIT
    }

    fn predicates(&self) -> Predicates {
        // The above looks at nothing but this channel.
        Predicates::OnChange
    }

    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        match &mut self.message {
            Some(message) => message.collect(data),
            None => io.collect(data),
        }
        Ok(())
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let reply = match self.message.take() {
            Some(mut message) => {
                if !message.end_line() {
                    self.message = Some(message);
                    return Ok(());
                }
                self.end_message(io, message)
            }
            None => {
                let line = io.take_data();
                if self.over {
                    // The client sent it before it read the reply to its QUIT.
                    return Ok(());
                }
                match command::parse(&line) {
                    Ok(command) => self.obey(io, command),
                    Err(reply) => reply,
                }
            }
        };
        send_reply(io, &reply)?;
        if self.over {
            io.close_when_done();
        }
        Ok(())
    }

    fn handle_timeout(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        if io.will_close() {
            // It does not read either.
            io.close();
            return Ok(());
        }
        send_reply(
            io,
            "421 the session is over, since nothing came for too long",
        )?;
        io.close_when_done();
        Ok(())
    }

    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        match error {
            // The rest of the line is dropped, and the next is a command again.
            Error::LineTooLong(_) => send_reply(io, "500 the line is too long"),
            // This client cannot be served; the others can.
            error => {
                super::common::complain(&error);
                io.fail(error);
                Ok(())
            }
        }
    }
}

fn send_reply(io: &mut ChatIo<'_>, reply: &str) -> Result<()> {
    io.push(reply)?;
    io.push("\r\n")
}

/// The reply to a message that is larger than the limit, or was announced to be.
pub fn too_large() -> Reply {
    "552 the message is too large".into()
}
