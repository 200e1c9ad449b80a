//! A listener that was made with the last descriptor, so that it has none to spare
//! for refusing with. Runs in a process of its own, whose limit it lowers.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::common::{Probe, in_own_process, on_every_backend, this_test, turn_until};
use fdloop::{Dispatcher, EventLoop};
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

#[test]
fn a_listener_made_with_the_last_descriptor_neither_spins_nor_stays_deaf() {
    in_own_process(this_test!(), listen_with_the_last_descriptor);
}

fn listen_with_the_last_descriptor() {
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let clients = [(); 3].map(|()| {
            let flags = SockFlag::empty();
            socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap()
        });
        let mut hogs = take_all();
        hogs.pop();
        let (probe, seen) = Probe::new();
        let listener = Dispatcher::listen((Ipv4Addr::LOCALHOST, 0), probe).unwrap();
        let port = listener.local_addr().unwrap().port().unwrap();
        let id = event_loop.add(listener).unwrap();

        // The kernel makes these, whether they are accepted or not.
        let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        for client in &clients {
            connect(client.as_raw_fd(), &address).unwrap();
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
        assert!(seen.events().is_empty(), "{:?}", seen.events());
        assert!(event_loop.get(id).unwrap().accepting());

        // As soon as there are descriptors again, connections are accepted: those that
        // still wait, or else one that comes now.
        drop(hogs);
        let flags = SockFlag::empty();
        let late = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
        connect(late.as_raw_fd(), &address).unwrap();
        turn_until(&mut event_loop, "accepted", || seen.heard("accepted"));
    });
}
