//! popol, over poll(2).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use popol::interest::READ;
use popol::{Sources, Timeout};

use super::{Call, Peer, Result};
use crate::ring::{Ring, RingLoop};

pub const PEER: Peer = Peer {
    name: "popol/poll",
    call: Call::Poll,
    ring: Some(new_ring),
    echo: Some(echo),
};

struct PopolRing {
    sources: Sources<usize>,
    sides: Vec<UnixStream>,
    ring: Rc<Ring>,
}

fn new_ring(ring: &Rc<Ring>, sides: Vec<UnixStream>) -> Result<Box<dyn RingLoop>> {
    let mut sources = Sources::with_capacity(sides.len());
    for (index, side) in sides.iter().enumerate() {
        sources.register(index, side, READ);
    }
    Ok(Box::new(PopolRing {
        sources,
        sides,
        ring: Rc::clone(ring),
    }))
}

impl RingLoop for PopolRing {
    fn run(&mut self) {
        let mut events = Vec::new();
        while !self.ring.is_done() {
            let polled = self.sources.poll(&mut events, Timeout::Never);
            polled.expect("nothing is wrong with the descriptors");
            for event in events.drain(..) {
                if let Ok(1) = self.sides[event.key].read(&mut [0; 1]) {
                    self.ring.pass_on(event.key);
                }
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Listener,
    Connection(usize),
}

fn echo(listener: TcpListener) -> Result<()> {
    let mut sources = Sources::new();
    sources.register(Key::Listener, &listener, READ);
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Vec::new();
    let mut buf = [0; 8192];
    loop {
        sources.poll(&mut events, Timeout::Never)?;
        for event in events.drain(..) {
            let Key::Connection(index) = event.key else {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    sources.register(Key::Connection(connections.len()), &stream, READ);
                    connections.push(Some(stream));
                }
                continue;
            };
            if let Some(stream) = &mut connections[index] {
                match stream.read(&mut buf) {
                    Ok(n) if n > 0 => drop(stream.write(&buf[..n])),
                    _ => {
                        sources.unregister(&event.key);
                        connections[index] = None;
                    }
                }
            }
        }
    }
}
