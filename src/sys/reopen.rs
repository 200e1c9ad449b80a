//! Opening anew what a descriptor refers to, for an open file description that no other
//! descriptor shares.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

#[cfg(any(opens_through_proc, tells_pty_masters))]
use super::fd;

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
    if fd::check_terminal(fd).is_err() || is_pty_master(fd) || would_raise_lines(fd) {
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
const LOST: libc::c_int = libc::O_ASYNC | libc::O_DIRECT | libc::O_PATH;
#[cfg(all(tells_pty_masters, not(opens_through_proc)))]
const LOST: libc::c_int = libc::O_ASYNC;

/// Returns what to open the file of `fd` with, so that the new description differs from
/// the old one in O_NONBLOCK alone.
#[cfg(any(opens_through_proc, tells_pty_masters))]
fn flags_for(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let flags = fd::status_flags(fd)?;
    if flags & LOST != 0 {
        return Err(refused());
    }
    // The access mode is the one of `fd`, see `open_same`.
    Ok((flags & libc::O_APPEND) | libc::O_NONBLOCK | libc::O_NOCTTY)
}

#[cfg(opens_through_proc)]
fn proc_path(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(opens_through_proc)]
fn through_proc(fd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<OwnedFd> {
    open_same(fd, proc_path(fd).as_ref(), flags)
}

#[cfg(tells_pty_masters)]
fn by_name(fd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<OwnedFd> {
    open_same(fd, &terminal_name(fd)?, flags)
}

/// ttyname(3).
#[cfg(tells_pty_masters)]
fn terminal_name(fd: BorrowedFd<'_>) -> io::Result<std::path::PathBuf> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    let mut name = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: the call writes at most `name.len()` bytes into the exclusively borrowed
    // buffer, and the descriptor is borrowed for it.
    let errno = unsafe { libc::ttyname_r(fd.as_raw_fd(), name.as_mut_ptr().cast(), name.len()) };
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno));
    }
    name.truncate(
        name.iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.len()),
    );
    Ok(std::ffi::OsString::from_vec(name).into())
}

/// Opens `path`, and checks that it is the file of `fd`: another file may be mounted there,
/// and a thread may have other descriptors than its process, whose /proc shows.
#[cfg(any(opens_through_proc, tells_pty_masters))]
fn open_same(
    fd: BorrowedFd<'_>,
    path: &std::path::Path,
    flags: libc::c_int,
) -> io::Result<OwnedFd> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::OpenOptionsExt;
    let access = fd::access(fd)?;
    let fresh = std::fs::OpenOptions::new()
        .read(access != fd::Access::WriteOnly)
        .write(access != fd::Access::ReadOnly)
        .custom_flags(flags)
        .open(path)?;
    let (wanted, found) = (fd::status(fd)?, fd::status(fresh.as_fd())?);
    let same = (wanted.st_dev, wanted.st_ino, wanted.st_rdev)
        == (found.st_dev, found.st_ino, found.st_rdev);
    if same {
        Ok(fresh.into())
    } else {
        Err(refused())
    }
}

#[cfg(has_fixed_device_numbers)]
fn is_dev_tty(fd: BorrowedFd<'_>) -> bool {
    has_device_number(fd, libc::makedev(5, 0))
}

#[cfg(all(tells_pty_masters, not(has_fixed_device_numbers)))]
fn is_dev_tty(fd: BorrowedFd<'_>) -> bool {
    terminal_name(fd).is_ok_and(|name| name.as_os_str() == "/dev/tty")
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
    fd::status(fd).is_ok_and(|stat| stat.st_rdev == number)
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
