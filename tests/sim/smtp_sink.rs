//! The handler of `smtp_sink`, and the coroutine of `coroutine_smtp`, under the same clients.

#[path = "../../examples/smtp_sink/main.rs"]
#[allow(dead_code, reason = "the program around the handler")]
mod program;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use crate::SEEDS;
use crate::checked::Checked;
use crate::speaker::{Manner, Speaker};
use crate::stage::{Connection, play};
use fdloop::sim::{End, Peer, World, for_seeds};
use fdloop::{AsyncChat, Dispatcher};
use program::Server;
use program::session::{COMMAND_LIMIT, Session};

pub const NAME: &str = "sink.example";
const TIMED_OUT: &str = "421 the session is over, since nothing came for too long\r\n";
pub const SIZE_LIMIT: usize = 1_000;
pub const TIMEOUT: Duration = Duration::from_secs(300);

/// The words of a client, and the replies that it must get.
pub struct Script {
    pub words: Vec<u8>,
    /// All replies, from the greeting to the one that a client gets which falls silent.
    pub replies: Vec<u8>,
    /// The number of bytes after which a reply is due, and the end of it in the above.
    due: Vec<(usize, usize)>,
    /// The size and the recipients of each message, and the number of bytes after which it is
    /// taken.
    messages: Vec<(usize, usize, usize)>,
    greeted: bool,
    recipients: Option<usize>,
    quit: bool,
}

impl Script {
    /// Makes a script for the server of this name, as it greets.
    pub fn new(world: &World, server: &str, sender: &str) -> Self {
        let greeting = format!("220 {NAME} {server} takes everything\r\n");
        let mut script = Self {
            words: Vec::new(),
            due: vec![(0, greeting.len())],
            replies: greeting.into_bytes(),
            messages: Vec::new(),
            greeted: false,
            recipients: None,
            quit: false,
        };
        if world.chance(90) {
            script.say("EHLO client.example", &ehlo());
            script.greeted = true;
        }
        for _ in 0..world.between(0..=10) {
            script.command(world, sender);
        }
        if world.chance(50) {
            script.say("QUIT", "221 sink.example goodbye");
            script.quit = true;
        }
        script.replies.extend_from_slice(TIMED_OUT.as_bytes());
        script
    }

    fn say(&mut self, line: &str, reply: &str) {
        self.words.extend_from_slice(line.as_bytes());
        self.words.extend_from_slice(b"\r\n");
        self.reply(reply);
    }

    fn reply(&mut self, reply: &str) {
        self.reply_after(self.words.len(), reply);
    }

