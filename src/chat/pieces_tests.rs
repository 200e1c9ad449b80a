//! Errors of a chat that only the crate can make, and endless pieces.

use std::cell::RefCell;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::*;
use crate::chat::AsyncChat;
use crate::poller::Backend;

/// Fails at each piece as though its own descriptor was disconnected.
struct Disconnected {
    panics_first: bool,
    heard: Rc<RefCell<Vec<&'static str>>>,
}

impl ChatHandler for Disconnected {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.heard.borrow_mut().push("found");
        assert!(!mem::take(&mut self.panics_first), "the first piece");
        let gone = io::Error::from_raw_os_error(libc::EPIPE);
        Err(Error::system(
            "write",
            io.as_fd().map(|fd| fd.as_raw_fd()),
            gone,
        ))
    }

    fn handle_error(&mut self, _: &mut ChatIo<'_>, _: Error) -> Result<()> {
        self.heard.borrow_mut().push("error");
        Ok(())
    }

    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let is_reason = io.reason().is_some_and(Error::is_disconnected);
        let heard = if is_reason { "disconnected" } else { "close" };
        self.heard.borrow_mut().push(heard);
        Ok(())
    }
}

#[test]
fn an_end_of_the_channels_own_descriptor_ends_it_without_an_error() -> Result<()> {
    for &backend in Backend::ALL {
        for (panics_first, expected) in [
            (false, &["found", "disconnected"][..]),
            (true, &["found", "error", "found", "disconnected"]),
        ] {
            let heard = Rc::default();
            let handler = Disconnected {
                panics_first,
                heard: Rc::clone(&heard),
            };
            let builder = EventLoop::builder().backend(backend).catch_panics(true);
            let mut event_loop = builder.build()?;
            let (ours, mut theirs) = UnixStream::pair()?;
            let mut chat = AsyncChat::new(ours, handler)?;
            chat.set_terminator("\n");
            event_loop.add(chat)?;
            theirs.write_all(b"one\ntwo\nthree\n")?;
            event_loop.run()?;
            assert_eq!(*heard.borrow(), expected, "{backend}");
        }
    }
    Ok(())
}

#[test]
fn a_piece_longer_than_a_number_can_hold_stays_too_long() {
    // In as many chunks as it takes on a 32-bit machine.
    for (limit, chunks) in [
        (5, [6, usize::MAX, 1]),
        (usize::MAX - 1, [2, usize::MAX, 1]),
    ] {
        let mut state = State::default();
        state.set_terminator("\n".into());
        state.limit = Some(limit);
        let exceeded = chunks.map(|bytes| state.count(bytes));
        assert_eq!(exceeded.into_iter().flatten().collect::<Vec<_>>(), [limit]);
        assert!(state.is_too_long());
    }
}
