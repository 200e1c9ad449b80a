//! A place for a function that is called once, without an allocation if the function is small.
//!
//! A box for each timer makes the allocator the largest part of its cost: of a million timers
//! that are cancelled in no order, no two boxes share a cache line. A function is written to its
//! place and dropped there: to move a value right after it was written, in pieces of another size,
//! makes the processor wait.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};

/// The space for the values that a function holds: enough for two ids of channels.
type Space = [usize; 4];

/// A place for a function from `&mut A` and `B` to `R`, whose type is erased. Empty at first.
// The table is first, and so shares a cache line with the fields before this place.
#[repr(C)]
pub(crate) struct Stored<A: 'static, B: 'static, R: 'static> {
    /// `None` if the place is empty. Otherwise the space has a value of the type for which the table
    /// was made.
    table: Option<&'static Table<A, B, R>>,
    space: MaybeUninit<Space>,
    /// Not `Send`: the function may hold values that stay in one thread.
    owns: PhantomData<Boxed<A, B, R>>,
}

type Boxed<A, B, R> = Box<dyn FnOnce(&mut A, B) -> R>;

/// The operations of the type of a function.
struct Table<A, B, R> {
    /// Takes the function out of the space, and calls it.
    call: unsafe fn(*const Space, &mut A, B) -> R,
    /// Drops the function in the space.
    drop: unsafe fn(*mut Space),
}

impl<A, B, R> Default for Stored<A, B, R> {
    #[inline]
    fn default() -> Self {
        Self {
            table: None,
            space: MaybeUninit::uninit(),
            owns: PhantomData,
        }
    }
}

impl<A, B, R> Stored<A, B, R> {
    /// Puts a function into the place. An earlier one is dropped.
    #[inline]
    pub(crate) fn fill<F: FnOnce(&mut A, B) -> R + 'static>(&mut self, function: F) {
        self.clear();
        if const { fits::<F>() } {
            // SAFETY: it fits, and the place is empty.
            return unsafe { self.store(function) };
        }
        // A box is a function, too.
        let function: Boxed<A, B, R> = Box::new(function);
        const { assert!(fits::<Boxed<A, B, R>>()) };
        // SAFETY: it fits, as the compiler has checked, and the place is empty.
        unsafe { self.store(function) }
    }

    /// # Safety
    ///
    /// An `F` [`fits`].
    #[inline]
    unsafe fn store<F: FnOnce(&mut A, B) -> R + 'static>(&mut self, function: F) {
        // SAFETY: the caller vouches that the space is as large as an `F`, and aligned for one.
        unsafe { self.space.as_mut_ptr().cast::<F>().write(function) };
        self.table = Some(
            const {
                &Table {
                    call: call::<F, A, B, R>,
                    drop: drop_in::<F>,
                }
            },
        );
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_none()
    }

    /// Moves the function to another place.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self {
            table: self.table.take(),
            space: self.space,
            owns: PhantomData,
        }
    }

    /// Calls the function. Returns `None` if the place is empty.
    #[inline]
    pub(crate) fn call(self, argument: &mut A, other: B) -> Option<R> {
        let this = ManuallyDrop::new(self);
        let table = this.table?;
        // SAFETY: the space has a function of the table's type. It is taken out here, and `self`
        // is neither used nor dropped afterwards.
        Some(unsafe { (table.call)(this.space.as_ptr(), argument, other) })
    }

    /// Drops the function.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if let Some(table) = self.table.take() {
            // SAFETY: the space has a function of the table's type. It is dropped once, even if that
            // panics, since the place is empty now.
            unsafe { (table.drop)(self.space.as_mut_ptr()) };
        }
    }
}

