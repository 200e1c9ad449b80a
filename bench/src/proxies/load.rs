//! The load: both ends of connections through a forwarder.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::peers::Proxy;
use crate::program::{self, Cost, Program};

/// Bytes of a request, and of its reply.
const MESSAGE: usize = 64;

/// The least units of work in a turn. With fewer, work that is done once would count.
const LEAST: u32 = 20;

/// A forwarder, and the listener that it connects to.
pub struct Way {
    pub program: Program,
    port: u16,
    remote: TcpListener,
}

/// Both ends of a connection through a forwarder.
pub struct Pair {
    pub client: TcpStream,
    pub remote: TcpStream,
}

impl Way {
    pub fn start(proxy: Proxy) -> Result<Self, Box<dyn Error>> {
        let remote = TcpListener::bind("127.0.0.1:0")?;
        program::be_patient(&remote);
        let port = program::free_port()?;
        let program = proxy.start(port, remote.local_addr()?.port())?;
        Ok(Self {
            program,
            port,
            remote,
        })
    }

    /// Connects through the forwarder.
    pub fn connect(&mut self) -> Result<Pair, Box<dyn Error>> {
        let client = self.program.connect(self.port)?;
        let (remote, _) = self.remote.accept()?;
        for end in [&client, &remote] {
            end.set_nodelay(true)?;
            program::be_patient(end);
        }
        Ok(Pair { client, remote })
    }

    /// Connects through the forwarder so many times, with a round trip over each connection.
    pub fn connect_idle(&mut self, count: usize) -> Result<Vec<Pair>, Box<dyn Error>> {
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let mut pair = self.connect()?;
            pair.exchange()?;
            pairs.push(pair);
        }
        Ok(pairs)
    }

    /// A connection for one round trip, closed in order from the client's side.
    pub fn connect_shortly(&mut self) -> Result<(), Box<dyn Error>> {
        let mut pair = self.connect()?;
        pair.exchange()?;
        drop(pair.client);
        match pair.remote.read(&mut [0])? {
            0 => Ok(()),
            _ => Err("data that was not sent".into()),
        }
    }
}

impl Pair {
    /// A request and its reply.
    pub fn exchange(&mut self) -> io::Result<()> {
        pass(&mut self.client, &mut self.remote, MESSAGE)?;
        pass(&mut self.remote, &mut self.client, MESSAGE)
    }

    /// A request in two writes, of which the first has arrived before the second is made, and the
    /// reply. A forwarder with Nagle's algorithm keeps the second until the first is acknowledged,
    /// which the other end delays.
    pub fn exchange_in_parts(&mut self) -> io::Result<()> {
        pass(&mut self.client, &mut self.remote, MESSAGE / 2)?;
        self.exchange()
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, length: usize) -> io::Result<()> {
    let mut buffer = [b'.'; MESSAGE];
    let buffer = &mut buffer[..length];
    from.write_all(buffer)?;
    to.read_exact(buffer)
}

/// Does units of work for some time, after some more to warm up.
pub fn repeat<T>(
    state: &mut T,
    time: Duration,
    clock: impl Fn(&T) -> Result<f64, Box<dyn Error>>,
    mut unit: impl FnMut(&mut T) -> Result<(), Box<dyn Error>>,
) -> Result<Cost, Box<dyn Error>> {
    let mut work = |state: &mut T, time, least| {
        let begin = Instant::now();
        let mut count = 0;
        while count < least || begin.elapsed() < time {
            unit(state)?;
            count += 1;
        }
        Ok::<_, Box<dyn Error>>((f64::from(count), begin.elapsed().as_secs_f64()))
    };
    work(state, time / 3, LEAST / 4)?;
    let before = clock(state)?;
    let (count, seconds) = work(state, time, LEAST)?;
    Ok(Cost {
        rate: count / seconds,
        processor: (clock(state)? - before) / count,
    })
}
