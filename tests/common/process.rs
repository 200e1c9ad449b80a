//! Tests that run in a process of their own: the program of the test, started again for
//! that test alone.

use std::env;
use std::process::{Command, Stdio};

/// The path of the test that calls this, as the harness prints it.
#[allow(unused_macros, reason = "each test binary uses a part of it")]
macro_rules! this_test {
    () => {{
        fn here() {}
        $crate::common::path_of(here)
    }};
}
pub(crate) use this_test;

/// The path of the function that contains `here`, without the crate. For [`this_test`].
pub fn path_of<F>(_here: F) -> &'static str {
    let path = std::any::type_name::<F>();
    let (_, path) = path.split_once("::").unwrap();
    path.rsplit_once("::").unwrap().0
}

/// The arguments with which this program runs `test` and no other, and shows what it prints.
pub fn only(test: &str) -> [&str; 4] {
    ["--exact", test, "--nocapture", "--test-threads=1"]
}

/// The command that runs `test` again, and no other.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(only(test));
    command
}

/// Set in the process that [`in_own_process`] starts.
const CHILD: &str = "FDLOOP_OWN_PROCESS";

/// Runs `act` in a process that runs no other test, so that it may change or count what
/// belongs to the process. `test` is the calling test: [`this_test`].
#[track_caller]
pub fn in_own_process(test: &str, act: impl FnOnce()) {
    if env::var_os(CHILD).is_some() {
        return act();
    }
    let mut command = again(test);
    let output = command
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(
        stdout.contains("1 passed"),
        "{test} is not a test:\n{stdout}"
    );
    // The process reports what it skipped.
    eprint!("{stderr}");
}
