//! Writing a recording: asciicast, versions 2 and 3.
//!
//! Both are a line of JSON for the header and one for each event. In version 2 an event has the
//! time since the beginning, in version 3 that since the event before.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fdloop::WindowSize;
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq)]
pub enum Version {
    Two,
    Three,
}

/// A recording that is being written.
pub struct Cast {
    file: BufWriter<File>,
    version: Version,
    keys: bool,
    started: Instant,
    /// The time of the last event, in microseconds.
    last: u128,
    output: Text,
    input: Text,
}

impl Cast {
    pub fn new(file: File, version: Version, keys: bool) -> Self {
        Self {
            file: BufWriter::with_capacity(64 * 1024, file),
            version,
            keys,
            started: Instant::now(),
            last: 0,
            output: Text::default(),
            input: Text::default(),
        }
    }

    /// Writes the header. The time begins.
    pub fn begin(&mut self, size: WindowSize, command: Option<&str>) -> io::Result<()> {
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let variables = |names: &[&str]| {
            let found = names.iter().filter_map(|name| {
                let value = std::env::var(name).ok()?;
                Some(((*name).to_owned(), Value::from(value)))
            });
            Value::Object(found.collect())
        };
        let mut header = match self.version {
            Version::Two => json!({
                "version": 2,
                "width": size.columns,
                "height": size.rows,
                "timestamp": timestamp,
                "env": variables(&["SHELL", "TERM"]),
            }),
            Version::Three => json!({
                "version": 3,
                "term": { "cols": size.columns, "rows": size.rows },
                "timestamp": timestamp,
                "env": variables(&["SHELL"]),
            }),
        };
        if let (Version::Three, Ok(kind)) = (self.version, std::env::var("TERM")) {
            header["term"]["type"] = kind.into();
        }
        if let Some(command) = command {
            header["command"] = command.into();
        }
        self.started = Instant::now();
        serde_json::to_writer(&mut self.file, &header)?;
        self.file.write_all(b"\n")?;
        // An error of the file is found before the command is started.
        self.file.flush()
    }

    fn event(&mut self, code: &str, data: &str) -> io::Result<()> {
        let now = self.started.elapsed().as_micros();
        let shown = match self.version {
            Version::Two => now,
            Version::Three => now - self.last,
        };
        self.last = now;
        write!(
            self.file,
            "[{}.{:06}, \"{code}\", ",
            shown / 1_000_000,
            shown % 1_000_000
        )?;
        serde_json::to_writer(&mut self.file, data)?;
        self.file.write_all(b"]\n")
    }

    /// Records output of the command.
    pub fn output(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = self.output.take(bytes);
        match text.is_empty() {
            true => Ok(()),
            false => self.event("o", &text),
        }
    }

    /// Records keys, if that was asked for.
    pub fn input(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.keys {
            return Ok(());
        }
        let text = self.input.take(bytes);
        match text.is_empty() {
            true => Ok(()),
            false => self.event("i", &text),
        }
    }

    /// Records a new size of the window.
    pub fn resize(&mut self, size: WindowSize) -> io::Result<()> {
        self.event("r", &format!("{}x{}", size.columns, size.rows))
    }

    /// Writes the recorded events to the file, so that little is lost if the program is killed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Ends the recording.
    pub fn finish(mut self, code: Option<u8>) -> io::Result<()> {
        for (kind, text) in [("o", self.output.rest()), ("i", self.input.rest())] {
            if !text.is_empty() {
                self.event(kind, &text)?;
            }
        }
        if let (Version::Three, Some(code)) = (self.version, code) {
            self.event("x", &code.to_string())?;
        }
        self.file.flush()
    }
}

/// Makes text of bytes that come in pieces. Bytes that are not UTF-8 become U+FFFD.
#[derive(Default)]
struct Text {
    /// The beginning of a character whose end has not arrived.
    incomplete: Vec<u8>,
}

impl Text {
    fn take(&mut self, bytes: &[u8]) -> String {
        let mut data = std::mem::take(&mut self.incomplete);
        data.extend_from_slice(bytes);
        let mut text = String::with_capacity(data.len());
        let mut rest = &data[..];
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => error,
            };
            let (valid, others) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            match error.error_len() {
                Some(len) => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &others[len..];
                }
                None => {
                    self.incomplete = others.to_vec();
                    return text;
                }
            }
        }
    }

    /// Takes the rest at the end.
    fn rest(&mut self) -> String {
        let rest = std::mem::take(&mut self.incomplete);
        String::from_utf8_lossy(&rest).into_owned()
    }
}
