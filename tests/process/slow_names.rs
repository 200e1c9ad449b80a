//! Names whose lookup does not end: with HOSTALIASES, glibc's resolver reads a file of aliases,
//! which here is a FIFO without a writer.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::env;
use std::time::Duration;

use crate::common::{Probe, TempDir, again, on_every_backend, this_test, turn_until};
use fdloop::{Dispatcher, EventLoop, Resolver};

const ALIASES: &str = "HOSTALIASES";

/// Runs `act` in a process in which lookups of names without dots hang.
#[track_caller]
fn with_slow_names(test: &str, act: impl FnOnce()) {
    if env::var_os(ALIASES).is_some() {
        return act();
    }
    let dir = TempDir::new();
    let fifo = dir.join("aliases");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = again(test).env(ALIASES, &fifo).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "{stdout}");
}

#[test]
fn a_lookup_that_hangs_ends_by_the_timeout_and_holds_up_nothing() {
    with_slow_names(this_test!(), || {
        on_every_backend(|backend| {
            let mut event_loop = EventLoop::with_backend(backend).unwrap();
            let resolver = Resolver::start(&mut event_loop, 1).unwrap();
            let (probe, seen) = Probe::new();
            let client = Dispatcher::connect_by_name(&resolver, "slow:80", probe).unwrap();
            let id = event_loop.add(client).unwrap();
            let ticks = event_loop.keep(0);
            event_loop.call_every(Duration::from_millis(1), move |event_loop| {
                *event_loop.state_mut(ticks).unwrap() += 1;
                Ok(())
            });
            while *event_loop.state(ticks).unwrap() < 20 {
                event_loop.turn(None).unwrap();
            }
            assert!(seen.events().is_empty() && event_loop.get(id).unwrap().connecting());
            let timeout = Some(Duration::from_millis(20));
            event_loop.get_mut(id).unwrap().set_timeout(timeout);
            turn_until(&mut event_loop, "the timeout", || seen.heard("close"));
            assert_eq!(seen.events(), ["close"]);
            let (errno, text) = seen.reason().unwrap();
            assert_eq!(errno, Some(libc::ETIMEDOUT));
            assert!(text.contains("slow:80"), "{text}");
            assert!(!event_loop.contains(id));
        });
    });
}

#[test]
fn a_channel_whose_lookup_hangs_can_be_closed_and_dropped_with_the_loop() {
    with_slow_names(this_test!(), || {
        on_every_backend(|backend| {
            let mut event_loop = EventLoop::with_backend(backend).unwrap();
            let resolver = Resolver::start(&mut event_loop, 1).unwrap();
            let (probe, seen) = Probe::new();
            let connect = |probe| Dispatcher::connect_by_name(&resolver, "slow:80", probe);
            let id = event_loop.add(connect(probe).unwrap()).unwrap();
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            assert!(event_loop.close(id).unwrap());
            event_loop.run().unwrap(); // nothing is left
            event_loop.add(connect(Probe::silent()).unwrap()).unwrap();
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            drop(event_loop);
            assert!(seen.events().is_empty());
        });
    });
}
