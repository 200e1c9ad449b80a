//! The handlers of a server on a stage: each with a peer that speaks, and checked after each step.

use std::rc::Rc;

use fdloop::sim::{End, Step, What, World};
use fdloop::{AnyId, EventLoop, Result};

use crate::checked::Heard;
use crate::speaker::{Manner, Speaker};

/// A connection of a server.
pub struct Connection {
    pub speaker: Speaker,
    /// The handler's calls, and its channel. A coroutine has neither.
    handler: Option<(Rc<Heard>, AnyId)>,
    /// The bytes that the handler must have sent so far, according to the test's model.
    pub due: Vec<u8>,
    /// The channel has failed, which loses output that waits.
    pub has_failed: bool,
    /// The bytes that the peer has received.
    pub got: Vec<u8>,
    /// The traffic of the handler's side.
    pub traffic: Traffic,
}

/// The traffic of a stream, in bytes.
#[derive(Debug, Default)]
pub struct Traffic {
    pub arrived: usize,
    pub received: usize,
    sent: usize,
    /// The end of the input has arrived.
    pub input_ended: bool,
    /// A reset has arrived while the stream was open, which loses output that waits.
    pub was_reset: bool,
    pub output_ended: bool,
    pub closed: bool,
}

impl Traffic {
    fn count(&mut self, what: What) {
        match what {
            What::Arrived(bytes) => self.arrived += bytes,
            What::Received(bytes) => self.received += bytes,
            What::Sent(bytes) => self.sent += bytes,
            What::InputEnded => self.input_ended = true,
            What::Reset => self.was_reset |= !self.closed,
            What::OutputEnded => self.output_ended = true,
            What::Closed => self.closed = true,
            _ => {}
        }
    }
}

impl Connection {
    pub fn new(speaker: Speaker, heard: Rc<Heard>, id: AnyId) -> Self {
        Self {
            handler: Some((heard, id)),
            ..Self::of_coroutine(speaker)
        }
    }

    /// Makes the connection of a coroutine. Its replies may be late: they are required at the end
    /// only, and until then it must have sent nothing else.
    pub fn of_coroutine(speaker: Speaker) -> Self {
        Self {
            speaker,
            handler: None,
            due: Vec::new(),
            has_failed: false,
            got: Vec::new(),
            traffic: Traffic::default(),
        }
    }

    /// Makes due the input that the handler has received.
    pub fn echo(&mut self) {
        let next = self.due.len()..self.traffic.received;
        self.due.extend_from_slice(&self.speaker.words[next]);
    }

    /// Extends the output that is due to the first `length` bytes of `all`.
    pub fn owe(&mut self, all: &[u8], length: usize) {
        if let Some(next) = all.get(self.due.len()..length) {
            self.due.extend_from_slice(next);
        }
    }

    /// Takes what has come to the peer, which must be the next that was due.
    fn receive(&mut self) {
        let begin = self.got.len();
        self.got.append(&mut self.speaker.peer.take_received());
        let due = self.due.get(begin..self.got.len());
        assert!(
            due == Some(&self.got[begin..]),
            "byte {begin} or a later one of {} is not of the {} that were due",
            self.got.len(),
            self.due.len()
        );
    }

    /// Checks what must hold after each step.
    fn check(&mut self, event_loop: &EventLoop) {
        self.receive();
        let traffic = &self.traffic;
        assert!(traffic.received <= traffic.arrived, "received too much");
        assert!(self.got.len() <= traffic.sent, "the peer got too much");
        let Some((heard, id)) = &self.handler else {
            assert!(traffic.sent <= self.due.len(), "more was sent than was due");
            return;
        };
        let open = event_loop.contains(*id);
        let ends = heard.closes() + u32::from(heard.is_closed());
        assert_eq!(ends, u32::from(!open), "handle_close once, at the end");
        assert!(open || traffic.closed, "the connection was not closed");
        // Every byte is with the connection, or waits in the channel.
        let endpoint = event_loop.endpoint(*id);
        self.check_output(endpoint.map_or(0, |endpoint| endpoint.pending()));
    }

