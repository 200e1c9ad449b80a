//! Descriptors of any kind: duplicating, flags, reading and writing.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{check, check_size};

/// The most slices in one vectored write. POSIX guarantees 16 and every Unix has 1,024. Beyond
/// some dozens a longer list saves nothing.
pub(crate) const MAX_SLICES: usize = 64;

/// Duplicates `fd`, with close-on-exec.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes a number and no pointer, and the descriptor is borrowed for the
    // call.
    let number = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: F_DUPFD_CLOEXEC has just made this descriptor, and no other code
    // knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes the number of `old` refer to the file of `new`, and closes `new` and the previous file
/// of `old`.
pub(crate) fn replace(old: BorrowedFd<'_>, new: OwnedFd) -> io::Result<()> {
    #[cfg(has_dup3)]
    // SAFETY: both are open descriptors, and different ones, since `new` is
    // owned; the owner of `old` goes on owning that number.
    let result = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    #[cfg(not(has_dup3))]
    // SAFETY: as above.
    let result = unsafe { libc::dup2(new.as_raw_fd(), old.as_raw_fd()) };
    check(result)?;
    #[cfg(not(has_dup3))]
    set_close_on_exec(old)?;
    Ok(())
}

/// Checks whether `fd` is the number of an open descriptor.
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag and takes no pointer; on a number that is not
    // open it fails with EBADF.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Sets the close-on-exec flag, which belongs to the descriptor alone.
pub(crate) fn set_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes no pointer, and the descriptor is borrowed for the call.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC == 0 {
        let wanted = flags | libc::FD_CLOEXEC;
        // SAFETY: as above; the request takes flags.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, wanted) })?;
    }
    Ok(())
}

/// Sets or clears O_NONBLOCK, which belongs to the open file description and so to all its
/// descriptors. Returns whether that changed the flag.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<bool> {
    let flags = status_flags(fd)?;
    if (flags & libc::O_NONBLOCK != 0) == nonblocking {
        return Ok(false);
    }
    let wanted = flags ^ libc::O_NONBLOCK;
    // SAFETY: the request takes flags and no pointer, and the descriptor is borrowed for the call.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) })?;
    Ok(true)
}

/// Returns the flags of the open file description (F_GETFL).
pub(super) fn status_flags(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: the request takes no pointer, and the descriptor is borrowed for the call.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

/// fstat(2).
pub(super) fn status(fd: BorrowedFd<'_>) -> io::Result<libc::stat> {
    let mut status = MaybeUninit::uninit();
    // SAFETY: the kernel writes one structure to the pointer, which is to one that is
    // exclusively borrowed; the descriptor is borrowed for the call.
    check(unsafe { libc::fstat(fd.as_raw_fd(), status.as_mut_ptr()) })?;
    // SAFETY: the call has succeeded, so the structure is filled in.
    Ok(unsafe { status.assume_init() })
}

/// read(2) of at most `buf.len()` bytes.
pub(crate) fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusively
    // borrowed buffer, and the descriptor is borrowed for the call.
    check_size(unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) })
}

/// write(2) of at most `buf.len()` bytes.
pub(crate) fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads at most `len` bytes of the borrowed buffer, and
    // the descriptor is borrowed for the call.
    check_size(unsafe { libc::write(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len()) })
}

/// writev(2) of the first [`MAX_SLICES`] of `bufs`.
pub(crate) fn write_vectored(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = bufs.len().min(MAX_SLICES) as libc::c_int;
    // SAFETY: IoSlice has the layout of iovec on Unix, as its documentation
    // promises; `count` entries are there, and the buffers they name are
    // borrowed for the call.
    check_size(unsafe { libc::writev(fd.as_raw_fd(), bufs.as_ptr().cast(), count) })
}

/// The kind of file that a descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A terminal, or a side of a pseudo-terminal.
    Terminal,
    /// A pipe, with a name (a FIFO) or without.
    Pipe,
    Socket,
    /// A regular file, a directory, a block device, or a device such as /dev/null:
    /// never EAGAIN.
    AlwaysReady,
    /// Another character device, or an object of the kernel's such as an eventfd.
    Other,
}

/// Returns the kind of file that `fd` refers to.
pub(crate) fn kind(fd: BorrowedFd<'_>) -> io::Result<FileKind> {
    let status = status(fd)?;
    Ok(match status.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => FileKind::AlwaysReady,
        libc::S_IFIFO => FileKind::Pipe,
        libc::S_IFSOCK => FileKind::Socket,
        libc::S_IFCHR if never_blocks(status.st_rdev) => FileKind::AlwaysReady,
        libc::S_IFCHR if is_terminal(fd) => FileKind::Terminal,
        _ => FileKind::Other,
    })
}

