//! Child processes: waiting for one, and sending it a signal.

use std::io;
use std::os::fd::BorrowedFd;
#[cfg(has_pidfd)]
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use libc::{c_int, pid_t};

use super::check;

/// Reaps a child if it has exited: waitpid(2) with WNOHANG. ECHILD means that it is not a child of
/// this process, or was reaped before. `pid` must be positive.
pub(crate) fn try_wait(pid: pid_t) -> io::Result<Option<ExitStatus>> {
    let mut status = 0;
    // SAFETY: the call writes one int to the pointer, which is to one that is exclusively
    // borrowed.
    match check(unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) })? {
        0 => Ok(None),
        _ => Ok(Some(ExitStatus::from_raw(status))),
    }
}

/// Opens a descriptor that becomes readable when the process exits: pidfd_open(2).
#[cfg(has_pidfd)]
pub(crate) fn open_pidfd(pid: pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers. Its second argument, the flags, has the width of a
    // register.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0_usize) };
    let number = RawFd::try_from(result).unwrap_or(-1);
    check(number)?;
    // SAFETY: pidfd_open has just made this descriptor, close-on-exec, and no other code has its
    // number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends a signal. With a `pidfd`, it goes to exactly that process, even if the pid was reused.
/// Otherwise it goes to `pid`, which the caller has not reaped. The same is done if other code has
/// closed `pidfd` and the loop has not found out yet.
pub(crate) fn send_signal(
    pid: pid_t,
    pidfd: Option<BorrowedFd<'_>>,
    signal: c_int,
) -> io::Result<()> {
    #[cfg(has_pidfd)]
    if let Some(pidfd) = pidfd {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the call takes integers, and a pointer that may be null.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                pidfd.as_raw_fd(),
                signal,
                info,
                0_usize,
            )
        };
        match check(if result < 0 { -1 } else { 0 }) {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {}
            sent => return sent.map(drop),
        }
    }
    #[cfg(not(has_pidfd))]
    let _ = pidfd;
    // SAFETY: the call takes two integers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}
