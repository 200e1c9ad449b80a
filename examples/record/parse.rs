//! Reading a recording: asciicast, versions 2 and 3.

use std::io::{self, BufRead};
use std::time::Duration;

use serde_json::Value;

/// The events of a recording, in order.
pub struct Events<R> {
    lines: io::Lines<R>,
    number: usize,
    /// True for version 3, which has intervals and comments.
    has_intervals: bool,
}

/// Output, and the time since the event before or since the beginning.
pub struct Event {
    pub code: String,
    pub data: String,
}

impl<R: BufRead> Events<R> {
    /// Reads the header.
    pub fn new(recording: R) -> Result<Self, String> {
        let mut events = Self {
            lines: recording.lines(),
            number: 0,
            has_intervals: false,
        };
        let header = events.line()?.ok_or("it is empty")?;
        let header: Value = serde_json::from_str(&header)
            .map_err(|_| "line 1 is not the header of an asciicast recording")?;
        events.has_intervals = match header["version"].as_u64() {
            Some(2) => false,
            Some(3) => true,
            _ => return Err("only asciicast of version 2 and 3 is known".into()),
        };
        Ok(events)
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        self.number += 1;
        let line = self.lines.next().transpose();
        line.map_err(|error| format!("line {}: {error}", self.number))
    }

    /// The next event, and its time: since the beginning, given that of the last event.
    pub fn next(&mut self, last: Duration) -> Result<Option<(Duration, Event)>, String> {
        loop {
            let Some(line) = self.line()? else {
                return Ok(None);
            };
            let is_comment = self.has_intervals && line.starts_with('#');
            if line.trim().is_empty() || is_comment {
                continue;
            }
            let event = self.parse(&line, last);
            return event.map(Some).ok_or_else(|| {
                format!("line {} is not an event: [TIME, CODE, DATA]", self.number)
            });
        }
    }

    fn parse(&self, line: &str, last: Duration) -> Option<(Duration, Event)> {
        let event: Value = serde_json::from_str(line).ok()?;
        let [time, code, data] = event.as_array()?.as_slice() else {
            return None;
        };
        let time = Duration::try_from_secs_f64(time.as_f64()?).ok()?;
        let time = match self.has_intervals {
            true => last.checked_add(time)?,
            false => time,
        };
        let event = Event {
            code: code.as_str()?.to_owned(),
            data: data.as_str()?.to_owned(),
        };
        Some((time, event))
    }
}
