//! The least loop with a map of boxed channels, over poll(2): what such a map costs by itself.
//!
//! Each channel leaves the map while it is served, so that its method can reach all others and
//! change the map. The loop has no errors, ends, timers or changes of interest.

use std::collections::HashMap;
use std::ffi::c_int;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::{Call, Peer};
use crate::ring::{Ring, RingLoop};

pub const PEER: Peer = Peer {
    name: "mapped/poll",
    call: Call::Poll,
    ring: Some(|ring, sides| Ok(Box::new(Mapped::new(ring, sides)))),
    echo: None,
};

type Map = HashMap<RawFd, Box<dyn Channel>, BuildHasherDefault<Number>>;

trait Channel {
    fn handle_read(&mut self, channels: &mut Map);
}

/// Takes the place of a channel that is served.
struct Served;

impl Channel for Served {
    fn handle_read(&mut self, _: &mut Map) {}
}

/// Hashes descriptor numbers in one multiplication, as fdloop does.
#[derive(Default)]
struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_i32(&mut self, number: c_int) {
        self.0 = (number as u64).wrapping_mul(1 | 0x9E37_79B9 << 32);
    }
}

struct Link {
    ring: Rc<Ring>,
    index: usize,
    side: UnixStream,
}

impl Channel for Link {
    fn handle_read(&mut self, _: &mut Map) {
        let mut byte = [0_u8; 1];
        // SAFETY: the buffer is one byte long.
        let received = unsafe {
            let buf = byte.as_mut_ptr().cast();
            libc::recv(self.side.as_raw_fd(), buf, 1, 0)
        };
        if received == 1 {
            self.ring.pass_on(self.index);
        }
    }
}

struct Mapped {
    channels: Map,
    table: Vec<libc::pollfd>,
    ring: Rc<Ring>,
}

impl Mapped {
    fn new(ring: &Rc<Ring>, sides: Vec<UnixStream>) -> Self {
        let mut channels = Map::default();
        let mut table = Vec::new();
        for (index, side) in sides.into_iter().enumerate() {
            let fd = side.as_raw_fd();
            let ring = Rc::clone(ring);
            channels.insert(fd, Box::new(Link { ring, index, side }));
            table.push(libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            });
        }
        let ring = Rc::clone(ring);
        Self {
            channels,
            table,
            ring,
        }
    }
}

impl RingLoop for Mapped {
    fn run(&mut self) {
        while !self.ring.is_done() {
            let count = self.table.len() as libc::nfds_t;
            // SAFETY: the table has `count` entries.
            let mut ready = unsafe { libc::poll(self.table.as_mut_ptr(), count, -1) };
            for entry in &self.table {
                if ready <= 0 {
                    break;
                }
                if entry.revents == 0 {
                    continue;
                }
                ready -= 1;
                let Some(place) = self.channels.get_mut(&entry.fd) else {
                    continue;
                };
                let mut channel = mem::replace(place, Box::new(Served));
                channel.handle_read(&mut self.channels);
                if let Some(place) = self.channels.get_mut(&entry.fd) {
                    *place = channel;
                }
            }
        }
    }
}
