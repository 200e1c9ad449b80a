//! The handler of `smtp_sink`.

#[path = "../../examples/smtp_sink/main.rs"]
#[allow(dead_code, reason = "the program around the handler")]
mod program;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use crate::SEEDS;
use crate::checked::{Manner, Speaker, arrived, run_until_left};
use fdloop::sim::{End, World, for_seeds};
use fdloop::{AsyncChat, Dispatcher};
use program::Server;
use program::session::Session;

const GREETING: &str = "220 sink.example smtp_sink takes everything\r\n";
const TIMED_OUT: &str = "421 the session is over, since nothing came for too long\r\n";
const SIZE_LIMIT: usize = 1_000;

/// The words of a client, and the replies that it must get.
#[derive(Default)]
struct Script {
    words: Vec<u8>,
    /// Each reply, and the number of bytes after which it is due.
    replies: Vec<(usize, String)>,
    /// The size and the recipients of each message, and the number of bytes after which it is
    /// taken.
    messages: Vec<(usize, usize, usize)>,
    greeted: bool,
    recipients: Option<usize>,
    quit: bool,
}

impl Script {
    fn new(world: &World, sender: &str) -> Self {
        let mut script = Self::default();
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
        script
    }

    fn say(&mut self, line: &str, reply: &str) {
        self.words.extend_from_slice(line.as_bytes());
        self.words.extend_from_slice(b"\r\n");
        self.reply(reply);
    }

    fn reply(&mut self, reply: &str) {
        self.replies
            .push((self.words.len(), format!("{reply}\r\n")));
    }

    /// A command that the seed decides on, most often the next of a message.
    fn command(&mut self, world: &World, sender: &str) {
        match (world.between(0..=9), self.recipients) {
            (0, _) => self.say("NOOP", "250 OK"),
            (1, _) => self.say("BOGUS", "500 unknown command"),
            (2, _) => self.say(&"x".repeat(700), "500 the line is too long"),
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

    /// Returns what the client hears if so many of its bytes come.
    fn heard(&self, arrived: usize) -> String {
        let due = self.replies.iter().filter(|(at, _)| *at <= arrived);
        GREETING.to_owned() + &due.map(|(_, reply)| reply.as_str()).collect::<String>()
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

/// The reports of the server.
#[derive(Clone, Default)]
struct Report(Rc<RefCell<Vec<u8>>>);

impl Write for Report {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(data)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn smtp_sink_replies_to_every_command_and_takes_every_message_whole() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let report = Report::default();
        let server = Server {
            name: "sink.example".to_owned(),
            maildir: None,
            size_limit: SIZE_LIMIT as u64,
            timeout: Duration::from_secs(300),
            delivered: 0,
            report: Box::new(report.clone()),
        };
        let server = event_loop.add_background(Dispatcher::over(world.pair().0, server))?;
        let mut clients = Vec::new();
        for number in 0..world.between(1..=2) {
            let sender = format!("client{number}@example.org");
            let script = Script::new(world, &sender);
            let (stream, peer) = world.pair();
            peer.set_room(world.between(10..=3_000) as usize);
            peer.set_pieces(1..=world.between(10..=700) as usize);
            let chat = AsyncChat::over(stream, Session::default());
            event_loop.with(server, |server, event_loop| {
                server.handler().open_session(event_loop, chat)
            })?;
            let speaker = Speaker::new(world, peer, script.words.clone());
            clients.push((speaker, script, sender));
        }
        let due: Vec<_> = clients
            .iter()
            .map(|(_, script, ..)| script.heard(usize::MAX) + TIMED_OUT)
            .collect();
        run_until_left(world, &mut event_loop, 1, |_| {
            for ((client, ..), due) in clients.iter().zip(&due) {
                client.check_received(due.as_bytes());
            }
        })?;

        let report = String::from_utf8(report.0.take()).unwrap();
        for (client, script, sender) in &clients {
            let of_sender = report.lines().filter(|line| line.contains(sender));
            let reported: Vec<_> = of_sender
                .filter_map(|line| line.split_once(": "))
                .map(|(_, message)| message)
                .collect();
            assert_eq!(
                reported,
                script.reported(arrived(world, &client.peer), sender)
            );
            let mut due = script.heard(usize::MAX);
            match client.manner {
                Manner::HalfCloses => {}
                Manner::FallsSilent if script.quit => {}
                Manner::FallsSilent => due += TIMED_OUT,
                Manner::Closes | Manner::Resets => continue,
            }
            assert_eq!(String::from_utf8(client.peer.received()).unwrap(), due);
            assert_eq!(client.peer.end(), Some(End::InOrder));
        }
        Ok(())
    })
    .unwrap();
}
