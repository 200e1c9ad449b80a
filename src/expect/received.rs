//! The output of a program.

use std::time::Duration;

use super::interact::Screen;
use super::pattern::{Match, Pattern};
use crate::dispatcher::{Handler, Io, View};
use crate::error::{Error, Result};
use crate::event_loop::ChannelId;
use crate::file::FileDispatcher;

/// The number of bytes that messages show.
const TAIL: usize = 200;

/// The handler of the program's terminal.
pub(super) struct Received {
    data: Vec<u8>,
    limit: usize,
    ended: bool,
    /// The user's screen, while the user interacts with the program.
    pub(super) screen: Option<ChannelId<FileDispatcher<Screen>>>,
}

impl Received {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            data: Vec::new(),
            limit,
            ended: false,
            screen: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.data.len() >= self.limit
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.data)
    }

    /// Takes the output up to the end of the first match. The first `searched` bytes are known to
    /// have none.
    pub(super) fn take_match(&mut self, patterns: &[Pattern], searched: usize) -> Option<Match> {
        let found = patterns.iter().enumerate().filter_map(|(index, pattern)| {
            let range = pattern.find(&self.data, searched)?;
            Some((range.start, index, range.end))
        });
        let (start, index, end) = found.min()?;
        let groups = patterns[index].groups(&self.data);
        let rest = self.data.split_off(end);
        let mut before = std::mem::replace(&mut self.data, rest);
        before.truncate(start);
        Some(Match {
            index,
            before,
            groups,
        })
    }

    /// Describes the end of the output, for a message.
    pub(super) fn tail(&self) -> String {
        if self.data.is_empty() {
            return "the output is empty".to_owned();
        }
        let tail = &self.data[self.data.len().saturating_sub(TAIL)..];
        format!("the output ends with \"{}\"", tail.escape_ascii())
    }
}

impl Handler for Received {
    fn readable(&self, io: &View<'_>) -> bool {
        match self.screen {
            Some(screen) => {
                let screen = io.event_loop().get(screen);
                screen.is_some_and(|screen| !screen.is_congested())
            }
            None => !self.is_full(),
        }
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(16_384, |io, data| {
            let screen = self.screen;
            match screen.and_then(|screen| io.event_loop().get_mut(screen)) {
                Some(screen) => screen.send(data).map(drop),
                None => {
                    self.data.extend_from_slice(data);
                    Ok(())
                }
            }
        })
    }

    /// The channel stays, since its output is still to be searched.
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.ended = true;
        // An end that is found before the wait of a pass would be seen only after it.
        io.event_loop().call_later(Duration::ZERO, |_| Ok(()));
        Ok(())
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        io.fail(error);
        Ok(())
    }

    fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
        Ok(())
    }
}
