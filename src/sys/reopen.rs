//! Opening anew what a descriptor refers to, for an open file description that no other
//! descriptor shares.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

#[cfg(any(opens_through_proc, tells_pty_masters))]
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Opens the pipe of `fd` anew, non-blocking, with the access mode of `fd`.
///
/// # Errors
///
/// `Unsupported` if the system cannot open a pipe by its descriptor, or flags of the
/// description would be lost; else the errors of open(2): ENOENT without /proc, EACCES for
/// another user's pipe, ENXIO for the writing side of a FIFO without a reader.
#[cfg(opens_through_proc)]
pub(crate) fn pipe(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    through_proc(fd, flags_for(fd)?)
}

#[cfg(not(opens_through_proc))]
pub(crate) fn pipe(_: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Err(refused())
}

/// Checks whether a pipe has a name by which a writer can open it. Without /proc, it does
/// not show.
#[cfg(opens_through_proc)]
pub(crate) fn has_name(fd: BorrowedFd<'_>) -> bool {
    // The link of a pipe without a name is `pipe:[INODE]`.
    std::fs::read_link(proc_path(fd)).is_ok_and(|name| name.is_absolute())
}

#[cfg(not(opens_through_proc))]
pub(crate) fn has_name(_: BorrowedFd<'_>) -> bool {
    false
}

/// Opens the terminal of `fd` anew, non-blocking, with the access mode of `fd`.
///
/// # Errors
///
/// `Unsupported` if that would open something else, would change a serial line, or is not
/// possible on the system; else the errors of open(2), such as EACCES for another user's
/// terminal and EBUSY for one in exclusive mode.
#[cfg(tells_pty_masters)]
pub(crate) fn terminal(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // A terminal that has hung up may have a new owner.
    if nix::unistd::isatty(fd) != Ok(true) || is_pty_master(fd) || would_raise_lines(fd) {
        return Err(refused());
    }
    let flags = flags_for(fd)?;
    // /proc finds a terminal of another mount namespace too.
    #[cfg(opens_through_proc)]
    let fresh = through_proc(fd, flags).or_else(|_| by_name(fd, flags))?;
    #[cfg(not(opens_through_proc))]
    let fresh = by_name(fd, flags)?;
    // /dev/tty is the terminal that controls the process now: `fd` may be an older one.
    if is_dev_tty(fd) && !is_same_terminal(fd, &fresh) {
        return Err(refused());
    }
    Ok(fresh)
}

#[cfg(not(tells_pty_masters))]
pub(crate) fn terminal(_: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Err(refused())
}

fn refused() -> io::Error {
    io::Error::from(io::ErrorKind::Unsupported)
}

/// Status flags that open(2) does not set, or not for such files.
#[cfg(opens_through_proc)]
const LOST: OFlag = OFlag::O_ASYNC.union(OFlag::O_DIRECT).union(OFlag::O_PATH);
#[cfg(all(tells_pty_masters, not(opens_through_proc)))]
const LOST: OFlag = OFlag::O_ASYNC;

/// Returns what to open the file of `fd` with, so that the new description differs from
/// the old one in O_NONBLOCK alone.
#[cfg(any(opens_through_proc, tells_pty_masters))]
fn flags_for(fd: BorrowedFd<'_>) -> io::Result<OFlag> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    if flags.intersects(LOST) {
        return Err(refused());
    }
    let kept = OFlag::O_ACCMODE | OFlag::O_APPEND;
    Ok((flags & kept) | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
}

#[cfg(opens_through_proc)]
fn proc_path(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(opens_through_proc)]
fn through_proc(fd: BorrowedFd<'_>, flags: OFlag) -> io::Result<OwnedFd> {
    open_same(fd, proc_path(fd).as_ref(), flags)
}

#[cfg(tells_pty_masters)]
fn by_name(fd: BorrowedFd<'_>, flags: OFlag) -> io::Result<OwnedFd> {
    open_same(fd, &nix::unistd::ttyname(fd)?, flags)
}

