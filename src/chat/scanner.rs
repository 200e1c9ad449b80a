//! Finding the ends of pieces in input that comes in chunks.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use super::terminator::{Kind, Pattern, Terminator};

/// Cuts input into pieces at a terminator, whatever the chunks it comes in.
///
/// Each byte is looked at once, and those about a chunk's end once more. What is
/// handed out are slices of the chunk; of input that may be the beginning of a
/// terminator only the length is kept, since its bytes are the terminator's own.
#[derive(Debug)]
pub(super) struct Scanner {
    terminator: Terminator,
    /// How much of the terminator the input ended with so far; less than all of
    /// it. Always 0 if the terminator is not bytes.
    matched: usize,
    /// What was matched of a terminator that was then changed, or was left when
    /// scanning broke off: input that is still to be scanned, before any other.
    unscanned: Vec<u8>,
    /// Scanning broke off, by the exit error or a panic, and should go on without
    /// waiting for more input.
    interrupted: bool,
    /// The piece that was handed out ends here.
    found: bool,
    /// Counts of 0 used up since the last input.
    empty_in_a_row: u32,
}

/// Upper bound on counts of 0 in a row without input between them: a handler that keeps
/// setting them would never return to the loop.
pub(super) const MOST_EMPTY: u32 = 1_000;

/// What the scanner came upon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Bytes of the piece; not empty, and not all of it perhaps.
    Collect(Cow<'a, [u8]>),
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
            unscanned: Vec::new(),
            interrupted: false,
            found: false,
            empty_in_a_row: 0,
        }
    }
}

impl Scanner {
    pub(super) fn terminator(&self) -> &Terminator {
        &self.terminator
    }

    /// Changes the terminator, for the very next byte.
    pub(super) fn set_terminator(&mut self, terminator: Terminator) {
        if let Kind::Bytes(pattern) = &self.terminator.0 {
            // Matched in what came after anything unscanned before.
            self.unscanned
                .extend_from_slice(&pattern.bytes()[..self.matched]);
        }
        self.matched = 0;
        self.terminator = terminator;
    }

    /// Checks whether no terminator was ever set, and takes it for none from then on.
    #[inline]
    pub(super) fn take_unset(&mut self) -> bool {
        let unset = matches!(self.terminator.0, Kind::Unset);
        if unset {
            self.terminator = Terminator::none();
        }
        unset
    }

    /// Forgets input that was held back.
    pub(super) fn discard(&mut self) {
        self.matched = 0;
        self.unscanned = Vec::new();
    }

    /// Input to be scanned before any other, if there is some.
    pub(super) fn take_unscanned(&mut self) -> Vec<u8> {
        self.interrupted = false;
        mem::take(&mut self.unscanned)
    }

    /// Scanning broke off: puts back what was not scanned.
    pub(super) fn interrupt(&mut self, rest: &[u8]) {
        self.unscanned.splice(..0, rest.iter().copied());
        self.interrupted = true;
    }

    /// Whether scanning broke off and was not taken up again. (What is held back
    /// when the terminator is changed is not scanned for the new one unless more
    /// input comes, as in asynchat.)
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Checks whether the piece ends without any more input, by a count of 0.
    pub(super) fn ends_here(&self) -> bool {
        matches!(self.terminator.0, Kind::Count(0))
    }

    /// At the end of all input: what was held back since it might have been the
    /// beginning of a terminator.
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        let mut held = self.take_unscanned();
        if let Kind::Bytes(pattern) = &self.terminator.0 {
            held.extend_from_slice(&pattern.bytes()[..self.matched]);
        }
        self.matched = 0;
        held
    }

    /// Whether the next step is [`Step::Found`].
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// Takes that step.
    pub(super) fn take_found(&mut self) {
        self.found = false;
    }

    /// The next step in `data`, which is advanced past it; `None` when all of it
    /// is scanned and the piece does not end without more. The terminator may be changed
    /// between any two steps.
    #[inline(always)]
    pub(super) fn step<'a>(&mut self, data: &mut &'a [u8]) -> Option<Step<'a>> {
        if mem::take(&mut self.found) {
            return Some(Step::Found);
        }
        if data.is_empty() && !self.ends_here() {
            return None;
        }
        let empty_in_a_row = mem::take(&mut self.empty_in_a_row);
        match &self.terminator.0 {
            Kind::None | Kind::Unset | Kind::Negative(_) => Some(collect(data, data.len())),
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
                let left = count - here as u64;
                // A count is used up by its piece, as in asynchat.
                self.terminator = match left {
                    0 => Terminator::none(),
                    left => Terminator::count(left),
                };
                self.found = left == 0;
                Some(collect(data, here))
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
                self.found = !piece.is_empty();
                Some(match self.found {
                    true => Step::Collect(Cow::Borrowed(piece)),
                    false => Step::Found,
                })
            }
        }
    }

    /// The input before `data` ended with some of the terminator.
    fn step_from_match<'a>(&mut self, pattern: &Pattern, data: &mut &'a [u8]) -> Option<Step<'a>> {
        let held = self.matched;
        let mut matched = held;
        let mut used = 0;
        while used < data.len() && matched < pattern.len() {
            matched = pattern.advance(matched, data[used]);
            used += 1;
            // What is matched now lies all within `data`, where finding is fast.
            if matched <= used {
                break;
            }
        }
        if matched < pattern.len() && matched <= used {
            self.matched = 0;
            let piece = pattern.bytes()[..held].to_vec();
            return Some(Step::Collect(Cow::Owned(piece)));
        }
        // The match began in what was held; what stood before it is no part of it.
        let before = (held + used).saturating_sub(matched);
        *data = &data[used..];
        if matched == pattern.len() {
            self.matched = 0;
            self.found = true;
        } else {
            self.matched = matched;
        }
        if before > 0 {
            let piece = pattern.bytes()[..before].to_vec();
            return Some(Step::Collect(Cow::Owned(piece)));
        }
        // `data` is empty unless the terminator was found.
        mem::take(&mut self.found).then_some(Step::Found)
    }
}

fn collect<'a>(data: &mut &'a [u8], len: usize) -> Step<'a> {
    let (piece, rest) = data.split_at(len);
    *data = rest;
    Step::Collect(Cow::Borrowed(piece))
}

#[cfg(test)]
#[path = "scanner_tests.rs"]
mod tests;
