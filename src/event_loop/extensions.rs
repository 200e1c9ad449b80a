//! State of which a loop has one value for each type.

use std::any::{Any, TypeId};

use super::EventLoop;

/// Values of which a loop has one for each type. A program has a handful.
#[derive(Default)]
pub(super) struct Extensions(Vec<(TypeId, Box<dyn Any>)>);

impl Extensions {
    /// Returns the value of a type, which `make` makes if there was none.
    fn value(&mut self, of: TypeId, make: fn() -> Box<dyn Any>) -> &mut dyn Any {
        let found = self.0.iter().position(|(other, _)| *other == of);
        let place = found.unwrap_or_else(|| {
            self.0.push((of, make()));
            self.0.len() - 1
        });
        &mut *self.0[place].1
    }
}

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
        let value = self
            .extensions
            .value(TypeId::of::<T>(), || Box::<T>::default());
        match value.downcast_mut() {
            Some(value) => value,
            // Unreachable: the key belongs to the type.
            None => Box::leak(Box::default()),
        }
    }
}
