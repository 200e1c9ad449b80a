//! Files that the system does not let a program open again: their flags are set, and put back.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "system calls on the process")]
#![allow(clippy::print_stderr, reason = "says what is left out")]

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use crate::common::{Probe, fd_flags, in_own_process, raw_pty, this_test, turn_until};
use fdloop::{Backend, EventLoop, FileDispatcher, FileWrapper};

/// A user that owns nothing.
const OTHER_USER: u32 = 65_534;

/// Checks whether the process may change what the tests change. If not, says that a test is left
/// out.
fn is_root() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("left out: only root may do this");
    }
    root
}

fn blocks(file: impl AsFd) -> bool {
    !fd_flags(file).1
}

/// Checks that a channel over `reader` gets what is written to `writer`, that the flag of their
/// descriptions is set while there is a wrapper, and that it is put back.
fn assert_shared_and_put_back(reader: &OwnedFd, writer: &File) {
    for &backend in Backend::ALL {
        let wrapper = FileWrapper::new(reader).unwrap();
        assert!(!blocks(reader), "the description is shared");
        let (probe, seen) = Probe::new();
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        event_loop
            .add(FileDispatcher::over(wrapper, probe))
            .unwrap();
        (&*writer).write_all(b"hello").unwrap();
        turn_until(&mut event_loop, "it is read", || seen.received_len() == 5);
        drop(event_loop);
        assert!(blocks(reader), "the flag was put back");
        let untouched = FileWrapper::leave_blocking(reader).unwrap();
        assert!(blocks(reader));
        drop(untouched);
    }
}

#[test]
fn a_pipe_is_shared_where_there_is_no_proc() {
    if !is_root() {
        return;
    }
    in_own_process(this_test!(), || {
        // SAFETY: the call takes flags. From here on this thread has mounts of its own.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        let none = std::ptr::null();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: the strings end with 0, and the other pointers may be null.
        let made_private = unshared == 0
            && unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) } == 0;
        let (kind, place) = (c"tmpfs".as_ptr(), c"/proc".as_ptr());
        // SAFETY: as above.
        let hidden = made_private && unsafe { libc::mount(kind, place, kind, 0, none.cast()) } == 0;
        if !hidden {
            eprintln!("left out: {}", std::io::Error::last_os_error());
            return;
        }
        assert!(!fs::exists("/proc/self").unwrap());
        let (reader, writer) = os_pipe::pipe().unwrap();
        assert_shared_and_put_back(&reader.into(), &File::from(OwnedFd::from(writer)));
    });
}

#[test]
fn the_terminal_of_another_user_is_shared() {
    if !is_root() {
        return;
    }
    in_own_process(this_test!(), || {
        let (master, terminal) = raw_pty();
        let name = nix::unistd::ttyname(&terminal).unwrap();
        fs::set_permissions(&name, Permissions::from_mode(0o600)).unwrap();
        // SAFETY: the call takes three numbers. The process runs no other test.
        let changed = unsafe { libc::setresuid(OTHER_USER, OTHER_USER, OTHER_USER) };
        assert_eq!(changed, 0, "{}", std::io::Error::last_os_error());
        assert!(File::open(&name).is_err(), "it is not ours any more");
        assert_shared_and_put_back(&terminal.into(), &master);
    });
}
