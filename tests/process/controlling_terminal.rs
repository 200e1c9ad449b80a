//! /dev/tty, which is the controlling terminal of whichever process opens it. The
//! test starts itself again in a session with such a terminal.
#![allow(unsafe_code, reason = "a session is made between fork and exec")]

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use crate::common::{again, fd_flags, raw_pty, this_test};
use fdloop::FileWrapper;

/// Set for the process in the new session.
const CHILD: &str = "FDLOOP_IN_A_SESSION";

#[test]
fn the_flags_of_the_controlling_terminal_are_never_touched() {
    if std::env::var_os(CHILD).is_some() {
        return in_the_session();
    }
    let (_master, terminal) = raw_pty();
    let mut command = again(this_test!());
    command
        .env(CHILD, "1")
        .stdin(Stdio::from(terminal))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let make_session = || {
        // SAFETY: setsid takes nothing.
        if unsafe { libc::setsid() } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the request takes a number, and descriptor 0 is the terminal by now.
        if unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: the closure makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(make_session) };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn in_the_session() {
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .unwrap();
    let before = fd_flags(&terminal);
    let mut wrapper = FileWrapper::new(&terminal).unwrap();
    assert!(fd_flags(wrapper.as_fd().unwrap()).1, "it does not block");
    if cfg!(target_os = "linux") {
        assert_eq!(fd_flags(&terminal), before);
    }
    let error = wrapper.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(wrapper);
    assert_eq!(fd_flags(&terminal), before);
}
