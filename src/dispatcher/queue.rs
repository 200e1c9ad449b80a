//! The pending output.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::link::{Link, uninterrupted};
use super::producer::{Producer, Pulled, pull};
use crate::error::{Error, Result};
use crate::sys::fd::MAX_SLICES;

/// Size of a block for small pushes, in bytes. A write takes up to [`MAX_SLICES`] blocks, which
/// is more than a socket buffer usually holds.
const BLOCK: usize = 4096;

/// Default number of bytes taken from a producer before a write. asynchat's
/// `ac_out_buffer_size`.
const PULL: usize = 65536;

/// The pending output of a dispatcher, in the order of sending.
///
/// Small pushes are copied once, into blocks. Large vectors whose ownership is passed are kept
/// without a copy. Nothing moves afterwards: a partial write only advances an offset.
#[derive(Debug)]
pub(super) struct Queue {
    queue: VecDeque<Entry>,
    /// Bytes of the first entry that are already written; 0 unless that entry is `Bytes`.
    written: usize,
    /// Bytes not written yet, over all entries.
    pending: usize,
    /// Bytes to take from a producer before a write.
    pull: usize,
    /// The channel closes after all entries are written.
    closing: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            written: 0,
            pending: 0,
            pull: PULL,
            closing: false,
        }
    }
}

enum Entry {
    /// Never empty.
    Bytes(Vec<u8>),
    Producer(Box<dyn Producer>),
    /// The end of the output (half-close); the input goes on.
    Shutdown,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Producer(_) => f.write_str("a producer"),
            Self::Shutdown => f.write_str("a shutdown"),
        }
    }
}

/// An action that is due once everything before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The output ends, the input goes on.
    Shutdown,
    /// The channel is closed.
    Close,
}

