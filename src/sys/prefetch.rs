//! Fetching memory ahead of its use.

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
