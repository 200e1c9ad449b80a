//! The clock of the day, which people and programs set: a loop does not read it. The test is run
//! again with a library in front of the C library's that ends the process if it is read.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::print_stderr, reason = "says what it skips")]

use std::env;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{TempDir, again, on_every_backend, this_test};
use fdloop::{Deadline, Dispatcher, EventLoop, Handler, RunOptions, Socket};

/// Lets the other clocks pass.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI)
        abort();
    return syscall(SYS_clock_gettime, clock, time);
}
int gettimeofday(struct timeval *time, void *zone) { abort(); }
time_t time(time_t *result) { abort(); }
"#;

struct Quiet;
impl Handler for Quiet {}

#[test]
fn waits_timers_and_timeouts_do_not_depend_on_the_clock_of_the_day() {
    if env::var_os("LD_PRELOAD").is_some() {
        return wait_in_every_way();
    }
    let dir = TempDir::new();
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    fs::write(&source, LIBRARY).unwrap();
    let mut compiler = Command::new("cc");
    if cfg!(target_pointer_width = "32") {
        compiler.arg("-m32");
    }
    compiler.args(["-shared", "-fPIC", "-w", "-o"]);
    let compiled = compiler.arg(&library).arg(&source).output();
    if !compiled.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a C compiler is missing");
        return;
    }
    if cfg!(target_pointer_width = "64") {
        let date = Command::new("date").env("LD_PRELOAD", &library).output();
        assert!(!date.unwrap().status.success(), "the library has no effect");
    }
    let mut command = again(this_test!());
    let output = command.env("LD_PRELOAD", &library).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {stdout}{stderr}",
        output.status
    );
    assert!(stdout.contains("1 passed"), "{stdout}");
}

fn wait_in_every_way() {
    const TIME: Duration = Duration::from_millis(3);
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let (ours, _theirs) = Socket::pair().unwrap();
        let begin = Instant::now();
        event_loop.turn(Some(TIME)).unwrap();
        event_loop.turn_until(Deadline::after(Some(TIME))).unwrap();
        event_loop.call_later(TIME, |_| Ok(()));
        event_loop.run().unwrap();
        let mut channel = Dispatcher::new(ours, Quiet).unwrap();
        channel.set_timeout(Some(TIME));
        event_loop.add(channel).unwrap();
        event_loop
            .run_with(RunOptions::new().timeout(TIME))
            .unwrap();
        assert!(event_loop.is_empty() && begin.elapsed() >= 4 * TIME);
        let remote = event_loop.remote().unwrap();
        remote.call(|_| Ok(())).unwrap();
        event_loop.turn(None).unwrap();
    });
}
