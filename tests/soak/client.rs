//! A client of the echo server: what it sends comes back.

use std::fmt;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use fdloop::{
    AnyId, ChannelId, DispatcherWithSend, Error, EventLoop, Handler, Io, Result, StateId, View,
};

use super::random::{Random, Stream};
use crate::common::PATIENCE;

/// The results of the clients.
#[derive(Debug, Default)]
pub struct Tally {
    /// The clients that there are.
    pub clients: usize,
    pub failures: Vec<String>,
    /// The clients whose descriptors other code can close.
    fair_game: Vec<AnyId>,
    complete: u64,
    reset: u64,
    lost: u64,
    sent: u64,
    received: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} complete, {} reset, {} closed behind the back; {} bytes sent, {} received",
            self.complete, self.reset, self.lost, self.sent, self.received
        )
    }
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Everything is sent, the output ends, and everything comes back.
    Complete,
    /// The client resets the connection in the middle.
    Reset,
    /// Something closes the descriptor.
    BehindTheBack,
}

type Id = ChannelId<DispatcherWithSend<Client>>;

struct Client {
    plan: Plan,
    /// The rest of what it sends.
    left: u64,
    sent: u64,
    received: u64,
    output: Stream,
    expected: Stream,
    random: Random,
    /// The most that it receives at once.
    chunk: usize,
    /// False while it is a slow reader that takes its time.
    reads: bool,
    slow: bool,
    tally: StateId<Tally>,
    ended: bool,
}

/// Adds a client. What it does depends on `seed` alone, but for the time.
pub fn connect(event_loop: &mut EventLoop, tally: StateId<Tally>, address: &str, seed: u64) {
    let mut random = Random::new(seed);
    let plan = match random.below(8) {
        0 => Plan::Reset,
        1 => Plan::BehindTheBack,
        _ => Plan::Complete,
    };
    let most = 1 << random.below(19);
    let size = random.below(most);
    let client = Client {
        plan,
        left: size,
        sent: 0,
        received: 0,
        output: Stream::new(seed),
        expected: Stream::new(seed),
        chunk: 1 << random.below(17),
        reads: true,
        slow: random.one_in(4),
        random,
        tally,
        ended: false,
    };
    let slow = client.slow;
    let id = event_loop
        .add(DispatcherWithSend::connect(address, client).unwrap())
        .unwrap();
    let tally = event_loop.state_mut(tally).unwrap();
    tally.clients += 1;
    if plan == Plan::BehindTheBack {
        tally.fair_game.push(id.into());
    }
    send_soon(event_loop, id);
    if slow {
        pause_soon(event_loop, id);
    }
}

/// Closes the descriptor of a client, and makes passes until the loop has noticed: until then no
/// other code may get its number.
pub fn close_behind_the_back(
    event_loop: &mut EventLoop,
    tally: StateId<Tally>,
    random: &mut Random,
) {
    let fair_game = &mut event_loop.state_mut(tally).unwrap().fair_game;
    if fair_game.is_empty() {
        return;
    }
    let at = random.below(fair_game.len() as u64) as usize;
    let id = fair_game.swap_remove(at);
    let number: RawFd = id.fd();
    nix::unistd::close(number).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while event_loop.contains(id) {
        if Instant::now() > deadline {
            let failure = format!("the loop does not notice that fd {number} was closed");
            return event_loop.state_mut(tally).unwrap().failures.push(failure);
        }
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
}

/// Has the client send some more after a while.
fn send_soon(event_loop: &mut EventLoop, id: Id) {
    let Some(client) = event_loop.get_mut(id) else {
        return;
    };
    let delay = Duration::from_micros(client.handler_mut().random.below(4_000));
    event_loop.call_later(delay, move |event_loop| send(event_loop, id));
}

fn send(event_loop: &mut EventLoop, id: Id) -> Result<()> {
    let Some(channel) = event_loop.get_mut(id) else {
        return Ok(());
    };
    let congested = channel.is_congested();
    let client = channel.handler_mut();
    if client.ended {
        return Ok(());
    }
    if client.plan == Plan::Reset && client.random.one_in(6) {
        client.ended = true;
        let (tally, sent, received) = (client.tally, client.sent, client.received);
        channel.abort();
        let tally = event_loop.state_mut(tally).unwrap();
        tally.reset += 1;
        tally.end(sent, received);
        return Ok(());
    }
    if !congested {
        let most = 1 << client.random.below(17);
        let length = client.left.min(client.random.below(most) + 1);
        let data: Vec<u8> = client.output.by_ref().take(length as usize).collect();
        client.left -= length;
        client.sent += length;
        let ends = client.left == 0 && client.plan == Plan::Complete;
        if client.left == 0 && !ends {
            // It goes on until its end comes.
            client.left = 1 << 20;
        }
        assert_eq!(channel.send(&data)?, data.len());
        if ends {
            return channel.shutdown_when_done();
        }
    }
    send_soon(event_loop, id);
    Ok(())
}

/// Has a slow reader stop reading, or go on, after a while.
fn pause_soon(event_loop: &mut EventLoop, id: Id) {
    let Some(client) = event_loop.get_mut(id) else {
        return;
    };
    let delay = Duration::from_micros(client.handler_mut().random.below(20_000));
    event_loop.call_later(delay, move |event_loop| {
        if let Some(client) = event_loop.get_mut(id) {
            let client = client.handler_mut();
            client.reads = !client.reads;
            pause_soon(event_loop, id);
        }
        Ok(())
    });
}

impl Tally {
    fn end(&mut self, sent: u64, received: u64) {
        self.clients -= 1;
        self.sent += sent;
        self.received += received;
    }
}

impl Client {
    /// Notes the end, for which `ended` says what is wrong.
    fn finish(&mut self, io: &mut Io<'_>, wrong: Option<String>) {
        self.ended = true;
        let Self {
            plan,
            sent,
            received,
            ..
        } = *self;
        let id = io.id();
        let tally = io.event_loop().state_mut(self.tally).unwrap();
        tally.end(sent, received);
        tally.fair_game.retain(|other| *other != id);
        match plan {
            Plan::Complete => tally.complete += 1,
            Plan::Reset => tally.reset += 1,
            Plan::BehindTheBack => tally.lost += 1,
        }
        if let Some(wrong) = wrong {
            let failure = format!("{plan:?}: {wrong}, {sent} bytes sent, {received} received");
            tally.failures.push(failure);
        }
    }
}

impl Handler for Client {
    fn readable(&self, _: &View<'_>) -> bool {
        self.reads
    }

    fn handle_connect(&mut self, _: &mut Io<'_>) -> Result<()> {
        Ok(())
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv_with(self.chunk, |io, data| {
            let right = data.iter().eq(self
                .expected
                .by_ref()
                .take(data.len())
                .collect::<Vec<_>>()
                .iter());
            self.received += data.len() as u64;
            if !right || self.received > self.sent {
                let at = self.received;
                self.finish(io, Some(format!("wrong bytes before {at}")));
                io.close();
            }
            Ok(())
        })
    }

    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.close_when_done();
        Ok(())
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        io.fail(error);
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        let reason = io
            .reason()
            .map(|reason| (reason.raw_os_error(), reason.to_string()));
        let all = self.left == 0 && self.received == self.sent && io.input_ended();
        let wrong = match (self.plan, reason) {
            (Plan::Complete, None) if all => None,
            (Plan::BehindTheBack, Some((Some(libc::EBADF), _))) => None,
            (_, reason) => Some(format!("ended with {reason:?}")),
        };
        self.finish(io, wrong);
        Ok(())
    }
}
