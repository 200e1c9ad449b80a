//! calloop, level-triggered, over epoll(7).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};

use super::{Call, Peer, Result};
use crate::ring::{Ring, RingLoop};

pub const PEER: Peer = Peer {
    name: "calloop/epoll",
    call: Call::Epoll,
    ring: Some(new_ring),
    echo: Some(echo),
};

struct CalloopRing {
    event_loop: EventLoop<'static, Rc<Ring>>,
    ring: Rc<Ring>,
}

fn new_ring(ring: &Rc<Ring>, sides: Vec<UnixStream>) -> Result<Box<dyn RingLoop>> {
    let event_loop = EventLoop::try_new()?;
    for (index, side) in sides.into_iter().enumerate() {
        let source = Generic::new(side, Interest::READ, Mode::Level);
        event_loop
            .handle()
            .insert_source(source, move |_, side, ring: &mut Rc<Ring>| {
                let mut side: &UnixStream = side;
                if let Ok(1) = side.read(&mut [0; 1]) {
                    ring.pass_on(index);
                }
                Ok(PostAction::Continue)
            })
            .map_err(|error| error.error)?;
    }
    Ok(Box::new(CalloopRing {
        event_loop,
        ring: Rc::clone(ring),
    }))
}

impl RingLoop for CalloopRing {
    fn run(&mut self) {
        while !self.ring.is_done() {
            let dispatched = self.event_loop.dispatch(None, &mut self.ring);
            dispatched.expect("nothing is wrong with the descriptors");
        }
    }
}

fn echo(listener: TcpListener) -> Result<()> {
    type State = LoopHandle<'static, Handle>;
    struct Handle(State);

    let mut event_loop: EventLoop<'static, Handle> = EventLoop::try_new()?;
    let source = Generic::new(listener, Interest::READ, Mode::Level);
    let accept = |_, listener: &mut _, handle: &mut Handle| {
        let listener: &calloop::generic::NoIoDrop<TcpListener> = listener;
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            let source = Generic::new(stream, Interest::READ, Mode::Level);
            let mut buf = [0; 8192];
            let serve = move |_, stream: &mut calloop::generic::NoIoDrop<_>, _: &mut Handle| {
                let mut stream: &std::net::TcpStream = stream;
                match stream.read(&mut buf) {
                    Ok(n) if n > 0 => drop(stream.write(&buf[..n])),
                    _ => return Ok(PostAction::Remove),
                }
                Ok(PostAction::Continue)
            };
            let inserted = handle.0.insert_source(source, serve);
            inserted.map_err(|error| std::io::Error::other(error.to_string()))?;
        }
        Ok(PostAction::Continue)
    };
    let inserted = event_loop.handle().insert_source(source, accept);
    inserted.map_err(|error| error.error)?;
    let mut handle = Handle(event_loop.handle());
    loop {
        event_loop.dispatch(None, &mut handle)?;
    }
}
