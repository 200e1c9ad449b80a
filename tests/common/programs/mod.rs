//! Code that the tests of the examples share: running examples with each backend, and other
//! programs as their clients and servers.
// The backend is printed, which shows only if the test fails.
#![allow(clippy::print_stdout)]

mod http_server;
mod program;

use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

pub use http_server::{HTTP_SERVER, directory_to_serve};
pub use program::{Ended, Program, example, interpreter, memory};

use fdloop::Backend;

pub const ANY_PORT: &str = "127.0.0.1:0";

/// Calls `test` with each backend, in a thread for each: the programs wait for each other most of
/// the time.
#[track_caller]
pub fn with_each_backend(test: impl Fn(Backend) + Sync) {
    thread::scope(|scope| {
        let run = |backend: &'static Backend| {
            let test = &test;
            (backend, scope.spawn(move || test(*backend)))
        };
        // All of them start before the first is waited for.
        let runs: Vec<_> = Backend::ALL.iter().map(run).collect();
        for (backend, run) in runs {
            if let Err(panic) = run.join() {
                println!("with {backend}");
                resume_unwind(panic);
            }
        }
    });
}

/// Returns the signal that ends a server in its test: one with the default backend, and another one
/// with the others.
pub fn ending_signal(backend: Backend) -> &'static str {
    if backend == Backend::default() {
        "TERM"
    } else {
        "INT"
    }
}

/// Starts a server on a port of its choice. Returns it and its address.
#[track_caller]
pub fn server(name: &str, backend: Backend, arguments: &[&str]) -> (Program, String) {
    let mut server = Program::example(name, backend, arguments);
    let address = server.address();
    (server, address)
}

/// Runs a Python program that must succeed.
#[track_caller]
pub fn python(script: &str, arguments: &[&str]) -> Ended {
    Program::python(script, arguments).succeed()
}

/// Runs an example that ends by itself to its end.
#[track_caller]
pub fn run(name: &str, backend: Backend, arguments: &[&str]) -> Ended {
    Program::example(name, backend, arguments).finish()
}

/// Checks whether a program is installed.
pub fn exists(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok()
}

/// Memory in KiB, if the system reports it.
#[track_caller]
pub fn assert_grew_at_most(most: u64, before: Option<u64>, after: Option<u64>) {
    if let (Some(before), Some(after)) = (before, after) {
        let grown = after - before;
        assert!(
            grown <= most,
            "memory grew by {grown} KiB, from {before} to {after}"
        );
    }
}
