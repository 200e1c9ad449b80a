//! Finding the ends of pieces in input that comes in chunks.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use super::pattern::Pattern;
use super::terminator::{Kind, Terminator};

/// Cuts input into pieces at a terminator, whatever the chunks it comes in.
///
/// Each byte is scanned once, and those at a chunk's end once more. The pieces handed
/// out are slices of the chunk. Of input that may be the beginning of a terminator only
/// the length is kept, since its bytes are the terminator's own.
///
/// ```text
///            begin                  all scanned
///  Nothing ────────▶ Scan ────────────────────────▶ Nothing
///                    │  ▲
///  last bytes of the │  │ found_terminator
///  piece handed out  ▼  │ is called
///                    Found
///
///  left by an error or a panic: stays in Scan or Found, and `held` has the rest
/// ```
#[derive(Debug)]
pub(super) struct Scanner {
    terminator: Terminator,
    /// The length of the terminator's beginning that the input ended with so far; less
    /// than all of it. Always 0 if the terminator is not bytes.
    matched: usize,
    /// Input to be scanned before any other: what was matched of a terminator that was
    /// then replaced, or what was left when a scan broke off.
    held: Vec<u8>,
    /// The number of bytes at the end of the current chunk that are not scanned yet; 0
    /// between scans.
    left: usize,
    resume: Resume,
    /// Counts of 0 used up since the last input.
    empty_in_a_row: u32,
}

/// The point at which scanning goes on, now or after an error or a panic broke it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resume {
    /// The next input. (Bytes held back when the terminator is changed are not scanned
    /// for the new one until more input comes, as in asynchat.)
    Nothing,
    /// The rest of the chunk, without waiting for more input.
    Scan,
    /// The call of `found_terminator`, then the rest of the chunk: the last bytes of the
    /// piece were handed out.
    Found,
}

/// Upper bound on counts of 0 in a row without input between them: a handler that keeps
/// setting them would never return to the loop.
pub(super) const MOST_EMPTY: u32 = 1_000;

/// A step of a scan.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Bytes of the piece, at least one. More may follow.
    Collect(Cow<'a, [u8]>),
    /// The last bytes of the piece, at least one.
    Last(Cow<'a, [u8]>),
    /// The end of the piece.
    Found,
    /// The end of a piece, by one count of 0 too many.
    Endless,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            terminator: Terminator::unset(),
            matched: 0,
            held: Vec::new(),
            left: 0,
            resume: Resume::Nothing,
            empty_in_a_row: 0,
        }
    }
}

impl Scanner {
    pub(super) fn terminator(&self) -> &Terminator {
        &self.terminator
    }

    /// Changes the terminator, from the very next byte on.
    pub(super) fn set_terminator(&mut self, terminator: Terminator) {
        // A match that is not complete ends with the chunk, so nothing of that is left.
        self.hold_match();
        self.terminator = terminator;
    }

    /// Returns whether no terminator was ever set, and sets none if so.
    #[inline]
    pub(super) fn take_unset(&mut self) -> bool {
        let unset = matches!(self.terminator.0, Kind::Unset);
        if unset {
            self.terminator = Terminator::none();
        }
        unset
    }

    /// Drops all input that was received and not handed out.
    pub(super) fn discard(&mut self) {
        self.matched = 0;
        self.held = Vec::new();
        self.left = 0;
    }

    /// Begins to scan a chunk of `len` bytes. It begins with the bytes that
    /// [`take_unscanned`](Self::take_unscanned) returned.
    #[inline]
    pub(super) fn begin(&mut self, len: usize) {
        self.left = len;
        if self.resume == Resume::Nothing {
            self.resume = Resume::Scan;
        }
    }

    /// Ends a scan that did not break off. The rest of the chunk is dropped.
    #[inline]
    pub(super) fn end(&mut self) {
        self.left = 0;
        if self.resume == Resume::Scan {
            self.resume = Resume::Nothing;
        }
    }

    /// Keeps the part of `chunk` that is not scanned.
    #[inline]
    pub(super) fn keep_rest(&mut self, chunk: &[u8]) {
        if self.left > 0 {
            // Nothing else is held: a match is replaced at the end of a chunk alone.
            let rest = &chunk[chunk.len() - mem::take(&mut self.left)..];
            self.held.extend_from_slice(rest);
        }
    }

