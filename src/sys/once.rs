//! A function that is called once, stored without an allocation if it is small.
//!
//! A box for each timer makes the allocator the largest part of its cost: of a million timers
//! that are cancelled in no order, no two boxes share a cache line.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};

/// The space for the values that a function holds: enough for two ids of channels.
type Space = [usize; 4];

/// A function from `&mut A` to `R`, whose type is erased.
pub(crate) struct Once<A: 'static, R: 'static> {
    table: &'static Table<A, R>,
    /// Has a value of the type for which `table` was made, until this is called or dropped.
    space: MaybeUninit<Space>,
    /// Not `Send`: the function may hold values that stay in one thread.
    owns: PhantomData<Boxed<A, R>>,
}

type Boxed<A, R> = Box<dyn FnOnce(&mut A) -> R>;

/// The operations of the type of a function.
struct Table<A, R> {
    /// Takes the function out of the space, and calls it.
    call: unsafe fn(*const Space, &mut A) -> R,
    /// Drops the function in the space.
    drop: unsafe fn(*mut Space),
}

impl<A, R> Once<A, R> {
    #[inline]
    pub(crate) fn new<F: FnOnce(&mut A) -> R + 'static>(function: F) -> Self {
        if const { fits::<F>() } {
            // SAFETY: it fits.
            return unsafe { Self::stored(function) };
        }
        // A box is a function, too.
        let function: Boxed<A, R> = Box::new(function);
        const { assert!(fits::<Boxed<A, R>>()) };
        // SAFETY: it fits, as the compiler has checked.
        unsafe { Self::stored(function) }
    }

    /// # Safety
    ///
    /// An `F` [`fits`].
    #[inline]
    unsafe fn stored<F: FnOnce(&mut A) -> R + 'static>(function: F) -> Self {
        let mut space = MaybeUninit::<Space>::uninit();
        // SAFETY: the caller vouches that the space is as large as an `F`, and aligned for one.
        unsafe { space.as_mut_ptr().cast::<F>().write(function) };
        Self {
            table: const {
                &Table {
                    call: call::<F, A, R>,
                    drop: drop_in::<F>,
                }
            },
            space,
            owns: PhantomData,
        }
    }

    /// Calls the function.
    #[inline]
    pub(crate) fn call(self, argument: &mut A) -> R {
        let this = ManuallyDrop::new(self);
        // SAFETY: the space has a function of the table's type. It is taken out here, and `self`
        // is neither used nor dropped afterwards.
        unsafe { (this.table.call)(this.space.as_ptr(), argument) }
    }
}

impl<A, R> Drop for Once<A, R> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the space has a function of the table's type: `call` does not drop `self`.
        unsafe { (self.table.drop)(self.space.as_mut_ptr()) };
    }
}

/// Checks whether a space has room for an `F`.
const fn fits<F>() -> bool {
    size_of::<F>() <= size_of::<Space>() && align_of::<F>() <= align_of::<Space>()
}

/// # Safety
///
/// `space` has an `F`, which is not used afterwards.
unsafe fn call<F: FnOnce(&mut A) -> R, A, R>(space: *const Space, argument: &mut A) -> R {
    // SAFETY: the caller vouches that the space has an `F`, which no other code takes.
    let function = unsafe { space.cast::<F>().read() };
    function(argument)
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

    /// Functions that hold a counted value and nothing, something small, something large,
    /// something that is aligned in a way of its own, and nothing again.
    fn functions(token: &Rc<()>) -> Vec<Once<u64, u64>> {
        #[repr(align(64))]
        struct Aligned(u64);
        let tokens: Vec<_> = (0..5).map(|_| Rc::clone(token)).collect();
        let [a, b, c, d, e] = <[Rc<()>; 5]>::try_from(tokens).unwrap();
        let (small, large, aligned) = ([1_u64; 2], [1_u64; 40], Aligned(7));
        vec![
            Once::new(move |argument: &mut u64| {
                drop(a);
                *argument
            }),
            Once::new(move |argument: &mut u64| {
                drop(b);
                *argument + small.iter().sum::<u64>()
            }),
            Once::new(move |argument: &mut u64| {
                drop(c);
                *argument + large.iter().sum::<u64>()
            }),
            Once::new(move |argument: &mut u64| {
                let aligned = &aligned;
                assert_eq!(std::ptr::from_ref(aligned).addr() % 64, 0);
                drop(d);
                *argument + aligned.0
            }),
            Once::new(move |argument: &mut u64| {
                drop(e);
                *argument += 1;
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
            .map(|it| it.call(&mut argument));
        assert_eq!(called.collect::<Vec<_>>(), [100, 102, 140, 107, 101]);
        assert_eq!((argument, Rc::strong_count(&token)), (101, 1));
    }

    #[test]
    fn a_function_that_is_not_called_drops_what_it_holds() {
        let token = Rc::new(());
        let functions = functions(&token);
        assert_eq!(Rc::strong_count(&token), 6);
        drop(functions);
        assert_eq!(Rc::strong_count(&token), 1);
    }

    #[test]
    fn a_function_that_panics_drops_what_it_holds_once() {
        let token = Rc::new(());
        let held = Rc::clone(&token);
        let reached = Rc::new(Cell::new(false));
        let sees = Rc::clone(&reached);
        let function = Once::new(move |_: &mut ()| {
            let _held = held;
            sees.set(true);
            panic!("expected");
        });
        let called = catch_unwind(AssertUnwindSafe(|| function.call(&mut ())));
        assert!(called.is_err() && reached.get());
        assert_eq!(Rc::strong_count(&token), 1);
        let zero_sized: Once<(), u8> = Once::new(|_: &mut ()| 3);
        assert_eq!(zero_sized.call(&mut ()), 3);
    }
}
