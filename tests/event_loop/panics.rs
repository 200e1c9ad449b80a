//! The effects of panics, in handlers and in predicates.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::common::{Probe, on_every_backend, settle, turn_once, turn_until, with_every_loop};
use fdloop::{Backend, Channel, Dispatcher, Error, EventLoop, Handler, Io, Result, View};

/// A channel that has something to read.
fn add_reader(event_loop: &mut EventLoop, probe: Probe) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    theirs
}

fn catching(backend: Backend) -> EventLoop {
    let builder = EventLoop::builder().backend(backend);
    builder.catch_panics(true).build().unwrap()
}

/// Runs `test`, and gives the panic that is meant to leave it.
fn panics_expected<R>(test: impl FnOnce() -> R) -> std::thread::Result<R> {
    catch_unwind(AssertUnwindSafe(test))
}

#[test]
fn a_panic_is_given_to_handle_error_in_a_loop_that_catches_them() {
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let (probe, seen) = Probe::new();
        let kind = Rc::new(Cell::new(false));
        let found = Rc::clone(&kind);
        let probe =
            probe
                .on_read(|_| panic!("the {} is off", "spam"))
                .on_error(move |io, error| {
                    found.set(matches!(&error, Error::Panicked(panic) if panic.message() == "the spam is off"));
                    io.fail(error);
                    Ok(())
                });
        let _theirs = add_reader(&mut event_loop, probe);
        let (other, other_seen) = Probe::new();
        let _others = add_reader(&mut event_loop, other);
        turn_until(&mut event_loop, "both are served", || {
            seen.heard("close") && other_seen.heard("read")
        });
        assert!(kind.get(), "{:?}", seen.errors());
        assert_eq!(seen.events(), ["read", "error", "close"]);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn a_caught_panic_may_be_forgiven() {
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let (probe, seen) = Probe::new();
        let mut panicked = false;
        let probe = probe
            .on_read(move |io| {
                assert!(std::mem::replace(&mut panicked, true), "once");
                io.recv(&mut [0; 16]).map(drop)
            })
            .on_error(|_, _| Ok(()));
        let _theirs = add_reader(&mut event_loop, probe);
        settle(&mut event_loop);
        assert_eq!(seen.events(), ["read", "error", "read"]);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn a_panic_in_handle_error_removes_the_channel() {
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_read(|_| Err(Error::other("an error")))
            .on_error(|_, _| panic!("in handle_error"));
        let _theirs = add_reader(&mut event_loop, probe);
        turn_until(&mut event_loop, "the error", || seen.heard("error"));
        settle(&mut event_loop);
        assert!(event_loop.is_empty());
    });
}

#[test]
fn a_panic_in_handle_close_does_not_keep_the_channel_alive() {
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let (probe, seen) = Probe::new();
        let probe = probe.on_close(|_| panic!("in handle_close"));
        drop(add_reader(&mut event_loop, probe));
        turn_until(&mut event_loop, "the end", || seen.heard("close"));
        settle(&mut event_loop);
        assert_eq!(seen.count("close"), 1);
        assert!(event_loop.is_empty(), "a channel after its end");
    });
}

#[test]
fn handle_close_of_a_channel_is_not_called_again_after_it_panicked() {
    struct Closing(UnixStream, Rc<Cell<u32>>);
    impl AsRawFd for Closing {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }
    }
    impl Channel for Closing {
        fn handle_read_event(&mut self, _: &mut EventLoop) -> Result<()> {
            Err(io::Error::from_raw_os_error(libc::ECONNRESET).into())
        }
        fn handle_close(&mut self, _: &mut EventLoop, _: Option<Error>) -> Result<()> {
            self.1.set(self.1.get() + 1);
            panic!("in handle_close");
        }
    }
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let closed = Rc::new(Cell::new(0));
        event_loop.add(Closing(ours, Rc::clone(&closed))).unwrap();
        settle(&mut event_loop);
        assert!(event_loop.is_empty());
        assert_eq!(closed.get(), 1);
    });
}

