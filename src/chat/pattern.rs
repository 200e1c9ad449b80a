//! The search for the bytes that end a piece.

use memchr::memmem::Finder;

/// The bytes of a terminator, prepared for the search.
pub(super) struct Pattern {
    finder: Finder<'static>,
    /// For each prefix of the bytes, the length of the longest proper prefix that
    /// it ends with: the failure function of Knuth, Morris and Pratt. It serves
    /// terminators that the end of a chunk may have cut.
    fallback: Box<[usize]>,
}

impl Pattern {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut fallback = vec![0; bytes.len()].into_boxed_slice();
        let mut matched = 0;
        for i in 1..bytes.len() {
            while matched > 0 && bytes[i] != bytes[matched] {
                matched = fallback[matched - 1];
            }
            if bytes[i] == bytes[matched] {
                matched += 1;
            }
            fallback[i] = matched;
        }
        Self {
            finder: Finder::new(bytes).into_owned(),
            fallback,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.finder.needle()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Returns the position in `data` where the pattern first occurs.
    #[inline]
    pub(super) fn find(&self, data: &[u8]) -> Option<usize> {
        match *self.bytes() {
            [byte] => memchr::memchr(byte, data),
            _ => self.finder.find(data),
        }
    }

    /// Returns how much of the pattern is matched after `byte`. `matched`, less than all
    /// of it, was matched before.
    pub(super) fn advance(&self, mut matched: usize, byte: u8) -> usize {
        let bytes = self.bytes();
        while matched > 0 && bytes[matched] != byte {
            matched = self.fallback[matched - 1];
        }
        matched + usize::from(bytes[matched] == byte)
    }

    /// Returns how much of the pattern `data` ends with. The pattern does not occur in
    /// `data`.
    pub(super) fn matched_at_end(&self, data: &[u8]) -> usize {
        let tail = &data[data.len() - data.len().min(self.len() - 1)..];
        tail.iter()
            .fold(0, |matched, byte| self.advance(matched, *byte))
    }
}
