//! polling, level-triggered, over epoll(7) or, in the other build, poll(2).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use polling::{Event, Events, PollMode, Poller};

use super::{Peer, Result, forced};
use crate::ring::{Ring, RingLoop};

pub const PEER: Peer = Peer {
    name: forced("polling/epoll", "polling/poll").0,
    call: forced("polling/epoll", "polling/poll").1,
    ring: Some(new_ring),
    echo: Some(echo),
};

struct PollingRing {
    poller: Poller,
    events: Events,
    sides: Vec<UnixStream>,
    ring: Rc<Ring>,
}

fn new_ring(ring: &Rc<Ring>, sides: Vec<UnixStream>) -> Result<Box<dyn RingLoop>> {
    let poller = Poller::new()?;
    for (index, side) in sides.iter().enumerate() {
        // SAFETY: it is deleted from the poller before it is dropped.
        unsafe { poller.add_with_mode(side, Event::readable(index), PollMode::Level)? };
    }
    Ok(Box::new(PollingRing {
        poller,
        events: Events::with_capacity(NonZeroUsize::new(256).expect("is not 0")),
        sides,
        ring: Rc::clone(ring),
    }))
}

impl RingLoop for PollingRing {
    fn run(&mut self) {
        while !self.ring.is_done() {
            self.events.clear();
            let waited = self.poller.wait(&mut self.events, None);
            waited.expect("nothing is wrong with the descriptors");
            for event in self.events.iter() {
                if let Ok(1) = self.sides[event.key].read(&mut [0; 1]) {
                    self.ring.pass_on(event.key);
                }
            }
        }
    }
}

impl Drop for PollingRing {
    fn drop(&mut self) {
        for side in &self.sides {
            // The poller is about to go, too.
            let _ = self.poller.delete(side);
        }
    }
}

const LISTENER: usize = usize::MAX - 1;

fn echo(listener: TcpListener) -> Result<()> {
    let poller = Poller::new()?;
    // SAFETY: it outlives the poller.
    unsafe { poller.add_with_mode(&listener, Event::readable(LISTENER), PollMode::Level)? };
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Events::with_capacity(NonZeroUsize::new(256).expect("is not 0"));
    let mut buf = [0; 8192];
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            if event.key == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    let event = Event::readable(connections.len());
                    // SAFETY: it is deleted from the poller before it is dropped.
                    unsafe { poller.add_with_mode(&stream, event, PollMode::Level)? };
                    connections.push(Some(stream));
                }
            } else if let Some(stream) = &mut connections[event.key] {
                match stream.read(&mut buf) {
                    Ok(n) if n > 0 => drop(stream.write(&buf[..n])),
                    _ => {
                        poller.delete(&*stream)?;
                        connections[event.key] = None;
                    }
                }
            }
        }
    }
}