    fn reply_after(&mut self, bytes: usize, reply: &str) {
        self.replies.extend_from_slice(reply.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
        self.due.push((bytes, self.replies.len()));
    }

    /// A command that the seed decides on, most often the next of a message.
    fn command(&mut self, world: &World, sender: &str) {
        match (world.between(0..=9), self.recipients) {
            (0, _) => self.say("NOOP", "250 OK"),
            (1, _) => self.say("BOGUS", "500 unknown command"),
            (2, _) => {
                // The reply comes before the end of the line.
                let after = self.words.len() + COMMAND_LIMIT + 1;
                self.words.extend_from_slice(&[b'x'; COMMAND_LIMIT + 100]);
                self.words.extend_from_slice(b"\r\n");
                self.reply_after(after, "500 the line is too long");
            }
            (3, _) => {
                self.recipients = None;
                self.say("RSET", "250 OK");
            }
            (_, None) => {
                let mail = format!("MAIL FROM:<{sender}>");
                if self.greeted {
                    self.recipients = Some(0);
                    self.say(&mail, "250 OK");
                } else {
                    self.say(&mail, "503 send EHLO or HELO first");
                }
            }
            (4, Some(0)) => self.say("DATA", "554 no valid recipients"),
            (5..=9, Some(recipients @ 1..)) => self.data(world, recipients),
            (_, Some(recipients)) => {
                self.recipients = Some(recipients + 1);
                self.say("RCPT TO:<you@example.org>", "250 OK");
            }
        }
    }

    fn data(&mut self, world: &World, recipients: usize) {
        self.say("DATA", "354 end the message with a line that is a dot");
        let mut size = 0;
        for _ in 0..world.between(0..=12) {
            let text = [
                "",
                ".",
                "..",
                "text",
                ".text\tand more",
                "a line of quite some length",
            ];
            let line = text[world.between(0..=5) as usize].repeat(world.between(1..=6) as usize);
            size += line.len() + 2;
            if line.starts_with('.') {
                self.words.push(b'.');
            }
            self.words.extend_from_slice(line.as_bytes());
            self.words.extend_from_slice(b"\r\n");
        }
        self.words.extend_from_slice(b".\r\n");
        self.recipients = None;
        if size > SIZE_LIMIT {
            self.reply("552 the message is too large");
        } else {
            self.reply("250 OK");
            self.messages.push((self.words.len(), size, recipients));
        }
    }

    /// Returns the length of the replies that are due after so many bytes.
    pub fn owed(&self, received: usize) -> usize {
        let due = self.due.iter().take_while(|(after, _)| *after <= received);
        due.map(|(_, end)| *end).max().unwrap_or(0)
    }

    /// Checks whether the client gets the last reply if it falls silent.
    pub fn may_time_out(&self, manner: Manner) -> bool {
        manner == Manner::FallsSilent && !self.quit
    }

    /// Returns the number of messages in so many bytes.
    fn delivered(&self, received: usize) -> usize {
        let whole = self.messages.iter().filter(|(at, ..)| *at <= received);
        whole.count()
    }

    /// Checks the lines that the server has reported of the client, when all is over.
    pub fn check_report(&self, report: &str, sender: &str, arrived: usize) {
        let of_sender = report.lines().filter(|line| line.contains(sender));
        let reported = of_sender.filter_map(|line| line.split_once(": "));
        let reported: Vec<_> = reported.map(|(_, message)| message).collect();
        assert_eq!(reported, self.reported(arrived, sender));
    }

    /// Checks what the client has got, when all is over.
    pub fn check_client(&self, client: &Connection) {
        let manner = client.speaker.manner;
        if client.speaker.reads() {
            let length = match self.may_time_out(manner) {
                true => self.replies.len(),
                false => self.owed(usize::MAX),
            };
            assert_eq!(client.got, self.replies[..length]);
            assert_eq!(client.speaker.peer.end(), Some(End::InOrder));
        }
    }

    /// Returns what is reported of the messages in so many bytes.
    fn reported(&self, arrived: usize, sender: &str) -> Vec<String> {
        let due = self.messages.iter().filter(|(at, ..)| *at <= arrived);
        due.map(|(_, size, recipients)| {
            let plural = if *recipients == 1 { "" } else { "s" };
            format!("{size} bytes from <{sender}> for {recipients} recipient{plural}")
        })
        .collect()
    }
}

fn ehlo() -> String {
    format!(
        "250-sink.example\r\n250-SIZE {SIZE_LIMIT}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 HELP"
    )
}

/// The reports of a server.
#[derive(Clone, Default)]
pub struct Report(Rc<RefCell<Vec<u8>>>);

impl Report {
    pub fn take(&self) -> String {
        String::from_utf8(self.0.take()).unwrap()
    }
}

impl Write for Report {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(data)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sets the pace of a client.
pub fn set_pace(world: &World, peer: &Peer) {
    peer.set_room(world.between(10..=3_000) as usize);
    peer.set_pieces(1..=world.between(10..=700) as usize);
}

#[test]
fn smtp_sink_replies_to_every_command_and_takes_every_message_whole() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let report = Report::default();
        let server = Server {
            name: NAME.to_owned(),
            maildir: None,
            size_limit: SIZE_LIMIT as u64,
            timeout: TIMEOUT,
            delivered: 0,
            report: Box::new(report.clone()),
        };
        let server = event_loop.add_background(Dispatcher::over(world.pair().0, server))?;
        let mut clients = Vec::new();
        let mut scripts = Vec::new();
        for number in 0..world.between(1..=2) {
            let sender = format!("client{number}@example.org");
            let script = Script::new(world, "smtp_sink", &sender);
            let (stream, peer) = world.pair();
            set_pace(world, &peer);
            let (session, heard) = Checked::new(Session::new(Some(server)));
            let mut id = None;
            event_loop.with(server, |server, event_loop| {
                let chat = AsyncChat::over(stream, session);
                id = Some(server.handler().open_session(event_loop, chat)?);
                Ok(())
            })?;
            let speaker = Speaker::new(world, peer, script.words.clone());
            clients.extend(id.map(|id| Connection::new(speaker, heard, id)));
            scripts.push((script, sender));
        }
        play(
            world,
            &mut event_loop,
            &mut clients,
            |event_loop| event_loop.len() == 1,
            |event_loop, clients| {
                let mut delivered = 0;
                for (client, (script, _)) in clients.iter_mut().zip(&scripts) {
                    let received = client.traffic.received;
                    delivered += script.delivered(received);
                    let owed = match client.timeouts() {
                        0 => script.owed(received),
                        _ => script.replies.len(),
                    };
                    client.owe(&script.replies, owed);
                }
                let server = event_loop.get(server).unwrap();
                assert_eq!(server.handler().delivered, delivered as u64);
            },
        )?;
        let report = report.take();
        for (client, (script, sender)) in clients.iter().zip(&scripts) {
            script.check_report(&report, sender, client.traffic.arrived);
            script.check_client(client);
        }
        Ok(())
    })
    .unwrap();
}
