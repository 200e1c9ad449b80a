//! The contract's rules, for handlers that do anything at any time.
//!
//! Checked after each step: no handler within another, none after the end, `handle_close` once,
//! the bytes of both directions, and the time of each timer.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use crate::SEEDS;
use crate::checked::{Checked, Heard};
use crate::speaker::{Manner, Speaker, arrived, pattern};
use crate::stage::run_checked;
use fdloop::sim::{World, for_seeds};
use fdloop::{
    AnyId, Dispatcher, DispatcherWithSend, Endpoint, Error, EventLoop, Handler, Io, Result, View,
};

const SECOND: Duration = Duration::from_secs(1);

/// The most channels of a run.
const CHANNELS: usize = 6;

/// The observations of a channel.
#[derive(Default)]
struct Facts {
    /// Those of the channel that has the connection now.
    id: Cell<Option<AnyId>>,
    heard: RefCell<Rc<Heard>>,
    /// Bytes that its sends have taken.
    sent: Cell<usize>,
    received: Cell<usize>,
    /// Something was done after which output may be lost.
    lossy: Cell<bool>,
    /// Output was lost in the middle.
    discarded: Cell<bool>,
    /// It was closed by something other than its own end, so that `handle_close` is not called.
    closed: Cell<bool>,
    ended: Cell<bool>,
    deaf: Cell<bool>,
}

/// A channel of a run.
struct Entry {
    buffered: bool,
    facts: Rc<Facts>,
    speaker: Speaker,
}

/// The state that the handlers of a run share.
struct Run {
    world: World,
    entries: RefCell<Vec<Entry>>,
}

impl Facts {
    fn closes(&self) -> u32 {
        self.heard.borrow().closes()
    }

    /// Notes that something else than its own end closes the channel.
    fn close(&self) {
        self.lossy.set(true);
        self.closed.set(true);
        self.heard.borrow().close();
    }
}

impl Run {
    /// Makes a handler of a connection.
    fn handler(self: &Rc<Self>, facts: &Rc<Facts>) -> Checked<Wild> {
        let (handler, heard) = Checked::new(Wild {
            run: Rc::clone(self),
            facts: Rc::clone(facts),
        });
        facts.heard.replace(heard);
        handler
    }

    /// Adds a channel, unless there are enough.
    fn add(self: &Rc<Self>, event_loop: &mut EventLoop) -> Result<()> {
        if self.entries.borrow().len() >= CHANNELS {
            return Ok(());
        }
        let world = &self.world;
        let (stream, peer) = world.pair();
        peer.set_room(world.between(1..=400) as usize);
        peer.set_pieces(1..=world.between(1..=400) as usize);
        let facts = Rc::<Facts>::default();
        let handler = self.handler(&facts);
        let buffered = world.chance(70);
        let id = if buffered {
            event_loop
                .add(DispatcherWithSend::over(stream, handler))?
                .into()
        } else {
            event_loop.add(Dispatcher::over(stream, handler))?.into()
        };
        facts.id.set(Some(id));
        let words = pattern(0..world.between(0..=300) as usize);
        let speaker = Speaker::new(world, peer, words);
        self.entries.borrow_mut().push(Entry {
            buffered,
            facts,
            speaker,
        });
        Ok(())
    }

    /// Does something to a channel from outside.
    fn disturb(&self, event_loop: &mut EventLoop) -> Result<()> {
        let entries = self.entries.borrow();
        let index = self.world.between(0..=entries.len() as u64 - 1) as usize;
        let facts = &entries[index].facts;
        let Some(id) = facts.id.get() else {
            return Ok(());
        };
        let closes = self.world.between(0..=9);
        // From within its own `handle_close` it makes no difference.
        if closes == 0 && event_loop.close(id)? && facts.closes() == 0 {
            facts.close();
        }
        let Some(endpoint) = event_loop.endpoint_mut(id) else {
            return Ok(());
        };
        match closes {
            1 => {
                endpoint.close();
                facts.close();
            }
            2 => endpoint.close_when_done(),
            3 => {
                endpoint.discard_output();
                facts.lossy.set(true);
                facts.discarded.set(true);
            }
            4 => {
                endpoint.fail(Error::other("failed from outside"));
                facts.lossy.set(true);
            }
            _ => send(&self.world, facts, endpoint)?,
        }
        Ok(())
    }

    /// Sets a timer, which must fire when it is due, and then does something to some channel.
    fn set_timer(self: &Rc<Self>, event_loop: &mut EventLoop) {
        let delay = self.world.duration(Duration::ZERO..=2 * SECOND);
        let (due, run) = (event_loop.now() + delay, Rc::clone(self));
        event_loop.call_later(delay, move |event_loop| {
            assert_eq!(event_loop.now(), due, "a timer fires at another time");
            run.disturb(event_loop)
        });
    }
}

/// Sends the next bytes of the pattern.
fn send(world: &World, facts: &Facts, endpoint: &mut Endpoint) -> Result<()> {
    let sent = facts.sent.get();
    let data = pattern(sent..sent + world.between(1..=200) as usize);
    match endpoint.send(&data) {
        Ok(n) => {
            assert!(n <= data.len());
            facts.sent.set(sent + n);
            Ok(())
        }
        // After the end of the output, or of the channel.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::NotConnected) => Ok(()),
        Err(e) => Err(e),
    }
}

/// A handler that does anything.
struct Wild {
    run: Rc<Run>,
    facts: Rc<Facts>,
}

