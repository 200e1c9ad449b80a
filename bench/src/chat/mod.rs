//! The chat: lines per second, and how fast input is scanned.

mod scan;

use std::error::Error;
use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use fdloop::{AsyncChat, ChatHandler, ChatIo, EventLoop, Predicates};
use serde_json::json;

use crate::contest::{Contest, Server, python_command};
use crate::effort::Effort;
use crate::report::{Goal, Report, Table, median, number};

/// Bytes of a line, its CRLF included.
const LINES: [usize; 2] = [64, 4_096];

/// The length from which receiving decides.
const LONG: usize = 4_096;

const ASYNCHAT: &str = include_str!("../../python/chat_asynchat.py");

/// Counts lines; what the other side of the comparison does, too.
#[derive(Default)]
struct Counter {
    line: Vec<u8>,
    lines: usize,
    bytes: usize,
}

impl ChatHandler for Counter {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn collect_incoming_data(&mut self, _: &mut ChatIo<'_>, data: &[u8]) -> fdloop::Result<()> {
        self.line.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> fdloop::Result<()> {
        self.lines += 1;
        self.bytes += self.line.len();
        self.line.clear();
        Ok(())
    }

    fn handle_close(&mut self, _: &mut ChatIo<'_>) -> fdloop::Result<()> {
        println!("{} {}", self.lines, self.bytes);
        Ok(())
    }
}

/// The process: takes one connection, and prints how many lines came and how long
/// they were in all.
pub fn serve() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let (stream, _) = listener.accept()?;
    let mut chat = AsyncChat::new(stream, Counter::default())?;
    chat.set_terminator("\r\n");
    let mut event_loop = EventLoop::new()?;
    event_loop.add(chat)?;
    Ok(event_loop.run()?)
}

/// The same for a receiver that does next to nothing: it receives as much at once, in a
/// loop that blocks, and looks at nothing.
pub fn serve_recv(length: usize) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            received => bytes += received,
        }
    }
    println!("{} {}", bytes / length, bytes / length * (length - 2));
    Ok(())
}

pub fn run(contest: &Contest, effort: &Effort) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::new("chat", "Chat: lines per second");
    report.notes.push(format!(
        "One connection sends lines over TCP on the loopback interface as fast as they are taken; \
         the server cuts them apart, joins the pieces of each, and counts. The median of {} \
         rounds. `recv alone` receives as much at once in a loop that blocks, and looks at \
         nothing.",
        effort.rounds
    ));
    let mut table = Table::new("", &["line", "fdloop", "recv alone", "asynchat", "ratio"]);
    for length in LINES {
        let Rates { ours, recv, theirs } = measure(contest, effort, length)?;
        let ratio = theirs.map(|theirs| ours / theirs);
        table.rows.push(vec![
            format!("{length} bytes"),
            number(ours),
            number(recv),
            theirs.map_or("left out".to_owned(), number),
            ratio.map_or(String::new(), |ratio| format!("{}×", number(ratio))),
        ]);
        report.data.push(json!({
            "line_bytes": length,
            "fdloop_lines_per_second": ours,
            "recv_alone_lines_per_second": recv,
            "asynchat_lines_per_second": theirs,
            "ratio": ratio,
        }));
        // Long lines take as long as receiving them, in either language. Short ones take as long
        // again. asynchat has no goal: receiving alone is about 50 times as fast.
        let least = if length >= LONG { 0.95 } else { 0.5 };
        let what = format!("chat, lines of {length} bytes, times a loop that only receives");
        report
            .goals
            .push(Goal::at_least(what, least, Some(ours / recv)));
    }
    report.tables.push(table);
    scan::measure(effort, &mut report)?;
    Ok(report)
}

/// Lines per second.
struct Rates {
    ours: f64,
    /// Of a receiver that looks at nothing.
    recv: f64,
    /// Of asynchat.
    theirs: Option<f64>,
}

fn measure(contest: &Contest, effort: &Effort, length: usize) -> Result<Rates, Box<dyn Error>> {
    let own = contest.peer("fdloop/poll").ok_or("fdloop is not here")?;
    let (mut ours, mut recv, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let mut command = own.command();
        command.arg("serve-chat");
        ours.push(rate(command, length, effort.chat_bytes)?);
        let mut command = own.command();
        command.args(["serve-recv", &length.to_string()]);
        recv.push(rate(command, length, effort.chat_bytes)?);
        if let Some(python) = &contest.python {
            let command = python_command(python, ASYNCHAT);
            theirs.push(rate(command, length, effort.asynchat_bytes)?);
        }
    }
    Ok(Rates {
        ours: median(&ours).ok_or("no round")?,
        recv: median(&recv).ok_or("no round")?,
        theirs: median(&theirs),
    })
}

/// Lines per second.
fn rate(command: Command, length: usize, bytes: usize) -> Result<f64, Box<dyn Error>> {
    let mut server = Server::start(command)?;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
    let block = lines(length, 256 * 1024);
    let blocks = bytes / block.len();
    let start = Instant::now();
    for _ in 0..blocks {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut counted = String::new();
    server.output.read_line(&mut counted)?;
    let time = start.elapsed();
    let sent = blocks * block.len() / length;
    if counted.trim() != format!("{sent} {}", sent * (length - 2)) {
        return Err(format!("{sent} lines were sent, and counted {counted:?}").into());
    }
    Ok(sent as f64 / time.as_secs_f64())
}

/// Lines of that length.
fn lines(length: usize, bytes: usize) -> Vec<u8> {
    let mut line = vec![b'x'; length - 2];
    line.extend_from_slice(b"\r\n");
    line.repeat(bytes / length)
}
