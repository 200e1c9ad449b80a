//! Terminals: their settings and their size, and pseudo-terminals.

use std::io;
use std::mem::MaybeUninit;
#[cfg(not(opens_ptys_in_steps))]
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::check;

/// The settings of a terminal (termios).
#[derive(Clone, Copy)]
pub(crate) struct Settings(libc::termios);

impl Settings {
    /// tcgetattr(3).
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // musl's call leaves the fields for the speeds as they are.
        let mut settings = MaybeUninit::zeroed();
        // SAFETY: the call writes one structure to the pointer, which is to one that is
        // exclusively borrowed; the descriptor is borrowed for the call.
        check(unsafe { libc::tcgetattr(fd.as_raw_fd(), settings.as_mut_ptr()) })?;
        // SAFETY: the structure consists of integers, and all of it was initialized above.
        Ok(Self(unsafe { settings.assume_init() }))
    }

    /// Returns the settings with which every byte passes unchanged: cfmakeraw(3).
    pub(crate) fn raw(mut self) -> Self {
        // SAFETY: the call changes the structure, which is exclusively borrowed for it.
        unsafe { libc::cfmakeraw(&raw mut self.0) };
        // A read waits for one byte. cfmakeraw leaves this alone on some systems.
        self.0.c_cc[libc::VMIN] = 1;
        self.0.c_cc[libc::VTIME] = 0;
        self
    }

    /// tcsetattr(3), at once and keeping the input that was not read. Async-signal-safe.
    pub(super) fn apply(&self, number: libc::c_int) -> io::Result<()> {
        loop {
            // SAFETY: the call reads the structure, which is borrowed for it. A number that is
            // not open makes it fail.
            let result = unsafe { libc::tcsetattr(number, libc::TCSANOW, &raw const self.0) };
            match check(result) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(drop),
            }
        }
    }
}

/// Checks whether two numbers are of one terminal. Returns false if the system does not report it.
pub(super) fn are_one(a: RawFd, b: RawFd) -> bool {
    device(a).is_some_and(|one| device(b) == Some(one))
}

/// TIOCGDEV: the number of the terminal, also for its master and for /dev/tty.
#[cfg(has_tiocgdev)]
fn device(number: RawFd) -> Option<u32> {
    let mut device = 0_u32;
    // SAFETY: the request writes one 32-bit number to the pointer, which is to one that is
    // exclusively borrowed. It fails for what is not a terminal.
    check(unsafe { libc::ioctl(number, libc::TIOCGDEV as _, &raw mut device) }).ok()?;
    Some(device)
}

/// The number of the device file. That of /dev/tty is its own.
#[cfg(not(has_tiocgdev))]
fn device(number: RawFd) -> Option<libc::dev_t> {
    // All masters have the number of /dev/ptmx there.
    if cfg!(opens_ptys_in_steps) {
        return None;
    }
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the call writes one structure to the pointer, which is to one that is exclusively
    // borrowed. It fails for a number that is not open.
    check(unsafe { libc::fstat(number, status.as_mut_ptr()) }).ok()?;
    // SAFETY: the call has succeeded, so the structure is filled in.
    Some(unsafe { status.assume_init() }.st_rdev)
}

/// Returns the size of a terminal's window: TIOCGWINSZ.
pub(crate) fn window_size(fd: BorrowedFd<'_>) -> io::Result<libc::winsize> {
    let mut size = MaybeUninit::uninit();
    // SAFETY: the request writes one structure to the pointer, which is to one that is
    // exclusively borrowed; the descriptor is borrowed for the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ as _, size.as_mut_ptr()) })?;
    // SAFETY: the request has succeeded, so the structure is filled in.
    Ok(unsafe { size.assume_init() })
}

/// Sets the size of a terminal's window: TIOCSWINSZ.
pub(crate) fn set_window_size(fd: BorrowedFd<'_>, size: &libc::winsize) -> io::Result<()> {
    // SAFETY: the request reads one structure from the pointer, which is borrowed for the call,
    // as is the descriptor.
    let result = unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TIOCSWINSZ as _,
            std::ptr::from_ref(size),
        )
    };
    check(result).map(drop)
}

/// Opens a pseudo-terminal, close-on-exec: the master, and the terminal.
#[cfg(opens_ptys_in_steps)]
pub(crate) fn open_pty() -> io::Result<(OwnedFd, OwnedFd)> {
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::OpenOptionsExt;

    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the call takes flags.
    let number = check(unsafe { libc::posix_openpt(flags) })?;
    // SAFETY: posix_openpt has just made this descriptor, and no other code has its number.
    let master = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: the call takes a number, which is that of an open descriptor.
    check(unsafe { libc::grantpt(master.as_raw_fd()) })?;
    // SAFETY: as above.
    check(unsafe { libc::unlockpt(master.as_raw_fd()) })?;
    let mut name = vec![0_u8; 128];
    // SAFETY: the call writes at most `name.len()` bytes into the exclusively borrowed buffer.
    let errno =
        unsafe { libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr().cast(), name.len()) };
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno));
    }
    let end = name.iter().position(|byte| *byte == 0);
    name.truncate(end.unwrap_or(name.len()));
    let terminal = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(std::ffi::OsString::from_vec(name))?;
    Ok((master, terminal.into()))
}

#[cfg(not(opens_ptys_in_steps))]
pub(crate) fn open_pty() -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut terminal) = (-1, -1);
    // SAFETY: the call writes one number to each of the first two pointers, which are to
    // integers that are exclusively borrowed. It permits the others to be null.
    check(unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut terminal,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    })?;
    // SAFETY: openpty has just made both descriptors, and no other code has their numbers.
    let [master, terminal] = [master, terminal].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    for side in [&master, &terminal] {
        super::fd::set_close_on_exec(side.as_fd())?;
    }
    Ok((master, terminal))
}

/// The signals of a terminal's keys and of its end, which a session of its own has a right to. A
/// shell ignores some of them in programs that it runs in the background, and so does nohup(1).
const SIGNALS_OF_A_SESSION: [libc::c_int; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// Makes `command` begin a session whose controlling terminal is its standard input, with the
/// default dispositions of the signals that belong to a session.
pub(crate) fn control_by_stdin(command: &mut Command) {
    let begin = || {
        // SAFETY: the call takes nothing.
        check(unsafe { libc::setsid() })?;
        // SAFETY: the request takes a number. Descriptor 0 is the terminal by now.
        check(unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, 0) })?;
        for signal in SIGNALS_OF_A_SESSION {
            // SAFETY: the default action runs no code of the program's. The call cannot fail for
            // these signals.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec. It makes system calls, which are
    // async-signal-safe, and allocates only the error of a failed one, which holds a number.
    unsafe { command.pre_exec(begin) };
}
