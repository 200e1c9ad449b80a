//! A line on stderr for each URL.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use crate::common::escaped;

/// The lines, which are shown if stderr is a terminal.
pub struct Progress {
    is_shown: bool,
    /// The lines that are on the terminal, above the cursor.
    drawn: usize,
    names: Vec<String>,
    states: Vec<String>,
}

impl Progress {
    pub fn new(names: Vec<String>) -> Self {
        Self {
            is_shown: io::stderr().is_terminal(),
            drawn: 0,
            states: vec![String::new(); names.len()],
            names,
        }
    }

    /// Changes the state of a URL. The next frame shows it.
    pub fn set(&mut self, number: usize, state: &str) {
        if let Some(place) = self.states.get_mut(number) {
            state.clone_into(place);
        }
    }

    /// Draws the lines in the place of the previous ones.
    pub fn show(&mut self) {
        if !self.is_shown {
            return;
        }
        let mut text = self.erasure();
        for (name, state) in self.names.iter().zip(&self.states) {
            let _ = writeln!(text, "{}: {state}", escaped(name.as_bytes()));
        }
        self.drawn = self.names.len();
        // An error means that the terminal has gone.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Erases the lines, so that others can be written.
    pub fn clear(&mut self) {
        let text = self.erasure();
        self.drawn = 0;
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Moves the cursor to the first line, and erases from there.
    fn erasure(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}
