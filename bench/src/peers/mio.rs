//! mio, which is edge-triggered: each event is read until `WouldBlock`. Over
//! epoll(7) or, in the other build, poll(2).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use mio::{Events, Interest, Poll, Token};

use super::{Peer, Result, forced};
use crate::ring::{Ring, RingLoop};

pub const PEER: Peer = Peer {
    name: forced("mio/epoll", "mio/poll").0,
    call: forced("mio/epoll", "mio/poll").1,
    ring: Some(new_ring),
    echo: Some(echo),
};

struct MioRing {
    poll: Poll,
    events: Events,
    sides: Vec<mio::net::UnixStream>,
    ring: Rc<Ring>,
}

fn new_ring(ring: &Rc<Ring>, sides: Vec<UnixStream>) -> Result<Box<dyn RingLoop>> {
    let poll = Poll::new()?;
    let mut sides: Vec<_> = sides
        .into_iter()
        .map(mio::net::UnixStream::from_std)
        .collect();
    for (index, side) in sides.iter_mut().enumerate() {
        poll.registry()
            .register(side, Token(index), Interest::READABLE)?;
    }
    Ok(Box::new(MioRing {
        poll,
        events: Events::with_capacity(256),
        sides,
        ring: Rc::clone(ring),
    }))
}

impl RingLoop for MioRing {
    fn run(&mut self) {
        while !self.ring.is_done() {
            let polled = self.poll.poll(&mut self.events, None);
            polled.expect("nothing is wrong with the descriptors");
            for event in &self.events {
                let index = event.token().0;
                while let Ok(1) = self.sides[index].read(&mut [0; 1]) {
                    self.ring.pass_on(index);
                }
            }
        }
    }
}

const LISTENER: Token = Token(usize::MAX - 1);

fn echo(listener: TcpListener) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = mio::net::TcpListener::from_std(listener);
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Vec<Option<mio::net::TcpStream>> = Vec::new();
    let mut events = Events::with_capacity(256);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let token = Token(connections.len());
                    poll.registry()
                        .register(&mut stream, token, Interest::READABLE)?;
                    connections.push(Some(stream));
                }
            } else if let Some(stream) = &mut connections[event.token().0]
                && !serve(stream)
            {
                connections[event.token().0] = None;
            }
        }
    }
}

/// Returns true if the connection goes on.
fn serve(stream: &mut mio::net::TcpStream) -> bool {
    let mut buf = [0; 8192];
    loop {
        match stream.read(&mut buf) {
            Ok(n) if n > 0 => drop(stream.write(&buf[..n])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            _ => return false,
        }
    }
}
