//! What can be pushed.

use std::borrow::Cow;

/// Bytes or text, owned or borrowed. What is owned is pushed without copying it.
pub trait IntoBytes<'a> {
    /// Turns it into bytes.
    fn into_bytes(self) -> Cow<'a, [u8]>;
}

macro_rules! borrowed {
    ($($type:ty),+) => {$(
        impl<'a> IntoBytes<'a> for $type {
            fn into_bytes(self) -> Cow<'a, [u8]> {
                Cow::Borrowed(self.as_ref())
            }
        }
    )+};
}

borrowed!(&'a [u8], &'a str, &'a String, &'a Vec<u8>);

impl<'a, const N: usize> IntoBytes<'a> for &'a [u8; N] {
    fn into_bytes(self) -> Cow<'a, [u8]> {
        Cow::Borrowed(self)
    }
}

macro_rules! owned {
    ($($type:ty),+) => {$(
        impl<'a> IntoBytes<'a> for $type {
            fn into_bytes(self) -> Cow<'a, [u8]> {
                Cow::Owned(self.into())
            }
        }
    )+};
}

owned!(String, Vec<u8>, Box<[u8]>);

impl<'a> IntoBytes<'a> for Cow<'a, [u8]> {
    fn into_bytes(self) -> Self {
        self
    }
}