impl Queue {
    /// Returns the number of pending bytes.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// Checks whether nothing is pending: no bytes, producer or mark.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.closing
    }

    /// Checks whether nothing is pending except possibly a close.
    pub(super) fn is_written(&self) -> bool {
        self.queue.is_empty()
    }

    /// Checks whether a close is pending.
    pub(super) fn will_close(&self) -> bool {
        self.closing
    }

    /// Sets the number of bytes to take from a producer before a write; at least 1.
    pub(super) fn set_pull(&mut self, bytes: usize) {
        self.pull = bytes.max(1);
    }

    pub(super) fn pull(&self) -> usize {
        self.pull
    }

    /// Appends a copy of `data`.
    pub(super) fn push(&mut self, mut data: &[u8]) {
        self.pending += data.len();
        if let Some(Entry::Bytes(tail)) = self.queue.back_mut() {
            // Never beyond its capacity: growing would move its content.
            let room = (tail.capacity() - tail.len()).min(data.len());
            tail.extend_from_slice(&data[..room]);
            data = &data[room..];
        }
        if !data.is_empty() {
            let mut block = Vec::with_capacity(data.len().max(BLOCK));
            block.extend_from_slice(data);
            self.queue.push_back(Entry::Bytes(block));
        }
    }

    /// Appends `data` except its first `written` bytes. Copies it only if it is small.
    pub(super) fn push_owned(&mut self, data: Vec<u8>, written: usize) {
        let rest = data.len() - written;
        // Written bytes are counted for the first entry alone.
        if rest < BLOCK || (written > 0 && !self.queue.is_empty()) {
            self.push(&data[written..]);
            return;
        }
        self.pending += rest;
        if self.queue.is_empty() {
            self.written = written;
        }
        self.queue.push_back(Entry::Bytes(data));
    }

    pub(super) fn push_producer(&mut self, producer: Box<dyn Producer>) {
        self.queue.push_back(Entry::Producer(producer));
    }

    pub(super) fn push_shutdown(&mut self) {
        self.queue.push_back(Entry::Shutdown);
    }

    /// Puts back a mark that [`take_mark`](Queue::take_mark) returned.
    pub(super) fn put_back_shutdown(&mut self) {
        self.queue.push_front(Entry::Shutdown);
    }

    /// Closes after all pending output, including later pushes.
    pub(super) fn close_at_end(&mut self) {
        self.closing = true;
    }

    /// Discards everything that is pending.
    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.written = 0;
        self.pending = 0;
        self.closing = false;
    }

    /// Writes once, as much as one vectored write takes. Returns true if no bytes are left
    /// before the next producer, mark or the end. `fd` is for messages.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; else those of the transport or a producer.
    #[inline]
    pub(super) fn write_to(&mut self, link: &mut Link, fd: i32) -> Result<bool> {
        self.pull_from_producer()?;
        let written = match (self.queue.front(), self.queue.get(1)) {
            (Some(Entry::Bytes(_)), Some(Entry::Bytes(_))) => {
                uninterrupted(|| self.write_several(link))
            }
            (Some(Entry::Bytes(only)), _) => uninterrupted(|| link.send(&only[self.written..])),
            (None | Some(Entry::Shutdown | Entry::Producer(_)), _) => return Ok(true),
        };
        let written = written.map_err(|e| Error::system(link.verbs()[1], Some(fd), e))?;
        self.advance(written);
        Ok(!matches!(self.queue.front(), Some(Entry::Bytes(_))))
    }

    /// If a producer is first in the queue, inserts some of its pieces in front of it. If the
    /// producer fails or panics, its earlier pieces are kept and it is dropped.
    fn pull_from_producer(&mut self) -> Result<()> {
        while let Some(Entry::Producer(_)) = self.queue.front() {
            let Some(Entry::Producer(mut producer)) = self.queue.pop_front() else {
                return Ok(());
            };
            let mut pieces = Vec::new();
            let pulled = catch_unwind(AssertUnwindSafe(|| {
                pull(&mut *producer, self.pull, &mut pieces)
            }));
            if let Ok(Ok(Pulled::Enough)) = pulled {
                self.queue.push_front(Entry::Producer(producer));
            }
            for piece in pieces.into_iter().rev() {
                self.pending += piece.len();
                self.queue.push_front(Entry::Bytes(piece));
            }
            pulled.unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok(())
    }

    fn write_several(&self, link: &mut Link) -> std::io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        let mut skip = self.written;
        for (slice, entry) in slices.iter_mut().zip(&self.queue) {
            let Entry::Bytes(bytes) = entry else { break };
            *slice = IoSlice::new(&bytes[skip..]);
            skip = 0;
            count += 1;
        }
        link.send_vectored(&slices[..count])
    }

    fn advance(&mut self, written: usize) {
        let mut left = written;
        self.pending -= left;
        while left > 0 {
            let Some(Entry::Bytes(first)) = self.queue.front() else {
                break;
            };
            let rest = first.len() - self.written;
            if left < rest {
                self.written += left;
                return;
            }
            left -= rest;
            self.written = 0;
            self.queue.pop_front();
        }
        if self.queue.is_empty() {
            // Frees the memory, which an idle connection does not need.
            self.queue = VecDeque::new();
        }
    }

    /// Takes the mark that has been reached, if any.
    pub(super) fn take_mark(&mut self) -> Option<Mark> {
        match self.queue.front() {
            Some(Entry::Shutdown) => {
                self.queue.pop_front();
                Some(Mark::Shutdown)
            }
            None if self.closing => {
                self.closing = false;
                Some(Mark::Close)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::producer::IterProducer;
    use super::*;
    use std::cell::RefCell;
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::rc::Rc;

    /// A transport that takes at most `most` bytes a write, and records them.
    struct Slow {
        most: usize,
        taken: Rc<RefCell<Vec<u8>>>,
        calls: Rc<RefCell<usize>>,
    }

    impl super::super::Transport for Slow {
        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }
        fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn send(&mut self, data: &[u8]) -> io::Result<usize> {
            self.send_vectored(&[IoSlice::new(data)])
        }
        fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            *self.calls.borrow_mut() += 1;
            let mut left = self.most;
            for buf in bufs {
                let n = buf.len().min(left);
                self.taken.borrow_mut().extend_from_slice(&buf[..n]);
                left -= n;
            }
            Ok(self.most - left)
        }
    }

    type Shared<T> = Rc<RefCell<T>>;

    fn slow(most: usize) -> (Link, Shared<Vec<u8>>, Shared<usize>) {
        let (taken, calls) = (Shared::default(), Shared::default());
        let transport = Slow {
            most,
            taken: Rc::clone(&taken),
            calls: Rc::clone(&calls),
        };
        (Link::Other(Box::new(transport)), taken, calls)
    }

    #[test]
    fn every_byte_leaves_once_and_in_order_whatever_the_writes_take() {
        for most in [1, 7, 4_096, 5_000, 1 << 20] {
            let (mut link, taken, _) = slow(most);
            let (mut output, mut expected) = (Queue::default(), Vec::new());
            for i in 0..200_usize {
                let piece = vec![i as u8; i * 37 % 9_000 + 1];
                expected.extend_from_slice(&piece);
                if i % 2 == 0 {
                    output.push(&piece);
                } else {
                    output.push_owned(piece, 0);
                }
                output.write_to(&mut link, 3).unwrap();
            }
            while !output.is_empty() {
                let (before, sent) = (output.pending(), taken.borrow().len());
                output.write_to(&mut link, 3).unwrap();
                let written = taken.borrow().len() - sent;
                assert!(written > 0);
                assert_eq!(output.pending(), before - written);
            }
            assert_eq!(output.pending(), 0);
            assert!(*taken.borrow() == expected, "most = {most}");
        }
    }

    #[test]
    fn a_thousand_small_pushes_leave_in_one_write() {
        let (mut link, taken, calls) = slow(usize::MAX);
        let mut output = Queue::default();
        for _ in 0..1_000 {
            output.push(&[b'x'; 64]);
        }
        output.write_to(&mut link, 3).unwrap();
        assert_eq!((taken.borrow().len(), *calls.borrow()), (64_000, 1));
        assert!(output.is_empty());
    }

    #[test]
    fn a_partial_write_moves_no_byte() {
        let (mut link, _, _) = slow(10);
        let mut output = Queue::default();
        let data = vec![7; 100_000];
        let place = data.as_ptr();
        output.push_owned(data, 0);
        output.write_to(&mut link, 3).unwrap();
        let Some(Entry::Bytes(first)) = output.queue.front() else {
            panic!("the entry is gone");
        };
        assert_eq!(first.as_ptr(), place);
        assert_eq!(output.pending(), 99_990);
    }

    #[test]
    fn a_producer_is_pulled_only_as_far_ahead_as_allowed() {
        let (mut link, taken, _) = slow(100);
        let mut output = Queue::default();
        output.set_pull(1_000);
        output.push(b"before ");
        let pieces = (0..50_u8).map(|i| vec![i; 300]);
        output.push_producer(Box::new(IterProducer::new(pieces)));
        output.push(b" after");
        while !output.is_empty() {
            output.write_to(&mut link, 3).unwrap();
            assert!(output.pending() <= 1_300 + 6, "{}", output.pending());
        }
        let middle = (0..50_u8).flat_map(|i| vec![i; 300]);
        let expected: Vec<u8> = b"before ".iter().copied().chain(middle).collect();
        assert_eq!(*taken.borrow(), [&expected[..], b" after"].concat());
    }

    #[test]
    fn a_mark_is_reached_only_behind_what_came_before_it() {
        let (mut link, taken, _) = slow(2);
        let mut output = Queue::default();
        output.push(b"abc");
        output.push_shutdown();
        output.close_at_end();
        output.push(b"de");
        assert_eq!(output.take_mark(), None);
        output.write_to(&mut link, 3).unwrap();
        assert_eq!(output.take_mark(), None);
        output.write_to(&mut link, 3).unwrap();
        assert_eq!(output.take_mark(), Some(Mark::Shutdown));
        assert_eq!(*taken.borrow(), b"abc");
        assert_eq!(output.take_mark(), None);
        output.write_to(&mut link, 3).unwrap();
        assert_eq!(output.take_mark(), Some(Mark::Close));
        assert_eq!(*taken.borrow(), b"abcde");
        assert!(output.is_empty());
    }
}