impl Wild {
    /// Puts another channel over the same connection.
    fn replace(&self, io: &mut Io<'_>) -> Result<()> {
        let (run, facts) = (Rc::clone(&self.run), Rc::clone(&self.facts));
        let replaced = io.replace(move |connection, event_loop| {
            let handler = run.handler(&facts);
            let channel = DispatcherWithSend::from_connection(connection, handler);
            facts.id.set(Some(event_loop.add(channel)?.into()));
            Ok(())
        });
        match replaced {
            // It is closing.
            Err(e) if e.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    fn act(&self, io: &mut Io<'_>) -> Result<()> {
        let world = &self.run.world;
        for _ in 0..world.between(0..=2) {
            match world.between(0..=59) {
                0 => {
                    io.close();
                    self.facts.lossy.set(true);
                    self.facts.closed.set(true);
                }
                1 => {
                    io.abort();
                    self.facts.lossy.set(true);
                    self.facts.closed.set(true);
                }
                2..=4 => io.close_when_done(),
                5..=7 => match io.shutdown_when_done() {
                    Err(e) if e.kind() != ErrorKind::NotConnected => return Err(e),
                    _ => {}
                },
                8 => {
                    self.facts.lossy.set(true);
                    io.fail(Error::other("it fails by itself"));
                }
                9 => {
                    self.facts.lossy.set(true);
                    return Err(Error::other("an error of the handler"));
                }
                10 => return Err(ErrorKind::WouldBlock.into_error()),
                11 => io.set_timeout(Some(world.duration(Duration::ZERO..=2 * SECOND))),
                12 => io.set_timeout(None),
                13 => io.set_backpressure(true),
                14 => io.set_watermarks(0, world.between(0..=100) as usize),
                15 => {
                    // A while without reading.
                    self.facts.deaf.set(true);
                    let facts = Rc::clone(&self.facts);
                    let delay = world.duration(Duration::ZERO..=3 * SECOND);
                    io.event_loop().call_later(delay, move |_| {
                        facts.deaf.set(false);
                        Ok(())
                    });
                }
                26 => self.replace(io)?,
                16..=19 => self.run.set_timer(io.event_loop()),
                20..=22 => self.run.add(io.event_loop())?,
                23..=25 => self.run.disturb(io.event_loop())?,
                _ => send(world, &self.facts, io)?,
            }
        }
        Ok(())
    }
}

trait IntoError {
    fn into_error(self) -> Error;
}

impl IntoError for ErrorKind {
    fn into_error(self) -> Error {
        std::io::Error::from(self).into()
    }
}

impl Handler for Wild {
    fn readable(&self, _: &View<'_>) -> bool {
        !self.facts.deaf.get()
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = vec![0; self.run.world.between(1..=100) as usize];
        let n = io.recv(&mut buf)?;
        let received = self.facts.received.get();
        assert_eq!(
            buf[..n],
            pattern(received..received + n),
            "other bytes came in"
        );
        self.facts.received.set(received + n);
        self.act(io)
    }
    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.act(io)
    }
    fn handle_timeout(&mut self, io: &mut Io<'_>) -> Result<()> {
        if self.run.world.chance(50) {
            return self.act(io);
        }
        self.facts.lossy.set(true);
        io.fail(ErrorKind::TimedOut.into_error());
        Ok(())
    }
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.facts.ended.set(true);
        self.act(io)?;
        if self.run.world.chance(70) {
            io.close_after_eof();
        }
        Ok(())
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.run.set_timer(io.event_loop());
        match self.run.world.between(0..=9) {
            0 => Err(Error::other("an error of handle_close")),
            1 => self.run.disturb(io.event_loop()),
            2 => self.run.add(io.event_loop()),
            _ => Ok(()),
        }
    }
}

/// Checks a channel when all is over.
fn check_end(world: &World, entry: &Entry) {
    let facts = &entry.facts;
    assert_eq!(
        facts.closes(),
        u32::from(!facts.closed.get()),
        "handle_close is called once"
    );
    assert_eq!(Rc::strong_count(facts), 1, "a handler was not dropped");
    if facts.ended.get() {
        let arrived = arrived(world, &entry.speaker.peer);
        assert_eq!(
            facts.received.get(),
            arrived,
            "the input ended before its last byte"
        );
    }
    let is_read = matches!(
        entry.speaker.manner,
        Manner::HalfCloses | Manner::FallsSilent
    );
    if is_read && !facts.lossy.get() {
        let received = entry.speaker.peer.received().len();
        assert_eq!(
            received,
            facts.sent.get(),
            "output is lost (buffered: {})",
            entry.buffered
        );
    }
}

#[test]
fn handlers_that_do_anything_at_any_time_keep_the_rules() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let run = Rc::new(Run {
            world: world.clone(),
            entries: RefCell::default(),
        });
        for _ in 0..world.between(1..=3) {
            run.add(&mut event_loop)?;
        }
        let last = Rc::clone(&run);
        event_loop.call_later(600 * SECOND, move |event_loop| {
            for entry in &*last.entries.borrow() {
                if entry
                    .facts
                    .id
                    .get()
                    .is_some_and(|id| event_loop.contains(id))
                {
                    entry.facts.close();
                }
            }
            event_loop.close_all(false)
        });
        run_checked(world, &mut event_loop, |event_loop| {
            for entry in &*run.entries.borrow() {
                let (facts, id) = (&entry.facts, entry.facts.id.get());
                if !facts.discarded.get() {
                    let sent = pattern(0..facts.sent.get());
                    entry.speaker.check_received(&sent);
                }
                let open = id.is_some_and(|id| event_loop.contains(id));
                assert!(!open || facts.closes() == 0);
                assert!(open || facts.closes() == 1 || facts.closed.get());
            }
        })?;
        let entries = run.entries.take();
        entries.iter().for_each(|entry| check_end(world, entry));
        Ok(())
    })
    .unwrap();
}
