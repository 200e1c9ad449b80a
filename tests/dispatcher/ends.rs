//! The end of a channel: `handle_close` once, and nothing afterwards.

use std::cell::Cell;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::{
    Probe, Seen, settle, turn_once, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{ChannelId, Dispatcher, DispatcherWithSend, Error, EventLoop, Handler, Io, Result};

type Id = ChannelId<Dispatcher<Probe>>;

fn add(event_loop: &mut EventLoop, stream: UnixStream, probe: Probe) -> Id {
    event_loop
        .add(Dispatcher::new(stream, probe).unwrap())
        .unwrap()
}

#[test]
fn handle_close_runs_once_however_many_things_end_the_channel() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        seen.wants_write.set(true);
        // The input ends, a send fails, and the handler fails, all in one pass.
        let probe = probe
            .on_read(|io| {
                io.recv(&mut [0; 64])?;
                io.recv(&mut [0; 64])?;
                io.send(b"nobody is there")?;
                io.fail(Error::other("a reason of the handler's own"));
                io.close_when_done();
                Err(Error::other("one more"))
            })
            .on_close(|io| {
                io.fail(Error::other("too late"));
                io.close_when_done();
                Err(Error::other("and another"))
            });
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        let id = add(event_loop, ours, probe);
        turn_until_empty(event_loop);
        settle(event_loop);
        assert_eq!(seen.count("close"), 1, "{:?}", seen.events());
        assert!(seen.count("eof") <= 1, "{:?}", seen.events());
        assert_eq!(seen.events().last(), Some(&"error"), "that of handle_close");
        assert!(event_loop.get(id).is_none());
    });
}

#[test]
fn after_close_in_a_handler_nothing_of_the_channel_runs() {
    type Ending = fn(&mut Io<'_>) -> Result<()>;
    let endings: [(&str, Ending); 4] = [
        ("close, Ok", |io| {
            io.close();
            Ok(())
        }),
        ("recv to the end, then close", |io| {
            while io.recv(&mut [0; 64])? > 0 {}
            io.close();
            Ok(())
        }),
        ("fail, then close", |io| {
            io.fail(Error::other("never heard of"));
            io.close();
            Ok(())
        }),
        ("abort", |io| {
            io.abort();
            Ok(())
        }),
    ];
    with_every_loop(|event_loop| {
        for (name, ending) in endings {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"data").unwrap();
            theirs.shutdown(Shutdown::Write).unwrap();
            let (probe, seen) = Probe::new();
            seen.wants_write.set(true);
            add(event_loop, ours, probe.on_read(ending));
            turn_once(event_loop);
            assert!(event_loop.is_empty(), "{name}");
            settle(event_loop);
            assert_eq!(seen.events(), ["read"], "{name}");
        }
    });
}

type ByTheLoop = fn(&mut EventLoop);

/// The ways in which a handler can close its own channel through the loop.
const BY_THE_LOOP: [(&str, ByTheLoop); 2] = [
    ("close of its id", |event_loop| {
        let me: Id = event_loop.serving().unwrap();
        assert!(event_loop.close(me).unwrap());
    }),
    ("close_all", |event_loop| {
        event_loop.close_all(false).unwrap();
    }),
];

#[test]
fn after_a_close_by_the_loop_no_further_event_of_the_pass_is_delivered() {
    with_every_loop(|event_loop| {
        for (name, close) in BY_THE_LOOP {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"data").unwrap();
            let (probe, seen) = Probe::new();
            seen.wants_write.set(true);
            let probe = probe.on_read(move |io| {
                close(io.event_loop());
                Ok(())
            });
            add(event_loop, ours, probe);
            turn_once(event_loop);
            assert!(event_loop.is_empty(), "{name}");
            assert_eq!(seen.events(), ["read"], "{name}");
        }
    });
}

#[test]
fn after_a_close_by_the_loop_an_end_that_was_found_before_is_not_told() {
    with_every_loop(|event_loop| {
        for (name, close) in BY_THE_LOOP {
            let (ours, theirs) = UnixStream::pair().unwrap();
            drop(theirs);
            let (probe, seen) = Probe::new();
            let probe = probe.on_read(move |io| {
                assert_eq!(io.recv(&mut [0; 64])?, 0);
                close(io.event_loop());
                Ok(())
            });
            add(event_loop, ours, probe);
            turn_once(event_loop);
            assert!(event_loop.is_empty(), "{name}");
            assert_eq!(seen.events(), ["read"], "{name}");
        }
    });
}

#[test]
fn after_a_close_by_the_loop_an_error_of_the_handler_is_not_told() {
    with_every_loop(|event_loop| {
        for (name, close) in BY_THE_LOOP {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"data").unwrap();
            let (probe, seen) = Probe::new();
            let probe = probe.on_read(move |io| {
                close(io.event_loop());
                Err(Error::other("after the end"))
            });
            add(event_loop, ours, probe);
            turn_once(event_loop);
            assert!(event_loop.is_empty(), "{name}");
            assert_eq!(seen.events(), ["read"], "{name}");
        }
    });
}

