//! No channel starves.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::clock::with_clocks;
use crate::common::{PATIENCE, Probe, TempDir, on_every_backend, turn_once, with_every_loop};
use fdloop::{
    AsyncChat, ChatHandler, ChatIo, Dispatcher, Error, EventLoop, FileDispatcher, FileWrapper,
    Result, RunOptions, View,
};

#[test]
fn each_ready_channel_is_served_once_a_pass() {
    with_every_loop(|event_loop| {
        let zero = File::open("/dev/zero").unwrap();
        let (probe, firehose) = Probe::new();
        event_loop
            .add(FileDispatcher::new(&zero, probe).unwrap())
            .unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[b'x'; 50]).unwrap();
        let (probe, quiet) = Probe::new();
        let probe = probe.on_read(|io| io.recv(&mut [0; 10]).map(drop));
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        for pass in 1..=5 {
            assert_eq!(turn_once(event_loop), 2);
            assert_eq!((firehose.count("read"), quiet.count("read")), (pass, pass));
        }
    });
}

#[test]
fn a_timer_and_a_quiet_peer_are_served_in_their_pass_beside_a_firehose() {
    const PERIOD: Duration = Duration::from_millis(10);
    with_clocks(|event_loop, clock| {
        let zero = File::open("/dev/zero").unwrap();
        let (probe, firehose) = Probe::new();
        event_loop
            .add(FileDispatcher::new(&zero, probe).unwrap())
            .unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, quiet) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let ticks = event_loop.keep(0);
        event_loop.call_every(PERIOD, move |event_loop| {
            *event_loop.state_mut(ticks).unwrap() += 1;
            Ok(())
        });
        let mut passes = 0;
        for tick in 1..=100 {
            // The firehose alone.
            for _ in 0..10 {
                assert_eq!(event_loop.turn(None).unwrap(), 1);
            }
            assert_eq!(event_loop.state(ticks), Some(&(tick - 1)), "not early");
            clock.set(clock.get() + PERIOD);
            theirs.write_all(b"x").unwrap();
            assert_eq!(event_loop.turn(None).unwrap(), 2);
            passes += 11;
            assert_eq!(event_loop.state(ticks), Some(&tick), "in the first pass");
            assert_eq!(quiet.received_len(), tick);
            assert_eq!(firehose.count("read"), passes);
        }
    });
}

#[test]
fn a_flood_of_connections_leaves_time_for_the_channels_that_exist() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let dir = TempDir::new();
        let (probe, server) = Probe::new();
        let listener = Dispatcher::listen(dir.join("socket"), probe).unwrap();
        event_loop.add(listener).unwrap();
        let mut flood = Vec::new();
        for _ in 0..300 {
            flood.push(UnixStream::connect(dir.join("socket")).unwrap());
        }
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, other) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();

        let mut passes = 0;
        let mut before = 0;
        while before < 300 {
            theirs.write_all(b"x").unwrap();
            turn_once(&mut event_loop);
            passes += 1;
            assert_eq!(other.received_len(), passes, "served in every pass");
            let accepted = server.count("accepted");
            let now = accepted - before;
            assert!(now > 0 && now <= 100, "{now} in one pass");
            before = accepted;
        }
        assert!(passes >= 3);
        assert_eq!(event_loop.turn(Some(Duration::ZERO)).unwrap(), 0);
    });
}

#[test]
fn a_channel_that_is_always_ready_to_write_starves_no_other() {
    with_every_loop(|event_loop| {
        let null = File::options().write(true).open("/dev/null").unwrap();
        let (probe, writer) = Probe::new();
        writer.wants_read.set(false);
        writer.wants_write.set(true);
        let probe = probe.on_write(|io| io.send(&[0; 4096]).map(drop));
        event_loop
            .add(FileDispatcher::new(&null, probe).unwrap())
            .unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, reader) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        for _ in 0..10 {
            theirs.write_all(b"x").unwrap();
            event_loop.run_with(RunOptions::new().count(1)).unwrap();
        }
        assert_eq!(writer.count("write"), 10);
        assert_eq!(reader.count("read"), 10);
    });
}

