//! A transport over a socket that counts the writes.

use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use fdloop::Transport;

/// The counts of a [`Metered`] transport, shared with the test.
#[derive(Debug, Clone, Default)]
pub struct Meter(Rc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    writes: Cell<usize>,
    written: Cell<usize>,
}

impl Meter {
    /// The number of system calls that wrote, or tried to.
    pub fn writes(&self) -> usize {
        self.0.writes.get()
    }

    /// The number of bytes written.
    pub fn written(&self) -> usize {
        self.0.written.get()
    }

    fn count(&self, result: io::Result<usize>) -> io::Result<usize> {
        self.0.writes.set(self.writes() + 1);
        let written = result.as_ref().map_or(0, |n| *n);
        self.0.written.set(self.written() + written);
        result
    }
}

/// See [`Meter`].
#[derive(Debug)]
pub struct Metered {
    stream: UnixStream,
    meter: Meter,
}

impl Metered {
    pub fn new(stream: UnixStream) -> (Self, Meter) {
        stream.set_nonblocking(true).unwrap();
        let meter = Meter::default();
        let transport = Self {
            stream,
            meter: meter.clone(),
        };
        (transport, meter)
    }
}

impl Transport for Metered {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.as_fd())
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }

    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.meter.count(self.stream.write(data))
    }

    fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.meter.count(self.stream.write_vectored(bufs))
    }
}