impl<A, B, R> Drop for Stored<A, B, R> {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

/// Checks whether a space has room for an `F`.
const fn fits<F>() -> bool {
    size_of::<F>() <= size_of::<Space>() && align_of::<F>() <= align_of::<Space>()
}

/// # Safety
///
/// `space` has an `F`, which is not used afterwards.
unsafe fn call<F: FnOnce(&mut A, B) -> R, A, B, R>(
    space: *const Space,
    argument: &mut A,
    other: B,
) -> R {
    // SAFETY: the caller vouches that the space has an `F`, which no other code takes.
    let function = unsafe { space.cast::<F>().read() };
    function(argument, other)
}

/// # Safety
///
/// `space` has an `F`, which is not used afterwards.
unsafe fn drop_in<F>(space: *mut Space) {
    // SAFETY: the caller vouches that the space has an `F`, which no other code drops.
    unsafe { space.cast::<F>().drop_in_place() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    type Function = Stored<u64, u64, u64>;

    fn stored(function: impl FnOnce(&mut u64, u64) -> u64 + 'static) -> Function {
        let mut stored = Function::default();
        stored.fill(function);
        stored
    }

    /// Functions that hold a counted value and nothing, something small, something large,
    /// something that is aligned in a way of its own, and nothing again.
    fn functions(token: &Rc<()>) -> Vec<Function> {
        #[repr(align(64))]
        struct Aligned(u64);
        let tokens: Vec<_> = (0..5).map(|_| Rc::clone(token)).collect();
        let [a, b, c, d, e] = <[Rc<()>; 5]>::try_from(tokens).unwrap();
        let (small, large, aligned) = ([1_u64; 2], [1_u64; 40], Aligned(7));
        vec![
            stored(move |argument, _| {
                drop(a);
                *argument
            }),
            stored(move |argument, _| {
                drop(b);
                *argument + small.iter().sum::<u64>()
            }),
            stored(move |argument, _| {
                drop(c);
                *argument + large.iter().sum::<u64>()
            }),
            stored(move |argument, _| {
                let aligned = &aligned;
                assert_eq!(std::ptr::from_ref(aligned).addr() % 64, 0);
                drop(d);
                *argument + aligned.0
            }),
            stored(move |argument, other| {
                drop(e);
                *argument += other;
                *argument
            }),
        ]
    }

    #[test]
    fn a_function_is_called_with_what_it_holds_and_drops_that_once() {
        let token = Rc::new(());
        let mut argument = 100;
        let called = functions(&token)
            .into_iter()
            .map(|it| it.call(&mut argument, 1));
        let expected = [100, 102, 140, 107, 101].map(Some);
        assert_eq!(called.collect::<Vec<_>>(), expected);
        assert_eq!((argument, Rc::strong_count(&token)), (101, 1));
    }

    #[test]
    fn a_function_that_is_not_called_drops_what_it_holds() {
        let token = Rc::new(());
        let mut functions = functions(&token);
        assert_eq!(Rc::strong_count(&token), 6);
        functions[0].clear();
        functions[1].fill(|_, _| 0);
        assert_eq!(Rc::strong_count(&token), 4);
        drop(functions);
        assert_eq!(Rc::strong_count(&token), 1);
    }

    #[test]
    fn a_function_that_was_taken_is_in_its_new_place_alone() {
        let token = Rc::new(());
        for mut function in functions(&token) {
            let moved = function.take();
            assert_eq!(function.call(&mut 0, 1), None);
            assert!(moved.call(&mut 0, 1).is_some());
        }
        assert_eq!(Rc::strong_count(&token), 1);
    }

    #[test]
    fn a_function_that_panics_drops_what_it_holds_once() {
        let token = Rc::new(());
        let held = Rc::clone(&token);
        let reached = Rc::new(Cell::new(false));
        let sees = Rc::clone(&reached);
        let function = stored(move |_, _| {
            let _held = held;
            sees.set(true);
            panic!("expected");
        });
        let called = catch_unwind(AssertUnwindSafe(|| function.call(&mut 0, 0)));
        assert!(called.is_err() && reached.get());
        assert_eq!(Rc::strong_count(&token), 1);
    }

    #[test]
    fn a_place_is_empty_after_a_function_that_panicked_when_it_was_dropped() {
        struct Panics {
            _token: Rc<()>,
        }
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("expected");
            }
        }
        let token = Rc::new(());
        let panics = Panics {
            _token: Rc::clone(&token),
        };
        let mut function = stored(move |_, _| {
            let _panics = &panics;
            0
        });
        assert!(catch_unwind(AssertUnwindSafe(|| function.clear())).is_err());
        assert_eq!(Rc::strong_count(&token), 1);
        assert_eq!(function.call(&mut 0, 0), None);
    }
}