/// The time for which the pollers may put off the event of a descriptor that was idle.
const BOUND: Duration = Duration::from_millis(2);

#[test]
fn a_quiet_channel_among_many_is_served_while_a_few_are_always_busy() {
    with_every_loop(|event_loop| {
        let mut busy = Vec::new();
        for _ in 0..3 {
            let (probe, seen) = Probe::new();
            let zero = File::open("/dev/zero").unwrap();
            event_loop
                .add(FileDispatcher::new(&zero, probe).unwrap())
                .unwrap();
            busy.push(seen);
        }
        let mut quiet = Vec::new();
        for _ in 0..150 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (probe, seen) = Probe::new();
            event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            quiet.push((seen, theirs));
        }
        for _ in 0..50 {
            turn_once(event_loop);
        }
        for i in [0, 77, 149] {
            let (seen, theirs) = &mut quiet[i];
            theirs.write_all(b"me too").unwrap();
            let written = Instant::now();
            while !seen.heard("read") {
                let overdue = written.elapsed() > BOUND;
                turn_once(event_loop);
                assert!(!overdue || seen.heard("read"), "it starves");
            }
            assert_eq!(seen.received(), b"me too");
        }
        // And no channel got the bytes of another.
        let served = quiet.iter().filter(|(seen, _)| !seen.events().is_empty());
        assert_eq!(served.count(), 3);
        assert!(busy.iter().all(|seen| seen.count("read") >= 50));
    });
}

#[test]
fn many_channels_that_are_ready_are_all_served() {
    with_every_loop(|event_loop| {
        let mut all = Vec::new();
        for _ in 0..200 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (probe, seen) = Probe::new();
            event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            all.push((seen, theirs));
        }
        // Ever others are active, so that none is so for long.
        for round in 0..40 {
            for (i, (_, theirs)) in all.iter_mut().enumerate() {
                if (i * 7 + round) % 5 == 0 {
                    theirs.write_all(b"x").unwrap();
                }
            }
            let lacking = || -> usize {
                let sent = |i: usize| (0..=round).filter(|r| (i * 7 + r) % 5 == 0).count();
                let due = all.iter().enumerate();
                due.map(|(i, (seen, _))| sent(i) - seen.received_len())
                    .sum()
            };
            let mut passes = 0;
            while lacking() > 0 {
                passes += 1;
                assert!(passes <= 64, "{} bytes were not read", lacking());
                turn_once(event_loop);
            }
        }
        assert_eq!(event_loop.turn(Some(Duration::ZERO)).unwrap(), 0);
    });
}

/// Counts the calls of its `handle_drain`, in which it congests its output again.
struct Restless(Rc<Cell<usize>>);

/// More than there may be in an output that is not congested.
const CONGESTING: usize = 70_000;

impl ChatHandler for Restless {
    fn readable(&self, _: &View<'_>) -> bool {
        false
    }

    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }

    fn handle_drain(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.0.set(self.0.get() + 1);
        if self.0.get() == 1_000 {
            // There would be no end to it.
            return Err(Error::ExitNow);
        }
        io.push(vec![b'x'; CONGESTING])
    }
}

#[test]
fn a_chat_that_fills_its_output_whenever_it_drains_starves_no_other() {
    with_every_loop(|event_loop| {
        let null = File::options().write(true).open("/dev/null").unwrap();
        let drains = Rc::default();
        let file = FileWrapper::new(null).unwrap();
        let mut chat = AsyncChat::over(file, Restless(Rc::clone(&drains)));
        chat.push(vec![b'x'; CONGESTING]).unwrap();
        event_loop.add(chat).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, reader) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();

        let mut before = 0;
        for pass in 1..=10 {
            theirs.write_all(b"x").unwrap();
            event_loop.turn(Some(PATIENCE)).unwrap();
            let times = drains.get() - before;
            assert!(times <= 3, "handle_drain was called {times} times");
            assert_eq!(reader.received_len(), pass, "served in every pass");
            before += times;
        }
        assert!(before > 0, "handle_drain was never called");
    });
}
