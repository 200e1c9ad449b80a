//! The progress line.

use std::time::{Duration, Instant};

/// The data of the progress line.
#[derive(Clone)]
pub struct Progress {
    started: Instant,
    size: Option<u64>,
    /// The time of the last line, and the number of bytes by then.
    last: (Instant, u64),
}

impl Progress {
    pub fn new(size: Option<u64>) -> Self {
        let started = Instant::now();
        Self {
            started,
            size,
            last: (started, 0),
        }
    }

    /// The line for a number of bytes: bytes, rate, time, and with a known size the percentage
    /// and the time that is left. At most `columns` characters, so that it stays one line.
    pub fn line(&mut self, bytes: u64, columns: usize) -> String {
        let now = Instant::now();
        let (then, before) = self.last;
        self.last = (now, bytes);
        let rate = (bytes - before) as f64 / (now - then).as_secs_f64().max(1e-9);
        self.text(bytes, rate, columns)
    }

    /// The last line, with the exact number of bytes and the rate of all.
    pub fn summary(&self, bytes: u64, columns: usize) -> String {
        let rate = bytes as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let text = self.text(bytes, rate, columns);
        let exact = format!("  ({bytes} bytes)");
        if text.len() + exact.len() <= columns {
            return text + &exact;
        }
        text
    }

    fn text(&self, bytes: u64, rate: f64, columns: usize) -> String {
        let elapsed = self.started.elapsed();
        let mut text = format!(
            "{:>10}  {:>10}/s  {}",
            scaled(bytes as f64),
            scaled(rate),
            clock(elapsed)
        );
        if let Some(size) = self.size {
            let part = bytes as f64 / size.max(1) as f64;
            text += &format!("  {:>3.0} %", (part * 100.0).min(100.0));
            if bytes < size && bytes > 0 {
                let average = bytes as f64 / elapsed.as_secs_f64().max(1e-9);
                let left = (size - bytes) as f64 / average;
                text += &format!("  ETA {}", clock(seconds(left)));
            }
        }
        text.truncate(columns);
        text
    }
}

/// A number of bytes, in powers of 1024.
fn scaled(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut scaled = bytes;
    for (i, unit) in units.iter().enumerate() {
        if scaled < 999.5 || i == units.len() - 1 {
            let digits = match scaled {
                _ if i == 0 => 0,
                scaled if scaled < 9.995 => 2,
                scaled if scaled < 99.95 => 1,
                _ => 0,
            };
            return format!("{scaled:.digits$} {unit}");
        }
        scaled /= 1024.0;
    }
    String::new()
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Hours, minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