#[test]
fn a_listener_that_is_closed_while_it_accepts_accepts_no_more() {
    type Closing = fn(&mut Io<'_>);
    let closings: [(&str, Closing); 3] = [
        ("close", |io| io.close()),
        (BY_THE_LOOP[0].0, |io| BY_THE_LOOP[0].1(io.event_loop())),
        (BY_THE_LOOP[1].0, |io| BY_THE_LOOP[1].1(io.event_loop())),
    ];
    with_every_loop(|event_loop| {
        for (name, close) in closings {
            let (probe, seen) = Probe::new();
            let probe = probe.on_accepted(move |io, _, _| {
                close(io);
                Ok(())
            });
            let server = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
            let port = server.local_addr().unwrap().port().unwrap();
            let clients: Vec<_> = (0..3)
                .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
                .collect();
            event_loop.add(server).unwrap();
            turn_until(event_loop, "accepted", || seen.heard("accepted"));
            settle(event_loop);
            assert!(event_loop.is_empty(), "{name}");
            assert_eq!(seen.events(), ["accepted"], "{name}");
            drop(clients);
        }
    });
}

#[test]
fn a_channel_closed_by_another_one_in_the_same_pass_hears_nothing() {
    with_every_loop(|event_loop| {
        let ids: Rc<Cell<Option<[Id; 2]>>> = Rc::default();
        let mut both: Vec<(Id, Rc<Seen>, UnixStream)> = Vec::new();
        for me in 0..2 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"data").unwrap();
            let (probe, seen) = Probe::new();
            let ids = Rc::clone(&ids);
            let probe = probe.on_read(move |io| {
                let other = ids.get().unwrap()[1 - me];
                // Reached as the other's owner would, by its own method.
                if let Some(other) = io.event_loop().get_mut(other) {
                    other.close();
                }
                Ok(())
            });
            both.push((add(event_loop, ours, probe), seen, theirs));
        }
        ids.set(Some([both[0].0, both[1].0]));
        turn_once(event_loop);
        assert_eq!(event_loop.len(), 1);
        let mut events = [both[0].1.events(), both[1].1.events()];
        events.sort();
        assert_eq!(events, [vec![], vec!["read"]]);
    });
}

#[test]
fn a_channel_closed_from_outside_is_gone_and_hears_nothing() {
    with_every_loop(|event_loop| {
        for by_id in [true, false] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"data").unwrap();
            let (probe, seen) = Probe::new();
            let id = add(event_loop, ours, probe);
            if by_id {
                assert!(event_loop.close(id).unwrap());
                assert!(event_loop.is_empty());
            } else {
                event_loop.get_mut(id).unwrap().close();
            }
            settle(event_loop);
            assert!(event_loop.is_empty());
            assert!(seen.events().is_empty());
            // The descriptor is closed, too: its peer reads to the end.
            let mut rest = [0; 16];
            let end = std::io::Read::read(&mut theirs, &mut rest);
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        }
    });
}

#[test]
fn the_channel_is_closed_after_handle_close_whatever_that_does() {
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let (probe, seen) = Probe::new();
        // Neither calls close() nor lets it be over.
        let probe = probe.on_close(|io| {
            assert!(io.as_fd().is_some(), "still open while it runs");
            Err(Error::other("go on!"))
        });
        let probe = probe.on_error(|_, _| Ok(()));
        add(event_loop, ours, probe);
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["read", "eof", "close", "error"]);
    });
}

#[test]
fn close_when_done_ends_the_channel_when_its_output_is_written() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
        let data = vec![b'd'; 1 << 20];
        channel.send(&data).unwrap();
        channel.close_when_done();
        channel.send(b"what comes behind it is not sent").unwrap();
        assert!(channel.pending() > 0);
        event_loop.add(channel).unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            std::io::Read::read_to_end(&mut theirs, &mut got).map(|_| got)
        });
        turn_until_empty(event_loop);
        assert!(reader.join().unwrap().unwrap() == data);
        assert_eq!(seen.count("close"), 1);
        assert_eq!(seen.reason(), None);
    });
}

#[test]
fn raised_watermarks_end_congestion_with_a_call_of_handle_drain() {
    struct Waits(Rc<Cell<usize>>);
    impl Handler for Waits {
        fn handle_drain(&mut self, _: &mut Io<'_>) -> Result<()> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let drains = Rc::new(Cell::new(0));
        let mut channel = DispatcherWithSend::new(ours, Waits(Rc::clone(&drains))).unwrap();
        channel.send(&vec![0; 1 << 20]).unwrap();
        assert!(channel.is_congested());
        channel.set_watermarks(2 << 20, 4 << 20);
        assert!(!channel.is_congested());
        event_loop.add(channel).unwrap();
        settle(event_loop);
        assert_eq!(drains.get(), 1);
    });
}
