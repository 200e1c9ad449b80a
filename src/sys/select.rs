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

/// The number of sets: for reading, for writing, for exceptional conditions.
pub(crate) const KINDS: usize = 3;

/// Waits until a descriptor below `nfds` in one of the sets is ready, or for `timeout`. Leaves
/// the ready ones in the sets, and returns their number.
///
/// `sets` holds the three sets in a row, each a third of it. A set that is not `given` is not
/// passed to the kernel, and stays as it is.
///
/// # Errors
///
/// `InvalidInput` if a set is too short for `nfds`; else the errors of select(2): EBADF if a
/// number in the sets is not open, EINTR if a signal arrived.
#[inline(always)]
pub(crate) fn select(
    nfds: RawFd,
    sets: &mut [Word],
    given: [bool; KINDS],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let room = sets.len() / KINDS;
    // A negative number is too large as well.
    if (nfds as u32 as usize).div_ceil(Word::BITS as usize) > room {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let first = sets.as_mut_ptr();
    let set = |kind: usize| match given[kind] {
        true => first.wrapping_add(kind * room).cast(),
        false => ptr::null_mut(),
    };
    // Some kernels write the time left into it, so it is made for each call.
    let mut timeout = timeout.map(deadline::timeval);
    let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the kernel reads and writes ceil(nfds / bits of a word) words of
    // each set, and each has at least that many within `sets`; a kernel that rounds
    // up to longs stays within them, as Word is a long where it does. The slice is
    // exclusively borrowed beyond the call, and the timeout is null or points to a
    // timeval that outlives it.
    let ready = unsafe { raw_select(nfds, set(0), set(1), set(2), timeout) };
    check(ready).map(|ready| ready as usize)
}
