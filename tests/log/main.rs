//! The messages to the `log` facade, in a test binary of its own, since a process has one
//! logger.
#![allow(
    clippy::missing_const_for_thread_local,
    reason = "they are const; clippy does not see that where the system keeps them"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod chats;
mod dispatchers;
#[cfg(feature = "signals")]
mod signals;

use std::cell::RefCell;

use fdloop::Level;

thread_local! {
    /// The messages of this thread since the test began: each test has its own thread.
    static LOGGED: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let entry = (record.level(), record.args().to_string());
        LOGGED.with_borrow_mut(|logged| logged.push(entry));
    }
    fn flush(&self) {}
}

/// Returns what is logged while `work` runs, down to `least`.
fn logged_by(least: Level, work: impl FnOnce()) -> Vec<(Level, String)> {
    // All but the first of the tests find it set already.
    let _ = log::set_logger(&Logger);
    log::set_max_level(log::LevelFilter::Trace);
    LOGGED.take();
    work();
    let mut logged = LOGGED.take();
    logged.retain(|(level, _)| *level <= least);
    logged
}
