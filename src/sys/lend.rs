//! A place in which a function finds a value that a caller further up has borrowed.
//!
//! A future is polled without a reference to its loop. While it is polled, a pointer to the loop is
//! in a place that the future knows.

use std::cell::Cell;
use std::ptr::NonNull;

/// A place for a value that is lent, or rather for a pointer to it.
pub(crate) struct Lend<T>(Cell<State<T>>);

enum State<T> {
    /// No value is lent.
    Empty,
    /// A value is lent, and no reference to it is in use.
    Lent(NonNull<T>),
    /// A value is lent, and a function uses it.
    InUse,
}

// Derived, these would ask the same of T.
impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for State<T> {}

/// The reason for which a place refuses a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No value is lent.
    Empty,
    /// The value is in use, or another one is lent already.
    Busy,
}

impl<T> Lend<T> {
    pub(crate) fn new() -> Self {
        Self(Cell::new(State::Empty))
    }

    /// Calls `act`, in which [`reach`](Self::reach) finds `value`. Makes no call if a value is lent
    /// already.
    #[inline]
    pub(crate) fn lend<R>(&self, value: &mut T, act: impl FnOnce() -> R) -> Result<R, Refusal> {
        if self.is_lent() {
            return Err(Refusal::Busy);
        }
        let _end = Restore(&self.0, State::Empty);
        self.0.set(State::Lent(NonNull::from(value)));
        Ok(act())
    }

    /// Calls `act` with the value that is lent. Makes no call if no value is lent, or within
    /// another call of `reach`.
    #[inline]
    pub(crate) fn reach<R>(&self, act: impl FnOnce(&mut T) -> R) -> Result<R, Refusal> {
        let mut value = match self.0.get() {
            State::Lent(value) => value,
            State::Empty => return Err(Refusal::Empty),
            State::InUse => return Err(Refusal::Busy),
        };
        let _end = Restore(&self.0, State::Lent(value));
        self.0.set(State::InUse);
        // SAFETY: the pointer is valid: `lend` made it from a mutable reference, does not use that
        // until its `act` ends, and removes the pointer then, also if `act` panics. So this is a
        // call within `act`; a place is not `Sync`, so no other thread makes one. The reference is
        // the only one: until this call ends, the place is in use, and no other is made.
        let value = unsafe { value.as_mut() };
        Ok(act(value))
    }

    /// Checks whether a value is lent.
    #[inline]
    pub(crate) fn is_lent(&self) -> bool {
        !matches!(self.0.get(), State::Empty)
    }
}

/// The state of a place after a call, which may end by a panic.
struct Restore<'a, T>(&'a Cell<State<T>>, State<T>);

impl<T> Drop for Restore<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn push(place: &Lend<Vec<u8>>, byte: u8) -> Result<(), Refusal> {
        place.reach(|value| value.push(byte))
    }

    #[test]
    fn a_value_is_reached_while_it_is_lent_and_at_no_other_time() {
        let place = Lend::new();
        let mut value = Vec::new();
        assert_eq!(push(&place, 1), Err(Refusal::Empty));
        let lent = place.lend(&mut value, || {
            push(&place, 2).unwrap();
            push(&place, 3).unwrap();
            place.is_lent()
        });
        assert_eq!(lent, Ok(true));
        assert_eq!(push(&place, 4), Err(Refusal::Empty));
        assert!(!place.is_lent());
        assert_eq!(value, [2, 3]);
    }

    #[test]
    fn a_value_in_use_is_not_reached_again_nor_is_another_one_lent() {
        let place = Lend::new();
        let (mut value, mut other) = (Vec::new(), Vec::new());
        let used = place.lend(&mut value, || {
            let refused = place.lend(&mut other, || ());
            assert_eq!(refused, Err(Refusal::Busy));
            place.reach(|value| {
                assert_eq!(push(&place, 1), Err(Refusal::Busy));
                assert_eq!(place.lend(&mut other, || ()), Err(Refusal::Busy));
                value.push(2);
            })?;
            push(&place, 3)
        });
        assert_eq!(used, Ok(Ok(())));
        assert_eq!((value, other), (vec![2, 3], vec![]));
    }

    #[test]
    fn a_panic_ends_the_use_and_the_lending() {
        let place = Lend::new();
        let mut value = Vec::new();
        let lent = catch_unwind(AssertUnwindSafe(|| {
            place.lend(&mut value, || {
                let used = AssertUnwindSafe(|| place.reach(|_| panic!("expected")));
                assert!(catch_unwind(used).is_err());
                push(&place, 1).unwrap();
                panic!("expected");
            })
        }));
        assert!(lent.is_err());
        assert_eq!(push(&place, 2), Err(Refusal::Empty));
        place.lend(&mut value, || push(&place, 3).unwrap()).unwrap();
        assert_eq!(value, [1, 3]);
    }

    #[test]
    fn a_value_may_be_exchanged_while_it_is_lent() {
        let place = Lend::new();
        let mut value = vec![1];
        let mut before = Vec::new();
        place
            .lend(&mut value, || {
                place
                    .reach(|value| before = std::mem::replace(value, vec![2]))
                    .unwrap();
                push(&place, 3).unwrap();
            })
            .unwrap();
        assert_eq!((before, value), (vec![1], vec![2, 3]));
    }
}