#[test]
fn a_panic_passes_through_a_loop_that_does_not_catch_them_and_the_others_live_on() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|_| panic!("through"));
        let _theirs = add_reader(event_loop, probe);
        let mut others = Vec::new();
        for _ in 0..3 {
            let (probe, seen) = Probe::new();
            others.push((add_reader(event_loop, probe), seen));
        }
        let panic = panics_expected(|| event_loop.run()).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"through"));
        assert_eq!(seen.events(), ["read"], "its state is unknown");
        assert_eq!(event_loop.len(), 3, "its channel is closed");
        for (mut theirs, seen) in others {
            theirs.write_all(b"and on").unwrap();
            turn_until(event_loop, "all was read", || seen.received_len() == 7);
            drop(theirs);
            turn_until(event_loop, "the end", || seen.heard("close"));
        }
        event_loop.run().unwrap();
    });
}

/// A handler whose predicates panic on demand.
struct Doubtful {
    panics: Rc<Cell<bool>>,
    told: Rc<RefCell<Vec<String>>>,
}

impl Handler for Doubtful {
    fn readable(&self, _: &View<'_>) -> bool {
        assert!(!self.panics.get(), "who knows");
        true
    }
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        self.told.borrow_mut().push(error.to_string());
        io.fail(error);
        Ok(())
    }
    fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
        self.told.borrow_mut().push("close".to_owned());
        Ok(())
    }
}

type Told = Rc<RefCell<Vec<String>>>;

fn add_doubtful(event_loop: &mut EventLoop) -> (Rc<Cell<bool>>, Told, UnixStream) {
    let (panics, told) = (Rc::<Cell<bool>>::default(), Told::default());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let doubtful = Doubtful {
        panics: Rc::clone(&panics),
        told: Rc::clone(&told),
    };
    event_loop
        .add(Dispatcher::new(ours, doubtful).unwrap())
        .unwrap();
    (panics, told, theirs)
}

#[test]
fn a_panicking_predicate_ends_its_channel_in_a_loop_that_catches_panics() {
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let (panics, told, _theirs) = add_doubtful(&mut event_loop);
        let (other, other_seen) = Probe::new();
        let _others = add_reader(&mut event_loop, other);
        settle(&mut event_loop);
        panics.set(true);
        settle(&mut event_loop);
        assert_eq!(*told.borrow(), ["a handler panicked: who knows", "close"]);
        assert_eq!(event_loop.len(), 1);
        assert_eq!(other_seen.events(), ["read"]);
    });
}

/// A handler that counts how often it is asked, and panics the first time it is asked after a read
/// if it is to.
#[derive(Default)]
struct Asked {
    times: Rc<Cell<u32>>,
    errors: Rc<Cell<u32>>,
    panics: bool,
    has_read: Cell<bool>,
}

impl Handler for Asked {
    fn readable(&self, _: &View<'_>) -> bool {
        self.times.set(self.times.get() + 1);
        assert!(!self.has_read.take() || !self.panics, "after the read");
        true
    }
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.has_read.set(true);
        io.recv(&mut [0; 1]).map(drop)
    }
    fn handle_error(&mut self, _: &mut Io<'_>, _: Error) -> Result<()> {
        self.errors.set(self.errors.get() + 1);
        Ok(())
    }
}

#[test]
fn a_predicate_that_panics_after_a_read_is_one_error_and_the_end_of_the_channel() {
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let asked = Asked {
            panics: true,
            ..Asked::default()
        };
        let errors = Rc::clone(&asked.errors);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        event_loop
            .add(Dispatcher::new(ours, asked).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        settle(&mut event_loop);
        assert_eq!(errors.get(), 1);
        // It cannot be watched, even though the error was forgiven.
        assert!(event_loop.is_empty());
    });
}

#[test]
fn a_loop_that_catches_panics_asks_a_channel_as_often_as_another() {
    on_every_backend(|backend| {
        let times = |mut event_loop: EventLoop| {
            let asked = Asked::default();
            let times = Rc::clone(&asked.times);
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            event_loop
                .add(Dispatcher::new(ours, asked).unwrap())
                .unwrap();
            for _ in 0..10 {
                theirs.write_all(b"x").unwrap();
                turn_once(&mut event_loop);
            }
            times.get()
        };
        let other = EventLoop::with_backend(backend).unwrap();
        assert_eq!(times(catching(backend)), times(other));
    });
}