    /// Returns the part of `chunk` that is not scanned.
    pub(super) fn rest_of<'a>(&self, chunk: &'a [u8]) -> &'a [u8] {
        &chunk[chunk.len() - self.left..]
    }

    /// Checks that no input is to be scanned before any other.
    #[inline]
    pub(super) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes the input to be scanned before any other.
    pub(super) fn take_unscanned(&mut self) -> Vec<u8> {
        mem::take(&mut self.held)
    }

    /// Checks whether a scan broke off, or the piece ended while the channel was closing.
    pub(super) fn is_broken_off(&self) -> bool {
        self.resume != Resume::Nothing
    }

    /// Checks whether the piece ends without any more input, by a count of 0.
    #[inline]
    pub(super) fn ends_here(&self) -> bool {
        matches!(self.terminator.0, Kind::Count(0))
    }

    /// Takes the input that was held back since it might have been the beginning of a
    /// terminator.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        self.hold_match();
        self.take_unscanned()
    }

    /// Turns a match that is not complete into input.
    fn hold_match(&mut self) {
        if let Kind::Bytes(pattern) = &self.terminator.0 {
            let matched = mem::take(&mut self.matched);
            self.held.extend_from_slice(&pattern.bytes()[..matched]);
        }
    }

    /// Notes that the last bytes of the piece are being handed out.
    #[inline]
    pub(super) fn set_found(&mut self) {
        self.resume = Resume::Found;
    }

    /// Checks whether all of the piece was handed out, but not its end.
    #[inline]
    pub(super) fn has_found(&self) -> bool {
        self.resume == Resume::Found
    }

    /// Notes that the end of the piece is being handed out.
    #[inline]
    pub(super) fn take_found(&mut self) {
        self.resume = Resume::Scan;
    }

    /// Drops the end of the piece, which was not handed out.
    pub(super) fn end_found(&mut self) {
        self.resume = Resume::Nothing;
    }

    /// Returns the next step in the current chunk, or `None` when all of that is scanned
    /// and the piece does not end without more. The terminator may be changed between any
    /// two steps.
    // Inlined, with `step_in`, into the loop over the steps of a chunk: a chat then takes 508
    // instructions for a line of 64 bytes instead of 535 (callgrind).
    #[inline(always)]
    pub(super) fn step<'a>(&mut self, chunk: &'a [u8]) -> Option<Step<'a>> {
        let mut data = &chunk[chunk.len() - self.left..];
        let step = self.step_in(&mut data);
        self.left = data.len();
        step
    }

    /// Returns the next step in `data`, which is advanced past it.
    #[inline(always)]
    fn step_in<'a>(&mut self, data: &mut &'a [u8]) -> Option<Step<'a>> {
        if data.is_empty() && !self.ends_here() {
            return None;
        }
        let empty_in_a_row = mem::take(&mut self.empty_in_a_row);
        match &self.terminator.0 {
            Kind::None | Kind::Unset => {
                let piece = mem::take(data);
                Some(Step::Collect(Cow::Borrowed(piece)))
            }
            Kind::Count(0) => {
                self.terminator = Terminator::none();
                self.empty_in_a_row = empty_in_a_row.saturating_add(1);
                Some(match empty_in_a_row < MOST_EMPTY {
                    true => Step::Found,
                    false => Step::Endless,
                })
            }
            Kind::Count(count) => {
                let here = usize::try_from(*count).map_or(data.len(), |n| n.min(data.len()));
                let (piece, rest) = data.split_at(here);
                *data = rest;
                // A count is used up by its piece, as in asynchat.
                Some(match count - here as u64 {
                    0 => {
                        self.terminator = Terminator::none();
                        Step::Last(Cow::Borrowed(piece))
                    }
                    left => {
                        self.terminator = Terminator::count(left);
                        Step::Collect(Cow::Borrowed(piece))
                    }
                })
            }
            Kind::Bytes(pattern) if self.matched > 0 => {
                let pattern = Arc::clone(pattern);
                self.step_from_match(&pattern, data)
            }
            // Nothing of the terminator came before `data`.
            Kind::Bytes(pattern) => {
                let Some(at) = pattern.find(data) else {
                    self.matched = pattern.matched_at_end(data);
                    let (piece, _) = data.split_at(data.len() - self.matched);
                    *data = &[];
                    return (!piece.is_empty()).then_some(Step::Collect(Cow::Borrowed(piece)));
                };
                let (piece, rest) = data.split_at(at);
                *data = &rest[pattern.len()..];
                Some(match piece {
                    [] => Step::Found,
                    piece => Step::Last(Cow::Borrowed(piece)),
                })
            }
        }
    }

    /// Returns the next step in `data`, before which the input ended with some of the
    /// terminator.
    fn step_from_match<'a>(&mut self, pattern: &Pattern, data: &mut &'a [u8]) -> Option<Step<'a>> {
        let held = self.matched;
        let mut matched = held;
        let mut used = 0;
        while used < data.len() && matched < pattern.len() {
            matched = pattern.advance(matched, data[used]);
            used += 1;
            // The match lies within `data`, where `memmem` finds it faster.
            if matched <= used {
                break;
            }
        }
        if matched < pattern.len() && matched <= used {
            self.matched = 0;
            let piece = pattern.bytes()[..held].to_vec();
            return Some(Step::Collect(Cow::Owned(piece)));
        }
        // The match began in what was held back; bytes before it belong to the piece.
        let before = (held + used).saturating_sub(matched);
        *data = &data[used..];
        let found = matched == pattern.len();
        self.matched = if found { 0 } else { matched };
        let piece = || Cow::Owned(pattern.bytes()[..before].to_vec());
        match (found, before) {
            // All of `data` is matched.
            (false, 0) => None,
            (false, _) => Some(Step::Collect(piece())),
            (true, 0) => Some(Step::Found),
            (true, _) => Some(Step::Last(piece())),
        }
    }
}

#[cfg(test)]
#[path = "scanner_tests.rs"]
mod tests;
