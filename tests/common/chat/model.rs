//! A chat beside the simplest way to cut input into pieces, which searches the whole input. Used by
//! a test and by the fuzz target.

use std::cell::RefCell;
use std::io::Write;
use std::mem;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use fdloop::{AsyncChat, ChatHandler, ChatIo, EventLoop, Result, RunOptions, Terminator};

const PATIENCE: Duration = Duration::from_secs(20);

/// The limit of counts of 0 set in a row, without input between them.
const MOST_EMPTY: u32 = 1_000;

/// The input and the terminators of a chat.
#[derive(Debug)]
pub struct Case {
    /// The chunks of the input. Each may have a terminator that is set from outside before the chunk
    /// arrives. No chunk is empty: a chat searches for a new terminator when input arrives.
    pub input: Vec<(Option<Terminator>, Vec<u8>)>,
    /// The terminators that are set in `found_terminator`, one after the other,
    /// from the beginning again after the last. Not empty.
    pub terminators: Vec<Terminator>,
    /// The number of bytes received at once; at least 1.
    pub in_buffer_size: usize,
}

/// The pieces of a chat: the complete ones, and the tail.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Pieces {
    pub complete: Vec<Vec<u8>>,
    pub tail: Vec<u8>,
}

impl Case {
    /// Returns the expected pieces. A chat ends when a count of 0 is set too often without
    /// input in between.
    pub fn expected(&self) -> Pieces {
        let all: Vec<u8> = self.input.iter().flat_map(|(_, d)| d.clone()).collect();
        let mut terminators = self.terminators.iter().cycle();
        let mut terminator = Terminator::none();
        let mut pieces = Pieces::default();
        // The begin of the piece, the begin of what is not searched yet, and the end of the input.
        let (mut begin, mut next, mut arrived) = (0, 0, 0);
        let mut empty_in_a_row = 0;
        for (change, data) in &self.input {
            if let Some(change) = change {
                // All is searched but a possible beginning of the old terminator.
                next = arrived - held_back(&all[next..arrived], &terminator);
                terminator = change.clone();
            } else if let Some(count) = terminator.as_count() {
                terminator = Terminator::count(count - (arrived - next) as u64);
                next = arrived;
            }
            arrived += data.len();
            while let Some((end, after)) = find(&all[next..arrived], &terminator) {
                empty_in_a_row = if after == 0 { empty_in_a_row + 1 } else { 0 };
                if empty_in_a_row > MOST_EMPTY {
                    return pieces;
                }
                pieces.complete.push(all[begin..next + end].to_vec());
                begin = next + after;
                next = begin;
                terminator = terminators.next().cloned().unwrap_or_default();
            }
        }
        pieces.tail = all[begin..].to_vec();
        pieces
    }

    /// Returns the pieces of a chat.
    pub fn heard(&self, event_loop: &mut EventLoop) -> Result<Pieces> {
        let (ours, mut theirs) = UnixStream::pair()?;
        let pieces = Rc::<RefCell<Pieces>>::default();
        let mut chat = AsyncChat::new(
            ours,
            Collector {
                pieces: Rc::clone(&pieces),
                terminators: self.terminators.clone(),
                found: 0,
            },
        )?;
        chat.set_in_buffer_size(self.in_buffer_size);
        let id = event_loop.add(chat)?;
        for (change, data) in &self.input {
            if let (Some(change), Some(chat)) = (change, event_loop.get_mut(id)) {
                chat.set_terminator(change.clone());
            }
            if event_loop.get(id).is_some() {
                theirs.write_all(data)?;
            }
            for _ in 0..data.len().div_ceil(self.in_buffer_size) {
                // Unlike turn, this does not wait for a chat that has ended.
                event_loop.run_with(RunOptions::new().timeout(PATIENCE).count(1))?;
            }
        }
        drop(theirs);
        event_loop.run()?;
        Ok(pieces.take())
    }
}

/// Finds the end of the first piece in `data`, and the begin of the next.
fn find(data: &[u8], terminator: &Terminator) -> Option<(usize, usize)> {
    if let Some(bytes) = terminator.as_bytes() {
        let mut windows = data.windows(bytes.len());
        let at = windows.position(|window| window == bytes)?;
        return Some((at, at + bytes.len()));
    }
    let count = terminator.as_count()? as usize;
    (count <= data.len()).then_some((count, count))
}

/// Returns the number of bytes at the end of `data` that may begin a terminator.
fn held_back(data: &[u8], terminator: &Terminator) -> usize {
    let bytes = terminator.as_bytes().unwrap_or_default();
    let longest = data.len().min(bytes.len().saturating_sub(1));
    let mut lengths = (0..=longest).rev();
    let held = lengths.find(|len| data.ends_with(&bytes[..*len]));
    held.unwrap_or(0)
}

struct Collector {
    pieces: Rc<RefCell<Pieces>>,
    terminators: Vec<Terminator>,
    found: usize,
}

impl ChatHandler for Collector {
    fn collect_incoming_data(&mut self, _: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        self.pieces.borrow_mut().tail.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let mut pieces = self.pieces.borrow_mut();
        let piece = mem::take(&mut pieces.tail);
        pieces.complete.push(piece);
        let next = self.found % self.terminators.len();
        io.set_terminator(self.terminators[next].clone());
        self.found += 1;
        Ok(())
    }
}
