//! The state of a chat beside its endpoint and its handler.

use std::mem;

use super::scanner::Scanner;
use super::terminator::Terminator;

/// The default of `AsyncChat::set_in_buffer_size`. asynchat's `ac_in_buffer_size`.
const IN_BUFFER_SIZE: usize = 65536;

/// The default of `AsyncChat::set_limit`. A peer that never sends a terminator costs at
/// most this much memory; asynchat collects without limit.
const LIMIT: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct State {
    pub(super) scanner: Scanner,
    pub(super) in_buffer_size: usize,
    /// The bytes that `ChatIo::collect` gathered.
    pub(super) data: Vec<u8>,
    /// The most bytes that a piece with a terminator of bytes may have.
    pub(super) limit: Option<usize>,
    piece: Piece,
    /// The input has ended, and `handle_eof` was not called yet.
    pub(super) ended: bool,
}

/// The piece that is coming in, measured against the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// The number of its bytes that were scanned.
    Within(usize),
    /// Over the limit: the rest of the piece is dropped, up to its end.
    TooLong,
}

impl Default for State {
    fn default() -> Self {
        Self {
            scanner: Scanner::default(),
            in_buffer_size: IN_BUFFER_SIZE,
            data: Vec::new(),
            limit: Some(LIMIT),
            piece: Piece::Within(0),
            ended: false,
        }
    }
}

impl State {
    /// Counts bytes of the piece. Returns the limit if they exceed it.
    #[inline]
    pub(super) fn count(&mut self, bytes: usize) -> Option<usize> {
        let Piece::Within(before) = self.piece else {
            return None;
        };
        // A piece may be longer than the memory of a 32-bit machine.
        let length = before.saturating_add(bytes);
        self.piece = Piece::Within(length);
        let limit = self.limit?;
        let limited = self.scanner.terminator().as_bytes().is_some();
        if !limited || length <= limit {
            return None;
        }
        self.piece = Piece::TooLong;
        Some(limit)
    }

    #[inline]
    pub(super) fn is_too_long(&self) -> bool {
        self.piece == Piece::TooLong
    }

    /// Changes the terminator. If the new one is of another kind, the piece is counted
    /// anew and no longer too long, unless its end was already found.
    pub(super) fn set_terminator(&mut self, terminator: Terminator) {
        let terminator = terminator.or_none();
        if !terminator.is_like(self.scanner.terminator()) && !self.scanner.has_found() {
            self.drop_too_long();
            self.piece = Piece::Within(0);
        }
        self.scanner.set_terminator(terminator);
    }

    /// Takes the input that was received and did not become a piece.
    pub(super) fn take_input(&mut self) -> Vec<u8> {
        let mut input = mem::take(&mut self.data);
        input.extend(self.scanner.take_held());
        self.restart_piece();
        input
    }

    /// Drops all input that was received, collected or held back.
    pub(super) fn discard(&mut self) {
        self.scanner.discard();
        self.data = Vec::new();
        self.restart_piece();
    }

    /// Counts the piece anew. One that is too long stays so until its end.
    fn restart_piece(&mut self) {
        if let Piece::Within(length) = &mut self.piece {
            *length = 0;
        }
    }

    /// Drops the collected bytes of a piece that is too long: they belong neither to the
    /// next piece nor to a tail.
    pub(super) fn drop_too_long(&mut self) {
        if self.is_too_long() {
            self.data = Vec::new();
        }
    }

    /// Ends the piece. Returns whether it was within the limit.
    #[inline]
    pub(super) fn end_piece(&mut self) -> bool {
        mem::replace(&mut self.piece, Piece::Within(0)) != Piece::TooLong
    }
}
