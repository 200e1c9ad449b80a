//! A file that counts the bytes that are written to it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use fdloop::{FileWrapper, Passage, Transport};

/// A transport over standard output. It counts the bytes that have left the program.
pub struct Counted {
    file: FileWrapper,
    bytes: Rc<Cell<u64>>,
}

impl Counted {
    pub fn new(file: FileWrapper) -> (Self, Rc<Cell<u64>>) {
        let bytes = Rc::new(Cell::new(0));
        let counted = Self {
            file,
            bytes: Rc::clone(&bytes),
        };
        (counted, bytes)
    }

    fn count(&self, sent: io::Result<usize>) -> io::Result<usize> {
        if let Ok(n) = sent {
            self.bytes.set(self.bytes.get() + n as u64);
        }
        sent
    }
}

impl Transport for Counted {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Transport::recv(&mut self.file, buf)
    }

    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = Transport::send(&mut self.file, data);
        self.count(sent)
    }

    fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.file.send_vectored(bufs);
        self.count(sent)
    }

    fn outlives_input(&self) -> bool {
        self.file.outlives_input()
    }

    // Bytes that the kernel moves are counted by the caller of `forward`.
    fn passage(&self) -> Option<Passage> {
        self.file.passage()
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Transport::close(Box::new(self.file))
    }

    fn forget(self: Box<Self>) {
        Transport::forget(Box::new(self.file));
    }
}
