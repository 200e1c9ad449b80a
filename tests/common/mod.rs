//! Code that the tests share: running a test on every backend, waiting with a limit, handlers that
//! record their calls, and pollers that count or simulate.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unused_imports, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]
#![allow(clippy::print_stderr, reason = "a test says what it skips")]

pub mod chat;
pub mod clock;
mod files;
mod pollers;
mod probe;
mod process;
pub mod programs;
pub mod random;
#[cfg(target_os = "linux")]
mod silent;
mod trace;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

pub use files::{
    Settings, TempDir, at_once, fd_flags, pattern, raw_pty, settings_of, status_flags,
    stuffed_pipe, stuffed_stream,
};
pub use pollers::{Counting, Heard, Script, Simulated, poller_of};
pub use probe::{Probe, Seen};
pub(crate) use process::this_test;
pub use process::{again, in_own_process, only, path_of};
#[cfg(target_os = "linux")]
pub use silent::Silent;
pub use trace::{has_strace, traced, traced_on_every_backend};

use fdloop::{Backend, EventLoop};

/// The time for which a test waits for an event before it fails. It is far longer than necessary:
/// only a failing test takes that long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` once for each backend that is built in. A failure names the backend.
#[track_caller]
pub fn on_every_backend(test: impl Fn(Backend)) {
    for &backend in Backend::ALL {
        if catch_unwind(AssertUnwindSafe(|| test(backend))).is_err() {
            panic!("the test above failed with the backend {backend}");
        }
    }
}

/// Runs `test` with a loop over each backend.
#[track_caller]
pub fn with_every_loop(test: impl Fn(&mut EventLoop)) {
    on_every_backend(|backend| test(&mut EventLoop::with_backend(backend).unwrap()));
}

/// Makes passes until `done` returns true. Fails with `what` if that takes too long.
#[track_caller]
pub fn turn_until(event_loop: &mut EventLoop, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        event_loop.turn(Some(Duration::from_millis(20))).unwrap();
    }
}

/// Makes passes until the last channel is gone.
#[track_caller]
pub fn turn_until_empty(event_loop: &mut EventLoop) {
    let deadline = Instant::now() + PATIENCE;
    while !event_loop.is_empty() {
        let left = event_loop.len();
        assert!(Instant::now() < deadline, "{left} channels never ended");
        event_loop.turn(Some(Duration::from_millis(20))).unwrap();
    }
}

/// Makes one pass, in which at least one channel must be ready.
#[track_caller]
pub fn turn_once(event_loop: &mut EventLoop) -> usize {
    let served = event_loop.turn(Some(PATIENCE)).unwrap();
    assert_ne!(served, 0, "nothing was ready");
    served
}

/// Makes a few passes that do not wait, so that everything that is due happens.
#[track_caller]
pub fn settle(event_loop: &mut EventLoop) {
    for _ in 0..5 {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
}