#[test]
fn a_channel_whose_number_panics_after_an_event_is_removed() {
    /// Gives up its descriptor at the first event.
    struct Careless(Option<UnixStream>);
    impl AsRawFd for Careless {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_ref().expect("no descriptor").as_raw_fd()
        }
    }
    impl Channel for Careless {
        fn handle_read_event(&mut self, _: &mut EventLoop) -> Result<()> {
            self.0 = None;
            Ok(())
        }
    }
    on_every_backend(|backend| {
        for mut event_loop in [catching(backend), EventLoop::with_backend(backend).unwrap()] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            event_loop.add(Careless(Some(ours))).unwrap();
            let panicked = panics_expected(|| settle(&mut event_loop)).is_err();
            assert!(panicked);
            assert!(event_loop.is_empty());
        }
    });
}

#[test]
fn a_panicking_predicate_does_not_keep_the_loop_from_being_run_again() {
    with_every_loop(|event_loop| {
        let (panics, _told, _theirs) = add_doubtful(event_loop);
        let (other, seen) = Probe::new();
        let _others = add_reader(event_loop, other);
        panics.set(true);
        // Some pass meets the panic; the ones after it serve those who are left.
        panics_expected(|| settle(event_loop)).unwrap_err();
        panics_expected(|| settle(event_loop)).expect("it panicked once more");
        assert_eq!(seen.events(), ["read"]);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn a_pass_can_be_made_again_after_a_panic_left_one() {
    with_every_loop(|event_loop| {
        let _theirs = add_reader(event_loop, Probe::silent().on_read(|_| panic!("leave")));
        panics_expected(|| turn_once(event_loop)).unwrap_err();
        // Neither "in the middle of a pass" nor anything left of it.
        assert_eq!(event_loop.turn(Some(std::time::Duration::ZERO)).unwrap(), 0);
        assert!(event_loop.serving::<Dispatcher<Probe>>().is_none());
    });
}

#[test]
fn handle_connect_is_called_again_after_a_panic_that_is_forgiven_as_after_an_error() {
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (probe, seen) = Probe::new();
        let mut calls = 0;
        let probe = probe
            .on_connect(move |_| {
                calls += 1;
                assert!(calls > 1, "the first one fails");
                Ok(())
            })
            .on_error(|_, _| Ok(()));
        let address = listener.local_addr().unwrap();
        let id = event_loop
            .add(Dispatcher::connect(address, probe).unwrap())
            .unwrap();
        turn_until(&mut event_loop, "it is called again", || {
            seen.count("connect") == 2
        });
        settle(&mut event_loop);
        assert_eq!(seen.events(), ["connect", "error", "connect"]);
        assert!(event_loop.get(id).unwrap().connected());
    });
}

/// Panics when it is dropped.
struct Brittle(Probe);

impl Drop for Brittle {
    fn drop(&mut self) {
        panic!("while it is dropped");
    }
}

impl Handler for Brittle {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.0.handle_read(io)
    }
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
}

#[test]
fn a_panic_of_a_handler_that_is_dropped_is_caught_however_its_channel_goes() {
    on_every_backend(|backend| {
        let mut event_loop = catching(backend);
        let add = |event_loop: &mut EventLoop| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let channel = Dispatcher::new(ours, Brittle(Probe::silent())).unwrap();
            (event_loop.add(channel).unwrap(), theirs)
        };
        let (probe, seen) = Probe::new();
        let mut theirs = add_reader(&mut event_loop, probe);

        // By its own end.
        drop(add(&mut event_loop));
        settle(&mut event_loop);
        // By its id.
        let (id, _peer) = add(&mut event_loop);
        assert!(event_loop.close(id).unwrap());
        theirs.write_all(b"y").unwrap();
        settle(&mut event_loop);
        assert_eq!(seen.received(), b"xy");
        assert_eq!(event_loop.len(), 1);
        // And with the loop.
        let (_, mut peer) = add(&mut event_loop);
        drop(event_loop);
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    });
}
