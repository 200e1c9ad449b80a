//! Signals as callbacks. Their handlers stay for as long as the process runs, so each test runs in
//! a process of its own.
#![allow(unsafe_code, reason = "raising signals")]

mod callbacks;
mod children_of_the_process;
mod descriptors;
mod forked;
mod stopping;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fdloop::{EventLoop, SignalInfo};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

/// Raises a signal in this thread. Its handler has run when this returns.
#[track_caller]
fn raise(signal: i32) {
    // SAFETY: the call takes a number.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// The signals for which callbacks were called.
#[derive(Clone, Default)]
struct Calls(Rc<RefCell<Vec<(&'static str, SignalInfo)>>>);

impl Calls {
    /// Returns a callback that records its calls under a name.
    fn recorder(
        &self,
        name: &'static str,
    ) -> impl FnMut(&mut EventLoop, SignalInfo) -> fdloop::Result<()> + 'static {
        let calls = self.clone();
        move |_, info| {
            calls.0.borrow_mut().push((name, info));
            Ok(())
        }
    }

    fn take(&self) -> Vec<(&'static str, SignalInfo)> {
        self.0.take()
    }

    fn names(&self) -> Vec<&'static str> {
        self.take().into_iter().map(|(name, _)| name).collect()
    }
}

/// Returns the number of the process's descriptors.
fn open_descriptors() -> usize {
    std::fs::read_dir("/dev/fd").unwrap().count()
}
