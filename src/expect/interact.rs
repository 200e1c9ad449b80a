//! Interaction: the program is left to the user.

use std::io;

use super::Expect;
use super::received::Received;
use crate::dispatcher::{Handler, Io, View};
use crate::error::Result;
use crate::event_loop::{ChannelId, StateId};
use crate::file::FileDispatcher;
use crate::tty::{RawMode, is_tty};

/// The user's keyboard.
struct Keyboard {
    program: ChannelId<FileDispatcher<Received>>,
    escape: Option<u8>,
    /// True once the user has returned to the script.
    done: StateId<bool>,
}

impl Handler for Keyboard {
    fn readable(&self, io: &View<'_>) -> bool {
        let program = io.event_loop().get(self.program);
        program.is_some_and(|program| !program.is_congested())
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4_096, |io, keys| {
            let escape = keys.iter().position(|key| Some(*key) == self.escape);
            let keys = &keys[..escape.unwrap_or(keys.len())];
            if let Some(program) = io.event_loop().get_mut(self.program) {
                program.send(keys)?;
            }
            if escape.is_some() {
                self.end(io);
            }
            Ok(())
        })
    }

    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.end(io);
        io.close();
        Ok(())
    }
}

impl Keyboard {
    fn end(&self, io: &mut Io<'_>) {
        if let Some(done) = io.event_loop().state_mut(self.done) {
            *done = true;
        }
    }
}

/// The user's screen.
pub(super) struct Screen;

impl Handler for Screen {
    fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
        Ok(())
    }
}

impl Expect {
    /// Leaves the program to the user: standard input is typed at the program, and its output goes
    /// to standard output. Returns when the user types `escape` (such as `0x1d`, which is Ctrl-]),
    /// or when standard input or the program ends. Output that was not expected yet is shown first.
    ///
    /// If standard input is a terminal, it is in [raw mode](RawMode) meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`RawMode::new`], of wrapping the standard streams, and of [`EventLoop::turn`].
    ///
    /// [`EventLoop::turn`]: crate::EventLoop::turn
    pub fn interact(&mut self, escape: Option<u8>) -> Result<()> {
        let _raw = match is_tty(io::stdin()) {
            true => Some(RawMode::new(io::stdin())?),
            false => None,
        };
        let done = self.event_loop.keep(false);
        let keyboard = Keyboard {
            program: self.program,
            escape,
            done,
        };
        // Both before the loop has one, which would keep it if the other failed.
        let screen = FileDispatcher::writer(io::stdout(), Screen)?;
        let keyboard = FileDispatcher::reader(io::stdin(), keyboard)?;
        let screen = self.event_loop.add(screen)?;
        let keyboard = self.event_loop.add(keyboard)?;
        let result = self.pass_on(screen, done);
        if let Some(program) = self.event_loop.get_mut(self.program) {
            program.handler_mut().screen = None;
        }
        self.event_loop.take(done);
        self.event_loop.close(keyboard)?;
        self.event_loop.close(screen)?;
        result
    }

    /// Runs the loop until the user returns to the script or the program ends, and everything was
    /// shown.
    fn pass_on(
        &mut self,
        screen: ChannelId<FileDispatcher<Screen>>,
        done: StateId<bool>,
    ) -> Result<()> {
        if let Some(program) = self.event_loop.get_mut(self.program) {
            let received = program.handler_mut();
            received.screen = Some(screen);
            let shown = received.take();
            if let Some(screen) = self.event_loop.get_mut(screen) {
                screen.send_owned(shown)?;
            }
        }
        loop {
            let program = self.event_loop.get(self.program);
            let is_over = self.event_loop.state(done).is_none_or(|done| *done)
                || program.is_none_or(|program| program.handler().has_ended());
            let is_shown = self
                .event_loop
                .get(screen)
                .is_none_or(|screen| screen.pending() == 0);
            if is_over && is_shown || !self.event_loop.contains(screen) {
                return Ok(());
            }
            self.event_loop.turn(None)?;
        }
    }
}
