//! fdloop itself.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use fdloop::{
    Address, Backend, Dispatcher, DispatcherWithSend, EventLoop, Handler, Io, Predicates, Socket,
    View,
};

use super::{Call, Peer, Result};
use crate::ring::{Ring, RingLoop};

pub const PEERS: &[Peer] = &[
    Peer {
        name: "fdloop/select",
        call: Call::Select,
        ring: Some(|ring, sides| new_ring(ring, sides, Backend::Select, Predicates::OnChange)),
        echo: Some(|listener| echo(listener, Backend::Select)),
    },
    Peer {
        name: "fdloop/poll",
        call: Call::Poll,
        ring: Some(|ring, sides| new_ring(ring, sides, Backend::Poll, Predicates::OnChange)),
        echo: Some(|listener| echo(listener, Backend::Poll)),
    },
    Peer {
        name: "fdloop/epoll",
        call: Call::Epoll,
        ring: Some(|ring, sides| new_ring(ring, sides, Backend::Epoll, Predicates::OnChange)),
        echo: Some(|listener| echo(listener, Backend::Epoll)),
    },
];

/// Those whose channels are asked in every pass: only to count what that costs.
pub const ASKED: &[Peer] = &[
    Peer {
        name: "fdloop/select/asked",
        call: Call::Select,
        ring: Some(|ring, sides| new_ring(ring, sides, Backend::Select, Predicates::EveryPass)),
        echo: None,
    },
    Peer {
        name: "fdloop/poll/asked",
        call: Call::Poll,
        ring: Some(|ring, sides| new_ring(ring, sides, Backend::Poll, Predicates::EveryPass)),
        echo: None,
    },
];

struct RingHandler {
    ring: Rc<Ring>,
    index: usize,
    predicates: Predicates,
}

impl Handler for RingHandler {
    fn predicates(&self) -> Predicates {
        self.predicates
    }

    fn writable(&self, _: &View<'_>) -> bool {
        false
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> fdloop::Result<()> {
        if io.recv(&mut [0; 1])? == 1 && self.ring.pass_on(self.index) {
            io.event_loop().stop();
        }
        Ok(())
    }
}

struct OwnRing(EventLoop);

fn new_ring(
    ring: &Rc<Ring>,
    sides: Vec<UnixStream>,
    backend: Backend,
    predicates: Predicates,
) -> Result<Box<dyn RingLoop>> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    for (index, side) in sides.into_iter().enumerate() {
        let handler = RingHandler {
            ring: Rc::clone(ring),
            index,
            predicates,
        };
        event_loop.add(Dispatcher::new(side, handler)?)?;
    }
    Ok(Box::new(OwnRing(event_loop)))
}

impl RingLoop for OwnRing {
    fn run(&mut self) {
        self.0.run().expect("no handler returns an error");
    }
}

/// As in the example `echo_server`.
struct Echo;

/// The limit of pending output, in bytes, at which a client is not read.
const LIMIT: usize = 256 * 1024;

impl Handler for Echo {
    fn readable(&self, io: &View<'_>) -> bool {
        io.pending() < LIMIT
    }

    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> fdloop::Result<()> {
        io.recv_with(8192, |io, data| {
            io.send(data)?;
            Ok(())
        })
    }
}

struct Server;

impl Handler for Server {
    fn predicates(&self) -> Predicates {
        Predicates::OnChange
    }

    fn handle_accepted(
        &mut self,
        io: &mut Io<'_>,
        socket: Socket,
        _: Address,
    ) -> fdloop::Result<()> {
        io.event_loop()
            .add(DispatcherWithSend::new(socket, Echo)?)?;
        Ok(())
    }
}

fn echo(listener: TcpListener, backend: Backend) -> Result<()> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.add(Dispatcher::new(listener, Server)?)?;
    Ok(event_loop.run()?)
}
