//! The speed at which a chat scans, beside memchr alone: no socket, no peer.

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use fdloop::{AsyncChat, ChatHandler, ChatIo, EventLoop, Predicates, Transport};
use serde_json::json;

use super::{LINES, lines};
use crate::effort::Effort;
use crate::report::{Goal, Report, Table, median, number};

/// The default number of bytes that a chat receives at once.
const CHUNK: usize = 64 * 1024;

/// Gives the same input again and again.
struct Memory {
    /// Always readable.
    readable: UnixStream,
    input: Vec<u8>,
    /// The number of bytes to come.
    left: usize,
}

impl Transport for Memory {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.readable.as_fd())
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(self.input.len()).min(self.left);
        buf[..len].copy_from_slice(&self.input[..len]);
        self.left -= len;
        Ok(len)
    }

    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }
}

/// Looks at what it is given, and keeps nothing.
struct Count(usize);

impl ChatHandler for Count {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn collect_incoming_data(&mut self, _: &mut ChatIo<'_>, _: &[u8]) -> fdloop::Result<()> {
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> fdloop::Result<()> {
        self.0 += 1;
        Ok(())
    }
}

pub fn measure(effort: &Effort, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let head = ["line", "chat", "memchr alone", "ratio"];
    let mut table = Table::new("Scanning, in bytes per second", &head);
    for length in LINES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            ours.push(chat(length, effort.chat_bytes)?);
            theirs.push(memchr_alone(length, effort.chat_bytes)?);
        }
        let (ours, theirs) = median(&ours).zip(median(&theirs)).ok_or("no round")?;
        table.rows.push(vec![
            format!("{length} bytes"),
            number(ours),
            number(theirs),
            format!("{}×", number(ours / theirs)),
        ]);
        let what = format!("scanning lines of {length} bytes, times memchr alone");
        report
            .goals
            .push(Goal::at_least(what, 0.5, Some(ours / theirs)));
        report.data.push(json!({
            "line_bytes": length,
            "chat_scans_bytes_per_second": ours,
            "memchr_scans_bytes_per_second": theirs,
        }));
    }
    report.tables.push(table);
    report.notes.push(
        "Scanning takes the input from memory. memchr alone looks for each line's end in the same \
         input, copied as a receive would copy it."
            .to_owned(),
    );
    Ok(())
}

/// Bytes per second through a chat.
fn chat(length: usize, bytes: usize) -> Result<f64, Box<dyn Error>> {
    let (readable, mut other) = UnixStream::pair()?;
    other.write_all(b"!")?;
    let input = lines(length, CHUNK);
    let memory = Memory {
        readable,
        left: bytes / input.len() * input.len(),
        input,
    };
    let (total, mut chat) = (memory.left, AsyncChat::over(memory, Count(0)));
    chat.set_terminator("\n");
    chat.set_in_buffer_size(CHUNK);
    let mut event_loop = EventLoop::new()?;
    event_loop.add(chat)?;
    let start = Instant::now();
    event_loop.run()?;
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

/// Bytes per second through memchr.
fn memchr_alone(length: usize, bytes: usize) -> Result<f64, Box<dyn Error>> {
    let input = lines(length, CHUNK);
    let mut buffer = vec![0; input.len()];
    let rounds = bytes / input.len();
    let mut found = 0;
    let start = Instant::now();
    for _ in 0..rounds {
        buffer.copy_from_slice(std::hint::black_box(&input));
        let mut rest = &buffer[..];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            found += 1;
            rest = &rest[end + 1..];
        }
    }
    let time = start.elapsed();
    if found != rounds * input.len() / length {
        return Err("memchr found another number of lines".into());
    }
    Ok((rounds * input.len()) as f64 / time.as_secs_f64())
}