/// Calls isatty(3). Fails with its error if `fd` is not a terminal.
pub(crate) fn check_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes no pointer, and the descriptor is borrowed for it.
    match unsafe { libc::isatty(fd.as_raw_fd()) } {
        1 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Checks whether `fd` is a terminal, one that has hung up included.
fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    match check_terminal(fd) {
        Ok(()) => true,
        Err(error) => error.raw_os_error() == Some(libc::EIO),
    }
}

/// Checks whether the number is that of /dev/null, /dev/zero or /dev/full.
#[cfg(has_fixed_device_numbers)]
fn never_blocks(device: libc::dev_t) -> bool {
    [3, 5, 7]
        .map(|minor| libc::makedev(1, minor))
        .contains(&device)
}

#[cfg(not(has_fixed_device_numbers))]
fn never_blocks(_: libc::dev_t) -> bool {
    false
}

/// The access mode of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    WriteOnly,
    ReadWrite,
}

/// Returns the access mode of `fd`.
pub(crate) fn access(fd: BorrowedFd<'_>) -> io::Result<Access> {
    Ok(match status_flags(fd)? & libc::O_ACCMODE {
        libc::O_RDONLY => Access::ReadOnly,
        libc::O_WRONLY => Access::WriteOnly,
        _ => Access::ReadWrite,
    })
}

/// Closes `fd`, and returns the error of close(2), which dropping it discards.
pub(crate) fn close(fd: OwnedFd) -> io::Result<()> {
    use std::os::fd::IntoRawFd;
    // SAFETY: `into_raw_fd` gives up ownership, so this is the only close. After
    // EINTR the descriptor is gone as well (on Linux) or in an unknown state,
    // so it is never tried again.
    check(unsafe { libc::close(fd.into_raw_fd()) }).map(drop)
}

/// Gives up `fd` without closing its number, because other code has closed it: the number may
/// belong to another descriptor by now.
pub(crate) fn forget(fd: OwnedFd) {
    use std::os::fd::IntoRawFd;
    let _ = fd.into_raw_fd();
}

/// Returns the number of a descriptor.
pub(crate) fn number(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

/// Checks whether `fd` has unread data; an end of file is none. See FIONREAD in ioctl_tty(2),
/// which sockets and pipes support as well.
pub(crate) fn has_unread(fd: BorrowedFd<'_>) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int to the pointer, which is to one that is
    // exclusively borrowed; the descriptor is borrowed for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    check(result).is_ok() && bytes > 0
}

/// Checks whether `fd` is ready for writing at this moment, or has failed.
pub(crate) fn is_writable(fd: BorrowedFd<'_>) -> bool {
    poll_now(fd, libc::POLLOUT) != 0
}

/// Checks whether a read or write that waits for `events` returns at once.
///
/// # Errors
///
/// `Unsupported` if poll(2) cannot wait for such a file, as on Apple systems for some
/// devices.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, events: libc::c_short) -> io::Result<bool> {
    let found = poll_now(fd, events);
    if found & libc::POLLNVAL != 0 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "poll(2) cannot tell whether it is ready; use FileWrapper::new, which makes it \
             non-blocking",
        ));
    }
    Ok(found != 0)
}

/// Checks whether the other side of `fd` has hung up, as far as the platform tells: on
/// Apple systems not for terminals.
pub(crate) fn has_hung_up(fd: BorrowedFd<'_>) -> bool {
    poll_now(fd, 0) & libc::POLLHUP != 0
}

/// Checks whether the reading side of `fd` is gone: Linux reports that as an error, other
/// systems report a hang-up.
pub(crate) fn has_no_reader(fd: BorrowedFd<'_>) -> bool {
    poll_now(fd, 0) & (libc::POLLHUP | libc::POLLERR) != 0
}

/// Checks whether a terminal has hung up. Its settings can then not be read, whatever
/// poll(2) reports.
pub(crate) fn has_terminal_hung_up(fd: BorrowedFd<'_>) -> bool {
    has_hung_up(fd) || check_terminal(fd).is_err()
}

/// Returns what poll(2) reports for one descriptor at this moment.
fn poll_now(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::c_short {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: the array is one entry long, exclusively borrowed for the call.
    match check(unsafe { libc::poll(&raw mut entry, 1, 0) }) {
        Ok(_) => entry.revents,
        Err(_) => 0,
    }
}
