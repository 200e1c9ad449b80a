//! When `run` returns: no channel left, enough passes, a stop, the exit error.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{Counting, PATIENCE, Probe, on_every_backend, turn_once, with_every_loop};
use fdloop::{Dispatcher, Error, EventLoop, Io, Result, RunOptions};

#[test]
fn run_returns_at_once_when_the_map_is_empty() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        event_loop.run().unwrap();
        let options = RunOptions::new().timeout(PATIENCE).count(3);
        event_loop.run_with(options).unwrap();
        assert_eq!(heard.waits.get(), 0);
    });
}

#[test]
fn run_returns_when_the_last_channel_is_closed() {
    with_every_loop(|event_loop| {
        let mut all = Vec::new();
        for _ in 0..3 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (probe, seen) = Probe::new();
            event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            drop(theirs);
            all.push(seen);
        }
        event_loop.run().unwrap();
        for seen in all {
            assert_eq!(seen.events(), ["read", "eof", "close"]);
        }
    });
}

#[test]
fn a_hold_keeps_run_going_until_its_last_clone_is_dropped() {
    with_every_loop(|event_loop| {
        let hold = event_loop.hold();
        event_loop.run().unwrap(); // nothing could end a wait
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add_background(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let first = event_loop.keep(hold.clone());
        let second = event_loop.keep(hold);
        let release = event_loop.call_every(Duration::from_millis(1), move |event_loop| {
            if event_loop.take(first).is_none() {
                event_loop.take(second);
            }
            Ok(())
        });
        theirs.write_all(b"read meanwhile").unwrap();
        event_loop.run().unwrap();
        assert!(event_loop.state(second).is_none());
        assert_eq!(seen.events()[0], "read");
        assert!(event_loop.cancel(release));
    });
}

#[test]
fn run_makes_as_many_passes_as_it_was_told() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        event_loop
            .add(Dispatcher::new(ours, Probe::silent()).unwrap())
            .unwrap();
        for count in [0, 1, 7] {
            heard.waits.set(0);
            let options = RunOptions::new().timeout(Duration::ZERO).count(count);
            event_loop.run_with(options).unwrap();
            assert_eq!(heard.waits.get() as u64, count);
        }
    });
}

/// A loop with one channel, which has something to read and does `act` with it.
fn with_reader(
    event_loop: &mut EventLoop,
    act: impl FnMut(&mut Io<'_>) -> Result<()> + 'static,
) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let probe = Probe::silent().on_read(act);
    event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    theirs
}

#[test]
fn stop_ends_run_after_the_pass_and_for_once() {
    with_every_loop(|event_loop| {
        let reads = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for _ in 0..2 {
            let reads = Rc::clone(&reads);
            // They leave their data, so every pass calls both.
            peers.push(with_reader(event_loop, move |io| {
                reads.set(reads.get() + 1);
                io.event_loop().stop();
                Ok(())
            }));
        }
        event_loop.run().unwrap();
        assert_eq!(reads.get(), 2, "the pass is done when run returns");
        event_loop.run().unwrap();
        assert_eq!(reads.get(), 4, "the stop was used up");
    });
}

#[test]
fn stop_before_run_makes_it_return_without_a_pass() {
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let _peer = with_reader(&mut event_loop, |_| Ok(()));
        event_loop.stop();
        event_loop.run().unwrap();
        assert_eq!(heard.waits.get(), 0);
    });
}

#[test]
fn a_stop_during_a_turn_does_not_keep_later_turns_from_waiting() {
    with_every_loop(|event_loop| {
        let peer = with_reader(event_loop, |io| {
            io.recv(&mut [0; 16])?;
            io.event_loop().stop();
            Ok(())
        });
        turn_once(event_loop);
        let timeout = Duration::from_millis(30);
        for _ in 0..2 {
            let begin = Instant::now();
            assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
            assert!(begin.elapsed() >= timeout, "a loop of turns would spin");
        }
        drop(peer);
    });
}

#[test]
fn the_exit_error_leaves_run_and_the_loop_can_go_on() {
    with_every_loop(|event_loop| {
        let _peer = with_reader(event_loop, |io| {
            io.recv(&mut [0; 16])?;
            Err(Error::ExitNow)
        });
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let error = event_loop.run().unwrap_err();
        assert!(matches!(error, Error::ExitNow));
        assert_eq!(event_loop.len(), 2, "channels are left as they are");
        drop(theirs);
        crate::common::turn_until(event_loop, "the other one ends", || seen.heard("close"));
    });
}

#[test]
fn a_stop_in_a_pass_that_the_exit_error_left_does_not_stop_the_next_run() {
    with_every_loop(|event_loop| {
        let peer = with_reader(event_loop, |io| {
            if io.recv(&mut [0; 16])? == 0 {
                return Ok(());
            }
            io.event_loop().stop();
            Err(Error::ExitNow)
        });
        event_loop.run().unwrap_err();
        drop(peer);
        event_loop.run().unwrap();
        assert!(event_loop.is_empty(), "the second run has not run");
    });
}

#[test]
fn the_exit_error_passes_through_every_handler() {
    type Build = fn(Probe) -> Probe;
    let cases: [(&str, Build); 5] = [
        ("read", |probe| probe.on_read(|_| Err(Error::ExitNow))),
        ("write", |probe| probe.on_write(|_| Err(Error::ExitNow))),
        ("eof", |probe| probe.on_eof(|_| Err(Error::ExitNow))),
        ("close", |probe| probe.on_close(|_| Err(Error::ExitNow))),
        ("error", |probe| {
            let probe = probe.on_read(|_| Err(Error::other("an error")));
            probe.on_error(|_, _| Err(Error::ExitNow))
        }),
    ];
    with_every_loop(|event_loop| {
        for (name, build) in cases {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (probe, seen) = Probe::new();
            seen.wants_write.set(name == "write");
            let channel = Dispatcher::new(ours, build(probe)).unwrap();
            event_loop.add(channel).unwrap();
            if name != "write" {
                drop(theirs);
            }
            let error = event_loop.run().unwrap_err();
            assert!(matches!(error, Error::ExitNow), "{name}: {error}");
            assert_eq!(seen.events().last(), Some(&name));
            event_loop.close_all(false).unwrap();
        }
    });
}

#[test]
fn what_became_due_before_the_exit_error_is_done_when_the_loop_runs_again() {
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| match io.recv(&mut [0; 10])? {
            0 => Err(Error::ExitNow),
            _ => Ok(()),
        });
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        drop(theirs);
        assert!(matches!(event_loop.run(), Err(Error::ExitNow)));
        assert_eq!(seen.take(), ["read"]);
        event_loop.run().unwrap();
        assert_eq!(seen.take(), ["eof", "close"]);
    });
}
