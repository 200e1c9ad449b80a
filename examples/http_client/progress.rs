//! The line on stderr that shows how far the body is.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shows the progress on stderr if that is a terminal, unless the body is shown on it too.
pub struct Progress {
    shown: bool,
    next: Instant,
    line: String,
}

impl Progress {
    pub fn new(body_is_shown: bool) -> Self {
        Self {
            shown: !body_is_shown && io::stderr().is_terminal(),
            next: Instant::now(),
            line: String::new(),
        }
    }

    pub fn show(&mut self, received: u64, length: Option<u64>) {
        if !self.shown {
            return;
        }
        self.line = match length {
            Some(length) if length > 0 => {
                let percent = u128::from(received) * 100 / u128::from(length);
                format!("{received} of {length} bytes, {percent}%")
            }
            _ => format!("{received} bytes"),
        };
        if Instant::now() >= self.next {
            self.next = Instant::now() + Duration::from_millis(100);
            let _ = write!(io::stderr(), "\r{}", self.line);
        }
    }

    pub fn finish(&mut self) {
        if !self.line.is_empty() {
            let _ = writeln!(io::stderr(), "\r{}", self.line);
        }
    }
}