/// Opens `path`, and checks that it is the file of `fd`: another file may be mounted there,
/// and a thread may have other descriptors than its process, whose /proc shows.
#[cfg(any(opens_through_proc, tells_pty_masters))]
fn open_same(fd: BorrowedFd<'_>, path: &std::path::Path, flags: OFlag) -> io::Result<OwnedFd> {
    use nix::sys::stat::{Mode, fstat};
    let fresh = nix::fcntl::open(path, flags, Mode::empty())?;
    let (wanted, found) = (fstat(fd)?, fstat(&fresh)?);
    let same = (wanted.st_dev, wanted.st_ino, wanted.st_rdev)
        == (found.st_dev, found.st_ino, found.st_rdev);
    if same { Ok(fresh) } else { Err(refused()) }
}

#[cfg(has_fixed_device_numbers)]
fn is_dev_tty(fd: BorrowedFd<'_>) -> bool {
    has_device_number(fd, libc::makedev(5, 0))
}

#[cfg(all(tells_pty_masters, not(has_fixed_device_numbers)))]
fn is_dev_tty(fd: BorrowedFd<'_>) -> bool {
    nix::unistd::ttyname(fd).is_ok_and(|name| name.as_os_str() == "/dev/tty")
}

/// Checks whether two descriptors of /dev/tty are of one terminal.
#[cfg(has_tiocgdev)]
fn is_same_terminal(fd: BorrowedFd<'_>, other: &OwnedFd) -> bool {
    use std::os::fd::{AsFd, AsRawFd};
    let [ours, theirs] = [fd, other.as_fd()].map(|fd| {
        let mut number: libc::c_uint = 0;
        // SAFETY: the request writes one unsigned int to the pointer, which is to one that is
        // exclusively borrowed; the descriptor is borrowed for the call.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGDEV, &raw mut number) };
        (result == 0).then_some(number)
    });
    ours.is_some() && ours == theirs
}

#[cfg(all(tells_pty_masters, not(has_tiocgdev)))]
fn is_same_terminal(_: BorrowedFd<'_>, _: &OwnedFd) -> bool {
    false
}

#[cfg(has_fixed_device_numbers)]
fn has_device_number(fd: BorrowedFd<'_>, number: libc::dev_t) -> bool {
    nix::sys::stat::fstat(fd).is_ok_and(|stat| stat.st_rdev == number)
}

/// Checks whether `fd` is the master of a pseudo-terminal. Opening a master anew would make
/// another pseudo-terminal.
#[cfg(has_fixed_device_numbers)]
fn is_pty_master(fd: BorrowedFd<'_>) -> bool {
    has_device_number(fd, libc::makedev(5, 2))
}

#[cfg(has_tiocptmaster)]
fn is_pty_master(fd: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    // SAFETY: the request takes no argument, and the descriptor is borrowed for the call.
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCPTMASTER) == 0 }
}

#[cfg(has_ptsname_r)]
fn is_pty_master(fd: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let mut name = [0; libc::PATH_MAX as usize];
    // SAFETY: the call writes at most `name.len()` bytes into the exclusively borrowed
    // array, and the descriptor is borrowed for it.
    unsafe { libc::ptsname_r(fd.as_raw_fd(), name.as_mut_ptr(), name.len()) == 0 }
}

#[cfg(has_tiocptygname)]
fn is_pty_master(fd: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let mut name = [0_u8; 128];
    // SAFETY: the request writes at most 128 bytes, its size by definition (ttycom.h), into
    // the exclusively borrowed array; the descriptor is borrowed for the call.
    unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TIOCPTYGNAME as libc::c_ulong,
            name.as_mut_ptr(),
        ) == 0
    }
}

/// Checks whether the terminal is a serial line with DTR or RTS lowered. Opening it would
/// raise them, on which many boards reset.
#[cfg(open_raises_modem_lines)]
fn would_raise_lines(fd: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let mut lines: libc::c_int = 0;
    // SAFETY: the request writes one int to the pointer, which is to one that is
    // exclusively borrowed; the descriptor is borrowed for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCMGET, &raw mut lines) };
    let raised = libc::TIOCM_DTR | libc::TIOCM_RTS;
    // The request fails for a terminal without such lines.
    result == 0 && lines & raised != raised
}

#[cfg(all(tells_pty_masters, not(open_raises_modem_lines)))]
fn would_raise_lines(_: BorrowedFd<'_>) -> bool {
    false
}
