//! Where a piece of input ends.

use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;

use memchr::memmem::Finder;

use crate::error::{Error, Result};

/// What ends a piece of a chat's input. asynchat's terminator.
///
/// Anything that is bytes or text converts to it, and so does a number of bytes, of
/// most types. 0 is not none but a piece of no bytes: see [`Terminator::count`]. A
/// negative number, such as a length that a peer made up, ends the chat when it is set.
///
/// ```
/// use fdloop::Terminator;
///
/// assert_eq!(Terminator::from("\r\n"), Terminator::bytes("\r\n"));
/// assert_eq!(Terminator::from(10), Terminator::count(10));
/// assert_eq!(Terminator::from("a body".len()), Terminator::count(6));
/// assert_eq!(Terminator::from(""), Terminator::none());
/// assert_ne!(Terminator::from(0), Terminator::none());
/// ```
#[derive(Clone, Default)]
pub struct Terminator(pub(super) Kind);

#[derive(Clone, Default)]
pub(super) enum Kind {
    /// Pieces have no end: all input is collected.
    #[default]
    None,
    /// The same, as no terminator was ever set: worth a warning when input arrives.
    Unset,
    /// So many bytes. With 0 left `found_terminator` is due.
    Count(u64),
    /// A count below 0, which no chat takes.
    Negative(i64),
    Bytes(Arc<Pattern>),
}

impl Terminator {
    /// No terminator: all input is collected, in pieces as it comes.
    #[must_use]
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// The piece ends after so many bytes. When a count is used up, the terminator is
    /// none.
    ///
    /// A count of 0 is a complete, empty piece, such as the body of a message with
    /// `Content-Length: 0`: [`found_terminator`](crate::ChatHandler::found_terminator) is
    /// called for it without waiting for input, right after the handler that set it. If
    /// the count was set from outside, the call comes before the loop next waits.
    ///
    /// (asynchat treats 0 as no terminator, so a program that expects a body of length 0
    /// collects the messages after it instead. For no terminator, use
    /// [`Terminator::none`].)
    #[must_use]
    pub fn count(bytes: u64) -> Self {
        Self(Kind::Count(bytes))
    }

    /// The piece ends where these bytes stand, which belong to no piece. Of any
    /// length; empty is none.
    #[must_use]
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        match bytes.as_ref() {
            [] => Self::none(),
            bytes => Self(Kind::Bytes(Arc::new(Pattern::new(bytes)))),
        }
    }

    /// The bytes, of a terminator that is bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Bytes(pattern) => Some(pattern.bytes()),
            _ => None,
        }
    }

    /// How many bytes are still to come, of a terminator that is a count.
    #[must_use]
    pub fn as_count(&self) -> Option<u64> {
        match &self.0 {
            Kind::Count(count) => Some(*count),
            _ => None,
        }
    }
}

impl Terminator {
    /// The terminator of a chat that was not given one.
    pub(super) fn unset() -> Self {
        Self(Kind::Unset)
    }

    /// # Errors
    ///
    /// `InvalidInput` if it is a negative count.
    pub(super) fn check(self) -> Result<Self> {
        let count = match self.0 {
            Kind::Negative(count) => count,
            // A copy of what a chat began with, set on purpose.
            Kind::Unset => return Ok(Self::none()),
            _ => return Ok(self),
        };
        let message = format!(
            "a piece of {count} bytes cannot be: set a count that is not negative, or \
             Terminator::none()"
        );
        Err(Error::misuse(io::ErrorKind::InvalidInput, message))
    }

    /// Whether the other is of the same kind: bytes, a count or none.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        mem::discriminant(&self.0) == mem::discriminant(&other.0)
    }
}

impl PartialEq for Terminator {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::None | Kind::Unset, Kind::None | Kind::Unset) => true,
            (Kind::Count(one), Kind::Count(other)) => one == other,
            (Kind::Negative(one), Kind::Negative(other)) => one == other,
            (Kind::Bytes(one), Kind::Bytes(other)) => one.bytes() == other.bytes(),
            _ => false,
        }
    }
}

impl Eq for Terminator {}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::None | Kind::Unset => f.write_str("none"),
            Kind::Count(count) => write!(f, "{count} bytes"),
            Kind::Negative(count) => write!(f, "{count} bytes"),
            Kind::Bytes(pattern) => write!(f, "\"{}\"", pattern.bytes().escape_ascii()),
        }
    }
}

macro_rules! from_bytes {
    ($($type:ty),+) => {$(
        impl From<$type> for Terminator {
            fn from(bytes: $type) -> Self {
                Self::bytes(bytes)
            }
        }
    )+};
}

from_bytes!(&str, &[u8], String, Vec<u8>, &String, &Vec<u8>);

impl<const N: usize> From<[u8; N]> for Terminator {
    fn from(bytes: [u8; N]) -> Self {
        Self::bytes(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Terminator {
    fn from(bytes: &[u8; N]) -> Self {
        Self::bytes(bytes)
    }
}

// Not of u8: b'\n' would be a count of 10.
macro_rules! from_count {
    ($($type:ty),+) => {$(
        impl From<$type> for Terminator {
            /// A count, of which 0 is not none: see [`Terminator::count`].
            fn from(bytes: $type) -> Self {
                Self::count(bytes as u64)
            }
        }
    )+};
}

from_count!(u16, u32, u64, usize);

// A literal is an i32 unless something says otherwise.
macro_rules! from_signed_count {
    ($($type:ty),+) => {$(
        impl From<$type> for Terminator {
            /// A count, of which 0 is not none: see [`Terminator::count`]. A chat that is
            /// given a negative one ends.
            fn from(bytes: $type) -> Self {
                let negative = || Self(Kind::Negative(bytes as i64));
                u64::try_from(bytes).map_or_else(|_| negative(), Self::count)
            }
        }
    )+};
}

from_signed_count!(i32, i64, isize);

impl<T: Into<Self>> From<Option<T>> for Terminator {
    fn from(terminator: Option<T>) -> Self {
        terminator.map(Into::into).unwrap_or_default()
    }
}

/// Bytes to search for, prepared.
pub(super) struct Pattern {
    finder: Finder<'static>,
    /// For each prefix of the bytes, the length of the longest proper prefix that
    /// it ends with: the failure function of Knuth, Morris and Pratt. Needed only
    /// where a terminator may be cut by the end of what was received.
    fallback: Box<[usize]>,
}

impl Pattern {
    fn new(bytes: &[u8]) -> Self {
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

    /// Where in `data` the pattern first stands.
    #[inline]
    pub(super) fn find(&self, data: &[u8]) -> Option<usize> {
        match *self.bytes() {
            [byte] => memchr::memchr(byte, data),
            _ => self.finder.find(data),
        }
    }

    /// How much of the pattern is matched after `byte`, when `matched` of it,
    /// which is not all, was before.
    pub(super) fn advance(&self, mut matched: usize, byte: u8) -> usize {
        let bytes = self.bytes();
        while matched > 0 && bytes[matched] != byte {
            matched = self.fallback[matched - 1];
        }
        matched + usize::from(bytes[matched] == byte)
    }

    /// How much of the pattern `data`, in which it does not stand, ends with.
    pub(super) fn matched_at_end(&self, data: &[u8]) -> usize {
        let tail = &data[data.len() - data.len().min(self.len() - 1)..];
        tail.iter()
            .fold(0, |matched, byte| self.advance(matched, *byte))
    }
}
