//! The types that can be pushed.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes or text, owned, shared or borrowed.
///
/// Owned data (`Vec<u8>`, `String`, a box) of 4,096 bytes and more is pushed without
/// copying it. Smaller data is copied into blocks, so that many small pushes are written
/// together. Borrowed and shared data is copied.
pub trait IntoBytes<'a> {
    /// Converts the value into bytes.
    fn into_bytes(self) -> Cow<'a, [u8]>;
}

impl<'a, T: AsRef<[u8]> + ?Sized> IntoBytes<'a> for &'a T {
    fn into_bytes(self) -> Cow<'a, [u8]> {
        Cow::Borrowed(self.as_ref())
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

impl<'a> IntoBytes<'a> for Box<str> {
    fn into_bytes(self) -> Cow<'a, [u8]> {
        Cow::Owned(self.into_boxed_bytes().into())
    }
}

impl<'a, const N: usize> IntoBytes<'a> for [u8; N] {
    fn into_bytes(self) -> Cow<'a, [u8]> {
        Cow::Owned(self.into())
    }
}

macro_rules! shared {
    ($($type:ty),+) => {$(
        impl<'a> IntoBytes<'a> for $type {
            fn into_bytes(self) -> Cow<'a, [u8]> {
                let bytes: &[u8] = (*self).as_ref();
                Cow::Owned(bytes.to_vec())
            }
        }
    )+};
}

shared!(Rc<[u8]>, Arc<[u8]>, Rc<str>, Arc<str>);

impl<'a> IntoBytes<'a> for Cow<'a, [u8]> {
    fn into_bytes(self) -> Self {
        self
    }
}

impl<'a> IntoBytes<'a> for Cow<'a, str> {
    fn into_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Cow::Borrowed(text) => text.into_bytes(),
            Cow::Owned(text) => Cow::Owned(text.into()),
        }
    }
}
