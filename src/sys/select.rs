//! select(2) over descriptor sets of any length.

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use super::{check, deadline};

/// The unit of the platform's `fd_set`. The kernel reads the sets in these units, so another
/// one would change the bit order on big-endian machines.
#[cfg(select_words_of_32_bits)]
pub(crate) type Word = u32;
/// The unit of the platform's `fd_set`.
#[cfg(not(select_words_of_32_bits))]
pub(crate) type Word = libc::c_ulong;

/// The first number that does not fit into a set, where sets cannot grow.
#[cfg(not(select_grows))]
pub(crate) const LIMIT: RawFd = libc::FD_SETSIZE as RawFd;

#[cfg(not(apple))]
use libc::select as raw_select;

#[cfg(apple)]
unsafe extern "C" {
    // The plain symbol fails with EINVAL past FD_SETSIZE; this variant, which C
    // programs get by defining _DARWIN_UNLIMITED_SELECT, has no limit.
    #[link_name = "select$DARWIN_EXTSN"]
    fn raw_select(
        nfds: libc::c_int,
        read: *mut libc::fd_set,
        write: *mut libc::fd_set,
        except: *mut libc::fd_set,
        timeout: *mut libc::timeval,
    ) -> libc::c_int;
}

/// The three sets of a call, each long enough for the highest number in it, or not
/// given.
#[derive(Debug)]
pub(crate) struct Sets<'a> {
    pub(crate) read: Option<&'a mut [Word]>,
    pub(crate) write: Option<&'a mut [Word]>,
    pub(crate) except: Option<&'a mut [Word]>,
}

/// Waits until a descriptor below `nfds` in one of the sets is ready, or for `timeout`. Leaves
/// the ready ones in the sets, and returns their number.
///
/// # Errors
///
/// `InvalidInput` if a set is too short for `nfds`; else the errors of select(2): EBADF if a
/// number in the sets is not open, EINTR if a signal arrived.
pub(crate) fn select(nfds: RawFd, sets: Sets<'_>, timeout: Option<Duration>) -> io::Result<usize> {
    let words = usize::try_from(nfds)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?
        .div_ceil(Word::BITS as usize);
    let pointer = |set: Option<&mut [Word]>| match set {
        None => Ok(ptr::null_mut()),
        Some(set) if set.len() >= words => Ok(set.as_mut_ptr().cast()),
        Some(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    };
    let read = pointer(sets.read)?;
    let write = pointer(sets.write)?;
    let except = pointer(sets.except)?;
    // Some kernels write the time left into it, so it is made for each call.
    let mut timeout = timeout.map(deadline::timeval);
    let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the kernel reads and writes ceil(nfds / bits of a word) words of
    // each set, and `pointer` made sure that each that is given has that many; a
    // kernel that rounds up to longs stays within them, as Word is a long where
    // it does. The slices are exclusively borrowed beyond the call, and the timeout
    // is null or points to a timeval that outlives it.
    let ready = unsafe { raw_select(nfds, read, write, except, timeout) };
    check(ready).map(|ready| ready as usize)
}
