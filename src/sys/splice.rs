//! Moving bytes between descriptors within the kernel.

use std::io;
use std::os::fd::BorrowedFd;

/// Upper bound on the bytes moved at once.
#[cfg(has_splice)]
const MOST: usize = 1 << 20;

/// splice(2) of at most `most` bytes from `source` to `sink`, one of which is a pipe. The other is
/// non-blocking or never blocks.
#[cfg(has_splice)]
pub(crate) fn splice(
    source: BorrowedFd<'_>,
    sink: BorrowedFd<'_>,
    most: usize,
) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    // SAFETY: the call takes two descriptors, which are borrowed for it, and null for the offsets,
    // which means those of the descriptors.
    super::check_size(unsafe {
        libc::splice(
            source.as_raw_fd(),
            std::ptr::null_mut(),
            sink.as_raw_fd(),
            std::ptr::null_mut(),
            most.min(MOST),
            libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK,
        )
    })
}

#[cfg(not(has_splice))]
pub(crate) fn splice(_: BorrowedFd<'_>, _: BorrowedFd<'_>, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
