//! Naming a child process.

use std::process::Child;

use libc::pid_t;

/// A child process for [`EventLoop::on_child_exit`](crate::EventLoop::on_child_exit): a
/// [`Child`], or the id of a process, as `u32` or `libc::pid_t`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a child process",
    label = "not a child process",
    note = "pass a `std::process::Child` by value, or its id: `child.id()`"
)]
pub trait IntoChild: sealed::Sealed {}

impl IntoChild for Child {}
impl IntoChild for u32 {}
impl IntoChild for pid_t {}

pub(super) mod sealed {
    use super::{Child, pid_t};
    use std::io;
    use std::process::ExitStatus;

    use crate::sys::child::try_wait;

    pub trait Sealed {
        /// Returns the id, and -1 for a number that cannot be one.
        fn pid(&self) -> pid_t;

        /// Reaps the child if it has exited.
        fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
            try_wait(self.pid())
        }
    }

    impl Sealed for Child {
        fn pid(&self) -> pid_t {
            self.id().pid()
        }

        // The program may have waited for the child, which then knows its status.
        fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
            Child::try_wait(self)
        }
    }

    impl Sealed for u32 {
        fn pid(&self) -> pid_t {
            pid_t::try_from(*self).unwrap_or(-1)
        }
    }

    impl Sealed for pid_t {
        fn pid(&self) -> pid_t {
            *self
        }
    }
}
