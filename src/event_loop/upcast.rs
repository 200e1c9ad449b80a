//! From a channel of unknown type to [`Any`], and so to the type that an id names.

use std::any::Any;

/// The upcast that the compiler provides for a supertrait `Any` from Rust 1.86 on. Every type
/// has it.
pub trait Upcast: Any {
    /// Borrows the value as an [`Any`].
    fn as_any(&self) -> &dyn Any;

    /// Borrows the value mutably as an [`Any`].
    fn as_any_mut(&mut self) -> &mut dyn Any;

    /// Turns the box into one of an [`Any`].
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Any> Upcast for T {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
