//! The system calls, and the only `unsafe` code of the crate.
//!
//! Functions here are thin: they take safe types, make one call, and turn the result into an
//! `io::Result`. The layers above decide what a result means. Hints to the processor and the
//! compiler, a function without a box and a place for a value that is lent are here too: most of them
//! need `unsafe`.
#![allow(unsafe_code)]

pub(crate) mod address;
#[cfg(feature = "children")]
pub(crate) mod child;
#[cfg(any(feature = "select", feature = "poll"))]
pub(crate) mod clock;
pub(crate) mod deadline;
#[cfg(with_epoll)]
pub(crate) mod epoll;
pub(crate) mod fd;
pub(crate) mod hint;
#[cfg(feature = "coroutines")]
pub(crate) mod lend;
pub(crate) mod poll;
#[cfg(feature = "tty")]
pub(crate) mod raw_mode;
pub(crate) mod reopen;
#[cfg(feature = "select")]
pub(crate) mod select;
#[cfg(feature = "signals")]
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod splice;
pub(crate) mod stored;
#[cfg(feature = "tty")]
pub(crate) mod terminal;
pub(crate) mod wake;

/// Turns the `-1` of a system call into the error it left in `errno`.
fn check(result: libc::c_int) -> std::io::Result<libc::c_int> {
    if result < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Turns the `-1` of a system call that returns a number of bytes into the error in `errno`.
#[inline]
fn check_size(result: libc::ssize_t) -> std::io::Result<usize> {
    usize::try_from(result).map_err(|_| std::io::Error::last_os_error())
}
