//! State of which a loop has one value for each type.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use super::EventLoop;

/// Values of which a loop has one for each type. A program has a handful.
#[derive(Default)]
pub(super) struct Extensions(HashMap<TypeId, Box<dyn Any>>);

impl EventLoop {
    /// Returns the loop's only value of type `T`, which the first call makes: for a library over
    /// the loop that keeps its own state there, such as a table of the signals that the program
    /// follows. If the type is private, only its module reaches the value.
    ///
    /// The loop drops it after its channels.
    ///
    /// ```
    /// use fdloop::EventLoop;
    ///
    /// #[derive(Default)]
    /// struct Count(u64);
    ///
    /// fn count(event_loop: &mut EventLoop) -> u64 {
    ///     let count = event_loop.extension::<Count>();
    ///     count.0 += 1;
    ///     count.0
    /// }
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// assert_eq!(count(&mut event_loop), 1);
    /// assert_eq!(count(&mut event_loop), 2);
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn extension<T: Default + 'static>(&mut self) -> &mut T {
        let kept = self.extensions.0.entry(TypeId::of::<T>());
        let value = kept.or_insert_with(|| Box::new(T::default()));
        match value.downcast_mut() {
            Some(value) => value,
            // Unreachable: the key belongs to the type.
            None => Box::leak(Box::default()),
        }
    }
}
