//! The system calls of a process, traced by strace.

use std::env;
use std::fs;
use std::process::Command;

use super::{TempDir, on_every_backend, only};
use fdloop::Backend;

/// Set for the process that is traced: its backend.
const CHILD: &str = "FDLOOP_TRACED_BACKEND";

/// Does `act` with each backend in a process of its own, and calls `check` with the trace of the
/// system calls that `calls` names. `test` is the calling test ([`this_test`]),
/// which that process runs again. If strace cannot be used, nothing is checked.
pub fn traced_on_every_backend(
    test: &str,
    calls: &str,
    act: impl Fn(Backend),
    check: impl Fn(&str),
) {
    if let Ok(backend) = env::var(CHILD) {
        return act(backend.parse().unwrap());
    }
    if has_strace() {
        on_every_backend(|backend| check(&trace_again(test, calls, &backend.to_string())));
    }
}

/// Does the same as `traced_on_every_backend`, with an `act` that chooses its backend.
pub fn traced(test: &str, calls: &str, act: impl Fn(), check: impl Fn(&str)) {
    if env::var(CHILD).is_ok() {
        return act();
    }
    if has_strace() {
        check(&trace_again(test, calls, "chosen by the test"));
    }
}

/// Runs a test again under strace, and gives the trace.
#[track_caller]
fn trace_again(test: &str, calls: &str, backend: &str) -> String {
    let directory = TempDir::new();
    let trace = directory.join("trace");
    let output = Command::new("strace")
        .args(["-f", "-e", &format!("trace={calls}"), "-o"])
        .arg(&trace)
        .arg(env::current_exe().unwrap())
        .args(only(test))
        .env(CHILD, backend)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("1 passed"),
        "{test} is not a test:\n{stdout}"
    );
    fs::read_to_string(&trace).unwrap()
}

/// Checks whether strace is available, and reports it if not.
pub fn has_strace() -> bool {
    let traced = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    let has = traced.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: there is no strace, or it may not trace");
    }
    has
}