    /// Checks that nothing of the output is lost, unless the connection is lost.
    fn check_output(&self, waiting: usize) {
        let (sent, due) = (self.traffic.sent, self.due.len());
        assert!(
            sent + waiting == due || self.may_lose(),
            "output is lost: {sent} bytes were sent, {waiting} wait, and {due} were due"
        );
    }

    fn may_lose(&self) -> bool {
        self.traffic.was_reset || self.has_failed
    }

    pub fn ends_of_input(&self) -> u32 {
        self.handler
            .as_ref()
            .map_or(0, |(heard, _)| heard.ends_of_input())
    }

    /// Checks whether everything that is due was sent.
    pub fn has_sent_all(&self) -> bool {
        self.traffic.sent == self.due.len()
    }

    pub fn timeouts(&self) -> u32 {
        self.handler
            .as_ref()
            .map_or(0, |(heard, _)| heard.timeouts())
    }

    /// Checks what must hold when all is over: a peer that reads to the end has got everything.
    fn check_end(&self) {
        assert!(self.traffic.closed, "the connection was not closed");
        self.check_output(0);
        if self.speaker.reads() && !self.may_lose() {
            assert_eq!(
                self.got.len(),
                self.due.len(),
                "the end of the output is lost"
            );
            assert!(self.speaker.peer.end().is_some(), "the peer sees no end");
        }
    }

    /// Checks that a peer that half-closes was served to the end, and one that falls silent timed
    /// out.
    pub fn check_service(&self) {
        let (speaker, traffic) = (&self.speaker, &self.traffic);
        match speaker.manner {
            Manner::HalfCloses => {
                assert_eq!(
                    traffic.received,
                    speaker.words.len(),
                    "not all was received"
                );
                assert_eq!(speaker.peer.end(), Some(End::InOrder));
                if let Some((heard, _)) = &self.handler {
                    assert_eq!(heard.ends_of_input(), 1);
                }
            }
            Manner::FallsSilent => {
                assert_eq!(
                    traffic.received,
                    speaker.words.len(),
                    "not all was received"
                );
                assert_eq!(speaker.peer.end(), Some(End::InOrder));
                assert!(self.handler.is_none() || self.timeouts() == 1, "no timeout");
            }
            Manner::Closes | Manner::Resets => {}
        }
    }
}

/// Runs a server until all is `done`, and then lets all that is under way arrive. After each step,
/// `model` adds the output that is due to each connection, and all rules are checked.
pub fn play(
    world: &World,
    event_loop: &mut EventLoop,
    connections: &mut [Connection],
    done: impl FnMut(&EventLoop) -> bool,
    mut model: impl FnMut(&mut EventLoop, &mut [Connection]),
) -> Result<()> {
    let mut seen = 0;
    run_until(world, event_loop, done, |event_loop| {
        let steps = world.trace_since(seen);
        seen += steps.len();
        count(connections, &steps);
        model(event_loop, connections);
        for connection in connections.iter_mut() {
            connection.check(event_loop);
        }
    })?;
    connections.iter().for_each(Connection::check_end);
    Ok(())
}

/// Adds steps to the traffic of the streams that they happened to.
fn count(connections: &mut [Connection], steps: &[Step]) {
    for step in steps.iter().filter(|step| !step.at_peer) {
        let same = |it: &&mut Connection| it.speaker.peer.connection() == step.connection;
        if let Some(connection) = connections.iter_mut().find(same) {
            connection.traffic.count(step.what);
        }
    }
}

/// Runs a loop until its channels are closed, calls `check` after each step, and then lets all
/// that is under way arrive.
pub fn run_checked(
    world: &World,
    event_loop: &mut EventLoop,
    check: impl FnMut(&mut EventLoop),
) -> Result<()> {
    run_until(world, event_loop, EventLoop::is_empty, check)
}

/// Runs a loop as [`run_checked`] does, until all is `done`.
fn run_until(
    world: &World,
    event_loop: &mut EventLoop,
    mut done: impl FnMut(&EventLoop) -> bool,
    mut check: impl FnMut(&mut EventLoop),
) -> Result<()> {
    world.run_until(event_loop, |event_loop| {
        check(event_loop);
        done(event_loop)
    })?;
    world.run(event_loop)?;
    check(event_loop);
    Ok(())
}
