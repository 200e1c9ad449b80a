//! The world finds bugs: handlers with a bug each, as programs have them.

use std::rc::Rc;

use crate::checked::{Checked, Heard};
use crate::speaker::{Manner, Speaker, pattern};
use crate::stage::{Connection, play, run_checked};
use fdloop::sim::{World, for_seeds};
use fdloop::{Dispatcher, DispatcherWithSend, EventLoop, Handler, Io, Result};

/// Runs `handler` under a peer that half-closes, which must get back what it has sent.
fn echoes(handler: impl Fn() -> DispatcherOf) -> Result<()> {
    for_seeds(1_000, |world| {
        let mut event_loop = world.event_loop();
        let (stream, peer) = world.pair();
        match handler() {
            DispatcherOf::Buffered(handler) => {
                event_loop.add(DispatcherWithSend::over(stream, handler))?;
            }
            DispatcherOf::Direct(handler) => {
                event_loop.add(Dispatcher::over(stream, handler))?;
            }
        }
        let words = pattern(0..world.between(0..=600) as usize);
        let speaker = Speaker::with_manner(world, peer, words, Manner::HalfCloses);
        run_checked(world, &mut event_loop, |_| {})?;
        let (echoed, words) = (speaker.peer.received(), &speaker.words);
        if echoed != *words {
            let message = format!("{} of {} bytes came back", echoed.len(), words.len());
            return Err(message.into());
        }
        Ok(())
    })
}

enum DispatcherOf {
    Buffered(Box<dyn Handler>),
    Direct(Box<dyn Handler>),
}

/// Sends back all it receives, and closes at once at the end: what waits is lost.
struct LosesTheTail;
impl Handler for LosesTheTail {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4096, |io, data| io.send(data).map(drop))
    }
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.close();
        Ok(())
    }
}

/// Assumes that a send without a buffer takes everything.
struct IgnoresShortSends;
impl Handler for IgnoresShortSends {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4096, |io, data| io.send(data).map(drop))
    }
}

/// Assumes that lines arrive whole.
struct ExpectsWholeMessages;
impl Handler for ExpectsWholeMessages {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4096, |io, data| {
            // A message has 600 bytes; a shorter one is said to be wrong.
            if data.len() >= 500 {
                io.send(data)?;
            }
            Ok(())
        })
    }
}

/// A handler without a bug.
struct Right;
impl Handler for Right {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4096, |io, data| io.send(data).map(drop))
    }
}

/// Sends back as many bytes as it receives, and other ones.
struct Wrong;
impl Handler for Wrong {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(4096, |io, data| io.send(&vec![7; data.len()]).map(drop))
    }
}

#[test]
fn a_handler_that_loses_the_tail_at_a_half_close_is_found() {
    let found = echoes(|| DispatcherOf::Buffered(Box::new(LosesTheTail))).unwrap_err();
    assert!(found.to_string().contains("bytes came back"), "{found}");
    assert!(found.to_string().contains("FDLOOP_SIM_SEED="), "{found}");
}

#[test]
fn handlers_that_expect_too_much_of_a_send_or_a_receive_are_found() {
    echoes(|| DispatcherOf::Direct(Box::new(IgnoresShortSends))).unwrap_err();
    echoes(|| DispatcherOf::Buffered(Box::new(ExpectsWholeMessages))).unwrap_err();
}

#[test]
fn a_handler_without_a_bug_is_not() {
    echoes(|| DispatcherOf::Buffered(Box::new(Right))).unwrap();
}

#[test]
fn a_failing_seed_fails_again_with_the_same_steps() {
    let play = |seed| {
        let world = World::with_seed(seed);
        let mut event_loop = world.event_loop();
        let (stream, peer) = world.pair();
        event_loop
            .add(DispatcherWithSend::over(stream, LosesTheTail))
            .unwrap();
        Speaker::with_manner(&world, peer.clone(), pattern(0..300), Manner::HalfCloses);
        run_checked(&world, &mut event_loop, |_| {}).unwrap();
        (peer.received(), world.trace())
    };
    let fails = |seed: &u64| play(*seed).0.len() < 300;
    let seed = (0..1_000).find(fails).unwrap();
    assert_eq!(play(seed), play(seed));
}

/// Calls the methods of a checked handler as a loop with a bug would.
struct Misuse {
    checked: Checked<Right>,
    fault: Fault,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    ClosesTwice,
    ReadsAfterClose,
    EndsTwice,
    ReadsAfterEnd,
    NeverCloses,
}

impl Handler for Misuse {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.checked.handle_read(io)
    }
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.checked.handle_eof(io)?;
        match self.fault {
            Fault::EndsTwice => self.checked.handle_eof(io),
            Fault::ReadsAfterEnd => self.checked.handle_read(io),
            _ => Ok(()),
        }
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        match self.fault {
            Fault::NeverCloses => return Ok(()),
            Fault::ClosesTwice => self.checked.handle_close(io)?,
            Fault::ReadsAfterClose => {
                self.checked.handle_close(io)?;
                return self.checked.handle_read(io);
            }
            Fault::EndsTwice | Fault::ReadsAfterEnd => {}
        }
        self.checked.handle_close(io)
    }
}

/// Plays an echo server on the stage.
fn play_echo<H: Handler + 'static>(make: impl Fn() -> (H, Rc<Heard>)) -> String {
    let played = for_seeds(100, |world| {
        let mut event_loop = world.event_loop();
        let (stream, peer) = world.pair();
        let (handler, heard) = make();
        let id = event_loop.add(DispatcherWithSend::over(stream, handler))?;
        let words = pattern(0..600);
        let speaker = Speaker::with_manner(world, peer, words, Manner::HalfCloses);
        let mut all = [Connection::new(speaker, heard, id.into())];
        play(
            world,
            &mut event_loop,
            &mut all,
            EventLoop::is_empty,
            |_, all| {
                all[0].echo();
            },
        )
    });
    played.unwrap_err().to_string()
}

#[test]
fn the_stage_finds_a_loop_that_breaks_a_rule() {
    let faults = [
        (Fault::ClosesTwice, "handle_close was called after the end"),
        (
            Fault::ReadsAfterClose,
            "handle_read was called after the end",
        ),
        (Fault::EndsTwice, "the input ended twice"),
        (
            Fault::ReadsAfterEnd,
            "handle_read was called after handle_eof",
        ),
        (Fault::NeverCloses, "handle_close once, at the end"),
    ];
    for (fault, message) in faults {
        let found = play_echo(|| {
            let (checked, heard) = Checked::new(Right);
            (Misuse { checked, fault }, heard)
        });
        assert!(found.contains(message), "{fault:?}: {found}");
    }
}

#[test]
fn the_stage_finds_lost_output_and_output_that_was_not_due() {
    let found = play_echo(|| Checked::new(LosesTheTail));
    assert!(found.contains("output is lost"), "{found}");
    let found = play_echo(|| Checked::new(ExpectsWholeMessages));
    assert!(found.contains("output is lost"), "{found}");
    let found = play_echo(|| Checked::new(Wrong));
    assert!(found.contains("is not of the"), "{found}");
}
