//! The processor time of a thread.

use std::ptr;
use std::time::Duration;

/// Returns the processor time that the calling thread has used, in the kernel too. Zero if the
/// system does not count it.
pub(crate) fn thread_time() -> Duration {
    // Not a literal: on some targets the structure has private padding.
    let mut time = *nix::sys::time::TimeSpec::from_duration(Duration::ZERO).as_ref();
    // SAFETY: the pointer is to an exclusively borrowed timespec; the call fills it in, or fails
    // and leaves it alone.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, ptr::from_mut(&mut time)) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_thread_that_computes_goes_on() {
        let begin = thread_time();
        while thread_time() == begin {
            std::hint::spin_loop();
        }
        assert!(thread_time() > begin);
    }
}
