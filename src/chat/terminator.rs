//! The end of a piece of input.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::pattern::Pattern;

/// The end of a piece of a chat's input: bytes, a count, or none. asynchat's terminator.
///
/// Bytes and text convert to it, and so does a `usize`, which is a count of bytes. A
/// `u64`, such as a length that a peer has sent, goes through [`Terminator::count`].
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
///
/// A negative count does not compile:
///
/// ```compile_fail
/// fdloop::Terminator::from(-1);
/// ```
#[derive(Clone, Default)]
pub struct Terminator(pub(super) Kind);

#[derive(Clone, Default)]
pub(super) enum Kind {
    /// Pieces do not end: all input is collected.
    #[default]
    None,
    /// As `None`, in a chat whose terminator was never set: input then logs a warning.
    Unset,
    /// Bytes left until the piece ends. At 0, `found_terminator` is due.
    Count(u64),
    Bytes(Arc<Pattern>),
}

impl Terminator {
    /// Returns the terminator that is none: all input is collected as it arrives.
    #[must_use]
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// Returns the terminator that ends one piece after `bytes` bytes. The chat's
    /// terminator is none afterwards.
    ///
    /// A count of 0 is a complete, empty piece, such as the body of a message with
    /// `Content-Length: 0`: [`found_terminator`](crate::ChatHandler::found_terminator) is
    /// called for it without waiting for input, right after the handler that set it. If
    /// the count was set from outside a handler, the call comes before the loop next
    /// waits.
    ///
    /// (asynchat treats 0 as no terminator, so a program that expects a body of length 0
    /// collects the messages after it instead. For no terminator, use
    /// [`Terminator::none`].)
    #[must_use]
    pub fn count(bytes: u64) -> Self {
        Self(Kind::Count(bytes))
    }

    /// Returns the terminator that ends a piece where these bytes occur. They may have
    /// any length and belong to no piece. Empty bytes are [`Terminator::none`].
    #[must_use]
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        match bytes.as_ref() {
            [] => Self::none(),
            bytes => Self(Kind::Bytes(Arc::new(Pattern::new(bytes)))),
        }
    }

    /// Returns the bytes, if the terminator is bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Bytes(pattern) => Some(pattern.bytes()),
            _ => None,
        }
    }

    /// Returns how many bytes are left until the piece ends, if the terminator is a count.
    #[must_use]
    pub fn as_count(&self) -> Option<u64> {
        match &self.0 {
            Kind::Count(count) => Some(*count),
            _ => None,
        }
    }
}

impl Terminator {
    /// Returns the terminator of a chat whose terminator was never set.
    pub(super) fn unset() -> Self {
        Self(Kind::Unset)
    }

    /// Returns the terminator to set: one copied from a chat without any is set on
    /// purpose, and so is none.
    pub(super) fn or_none(self) -> Self {
        match self.0 {
            Kind::Unset => Self::none(),
            _ => self,
        }
    }

    /// Checks whether both are of one kind: bytes, a count or none.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        mem::discriminant(&self.0) == mem::discriminant(&other.0)
    }
}

impl PartialEq for Terminator {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::None | Kind::Unset, Kind::None | Kind::Unset) => true,
            (Kind::Count(one), Kind::Count(other)) => one == other,
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

// The only integer type: with a second one, the compiler takes a literal for an i32 and
// rejects it. A u8 would make b'\n' a count of 10.
impl From<usize> for Terminator {
    /// Converts a count; 0 is not none: see [`Terminator::count`].
    fn from(bytes: usize) -> Self {
        Self::count(bytes as u64)
    }
}

impl<T: Into<Self>> From<Option<T>> for Terminator {
    fn from(terminator: Option<T>) -> Self {
        terminator.map(Into::into).unwrap_or_default()
    }
}
