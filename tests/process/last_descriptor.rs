//! A listener that was made with the last descriptor, so that it has none to spare
//! for refusing with. Runs in a process of its own, whose limit it lowers.

use std::cell::Cell;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{Probe, in_own_process, on_every_backend, this_test, turn_until};
use fdloop::{Dispatcher, Error, EventLoop, Handler, Io, Result};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

/// Takes every descriptor that the process may still have.
fn take_all() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                return files;
            }
        }
    }
}

/// Connects to `port` of this machine.
fn dial(port: u16) -> OwnedFd {
    let flags = SockFlag::empty();
    let client = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    connect(client.as_raw_fd(), &address(port)).unwrap();
    client
}

fn address(port: u16) -> SockaddrIn {
    SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

#[test]
fn a_listener_made_with_the_last_descriptor_neither_spins_nor_stays_deaf() {
    in_own_process(this_test!(), || {
        setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
        on_every_backend(|backend| {
            let (probe, seen) = Probe::new();
            let event_loop = &mut EventLoop::with_backend(backend).unwrap();
            listen_with_the_last_descriptor(event_loop, probe, || {
                let events = seen.events();
                assert!(
                    events.iter().all(|event| *event == "accepted"),
                    "{events:?}"
                );
                !events.is_empty()
            });
        });
    });
}

/// Accepts by itself, and fails or panics if no connection can be accepted.
struct Impatient {
    accepted: Rc<Cell<bool>>,
    panics: bool,
}

impl Handler for Impatient {
    fn handle_accept(&mut self, io: &mut Io<'_>) -> Result<()> {
        match io.accept()? {
            Some(_) => self.accepted.set(true),
            None if self.panics => panic!("no connection"),
            None => return Err(Error::other("no connection")),
        }
        Ok(())
    }
    fn handle_error(&mut self, _: &mut Io<'_>, _: Error) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_listener_whose_handler_fails_when_nothing_can_be_accepted_does_not_stay_deaf() {
    in_own_process(this_test!(), || {
        setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
        on_every_backend(|backend| {
            for panics in [false, true] {
                let accepted = Rc::new(Cell::new(false));
                let handler = Impatient {
                    accepted: Rc::clone(&accepted),
                    panics,
                };
                let builder = EventLoop::builder().backend(backend).catch_panics(true);
                let event_loop = &mut builder.build().unwrap();
                listen_with_the_last_descriptor(event_loop, handler, || accepted.get());
            }
        });
    });
}

fn listen_with_the_last_descriptor(
    event_loop: &mut EventLoop,
    handler: impl Handler + 'static,
    accepted: impl Fn() -> bool,
) {
    let clients = [(); 3].map(|()| {
        let flags = SockFlag::empty();
        socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap()
    });
    let mut hogs = take_all();
    hogs.pop();
    let listener = Dispatcher::listen((Ipv4Addr::LOCALHOST, 0), handler).unwrap();
    let port = listener.local_addr().unwrap().port().unwrap();
    let id = event_loop.add(listener).unwrap();

    // The kernel makes these, whether they are accepted or not.
    for client in &clients {
        connect(client.as_raw_fd(), &address(port)).unwrap();
    }
    // It may try again now and then, but the loop mostly sleeps.
    let timeout = Duration::from_millis(20);
    let mut awake = 0;
    for _ in 0..30 {
        let begin = Instant::now();
        event_loop.turn(Some(timeout)).unwrap();
        awake += usize::from(begin.elapsed() < timeout);
    }
    assert!(awake <= 15, "{awake} of 30 passes did not sleep");
    assert!(!accepted());
    assert!(event_loop.get(id).unwrap().accepting());

    // As soon as there are descriptors again, connections are accepted: those that
    // still wait, or else one that comes now.
    drop(hogs);
    let _late = dial(port);
    turn_until(event_loop, "accepted", accepted);
}
