//! Connections to names, which threads resolve.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;

use crate::common::{
    Probe, TempDir, fd_flags, settle, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{
    AsyncChat, ChatHandler, ChatIo, Dispatcher, DispatcherWithSend, EventLoop, Family, Resolver,
    Result, SocketType,
};

fn resolver(event_loop: &mut EventLoop) -> Resolver {
    Resolver::start(event_loop, 1).unwrap()
}

/// A listener, and its name.
fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("localhost:{port}"))
}

#[test]
fn a_channel_connects_to_a_name_under_the_number_that_it_was_added_with() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        let (listener, name) = listening();
        let (probe, seen) = Probe::new();
        let mut client = DispatcherWithSend::connect_by_name(&resolver, &name, probe).unwrap();
        assert!(client.connecting() && !client.connected());
        assert!(client.to_string().contains(&name));
        assert_eq!(client.send(b"early").unwrap(), 5);
        let id = event_loop.add(client).unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(seen.events()[0], "connect");
        let client = event_loop.get(id).unwrap();
        assert!(client.connected() && client.as_raw_fd() == id.fd());
        assert_eq!(fd_flags(client.socket().unwrap()), (true, true));
        assert!(client.socket().unwrap().nodelay().unwrap());
        let (mut accepted, peer) = listener.accept().unwrap();
        assert_eq!(client.local_addr().unwrap(), peer.into());
        let mut early = [0; 5];
        accepted.read_exact(&mut early).unwrap();
        assert_eq!(&early, b"early");
        drop(accepted);
        turn_until_empty(event_loop);
        assert_eq!((seen.count("connect"), seen.count("close")), (1, 1));
    });
}

#[test]
fn a_name_that_refuses_gives_one_error_and_no_handle_connect() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        let (listener, name) = listening();
        drop(listener);
        let (probe, seen) = Probe::new();
        let client = Dispatcher::connect_by_name(&resolver, name, probe).unwrap();
        event_loop.add(client).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["error", "close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::ECONNREFUSED));
    });
}

#[test]
fn a_name_that_cannot_be_resolved_gives_one_error_that_names_it() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        let (probe, seen) = Probe::new();
        let name = "no-such-host.invalid:80";
        let client = Dispatcher::connect_by_name(&resolver, name, probe).unwrap();
        event_loop.add(client).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["error", "close"]);
        let (_, text) = seen.reason().unwrap();
        assert!(text.contains("no-such-host.invalid"), "{text}");
    });
}

#[test]
fn an_address_fails_like_a_name_and_nonsense_at_once() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        let dir = TempDir::new();
        let path = dir.file("nobody");
        let (probe, seen) = Probe::new();
        let client = Dispatcher::connect_by_name(&resolver, path, probe).unwrap();
        event_loop.add(client).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["error", "close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::ENOENT));

        let nonsense = Dispatcher::connect_by_name(&resolver, "nonsense", Probe::silent());
        assert_eq!(nonsense.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn after_an_error_the_channel_can_try_another_name() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        let (listener, good) = listening();
        let (probe, seen) = Probe::new();
        let again = resolver.clone();
        let probe = probe.on_error(move |io, _| io.connect_by_name(&again, &good));
        let bad = "no-such-host.invalid:80";
        let client = Dispatcher::connect_by_name(&resolver, bad, probe).unwrap();
        let id = event_loop.add(client).unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(seen.events(), ["error", "connect"]);
        assert_eq!(event_loop.get(id).unwrap().as_raw_fd(), id.fd());
        listener.accept().unwrap();
    });
}

#[test]
fn a_channel_that_is_closed_meanwhile_is_told_nothing() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        for by_itself in [true, false] {
            let (listener, name) = listening();
            listener.set_nonblocking(true).unwrap();
            let (probe, seen) = Probe::new();
            let client = Dispatcher::connect_by_name(&resolver, name, probe).unwrap();
            let id = event_loop.add(client).unwrap();
            event_loop.with(id, |_, _| Ok(())).unwrap(); // the lookup begins
            if by_itself {
                event_loop.get_mut(id).unwrap().close();
            } else {
                assert!(event_loop.close(id).unwrap());
            }
            turn_until_empty(event_loop);
            event_loop.run().unwrap(); // the lookup keeps nothing going
            // Another lookup ends after the first, as there is one thread.
            let (_other, name) = listening();
            let (probe, later) = Probe::new();
            let client = Dispatcher::connect_by_name(&resolver, name, probe).unwrap();
            let id = event_loop.add(client).unwrap();
            turn_until(event_loop, "connected", || later.heard("connect"));
            event_loop.close(id).unwrap();
            assert!(seen.events().is_empty(), "{:?}", seen.events());
            listener.accept().unwrap_err();
        }
    });
}

#[test]
fn a_channel_that_is_removed_and_added_again_still_connects() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        let (_listener, name) = listening();
        let (probe, seen) = Probe::new();
        let client = Dispatcher::connect_by_name(&resolver, name, probe).unwrap();
        let id = event_loop.add(client).unwrap();
        event_loop.with(id, |_, _| Ok(())).unwrap();
        let client = event_loop.remove(id).unwrap();
        settle(event_loop);
        event_loop.add(client).unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(seen.events(), ["connect"]);
    });
}

#[test]
fn a_socket_that_the_program_has_bound_connects_from_there() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        let (listener, name) = listening();
        let (probe, seen) = Probe::new();
        let mut client = Dispatcher::unconnected(probe);
        client
            .create_socket(Family::Inet, SocketType::Stream)
            .unwrap();
        client.bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let bound = client.local_addr().unwrap();
        client.connect_by_name(&resolver, name).unwrap();
        let busy = client.connect_by_name(&resolver, "localhost:80");
        assert_eq!(busy.unwrap_err().kind(), ErrorKind::AlreadyExists);
        event_loop.add(client).unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert_eq!(bound, listener.accept().unwrap().1.into());
    });
}

#[test]
fn a_resolver_of_another_loop_is_an_error_of_the_channel() {
    with_every_loop(|event_loop| {
        let resolver = resolver(&mut EventLoop::new().unwrap());
        let (probe, seen) = Probe::new();
        let client = Dispatcher::connect_by_name(&resolver, "localhost:80", probe).unwrap();
        event_loop.add(client).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["error", "close"]);
        assert!(seen.errors()[0].contains("another loop"));
    });
}

/// Greets, and ends with the first line.
struct Greeter;

impl ChatHandler for Greeter {
    fn handle_connect(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        io.push("hello\n")
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        assert_eq!(io.take_data(), b"and you");
        io.close_when_done();
        Ok(())
    }
}

#[test]
fn a_chat_connects_to_a_name() {
    with_every_loop(|event_loop| {
        let resolver = resolver(event_loop);
        let (listener, name) = listening();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"and you\n").unwrap();
            std::io::read_to_string(stream).unwrap()
        });
        let mut chat = AsyncChat::connect_by_name(&resolver, name, Greeter).unwrap();
        chat.set_terminator("\n");
        event_loop.add(chat).unwrap();
        turn_until_empty(event_loop);
        assert_eq!(peer.join().unwrap(), "hello\n");
    });
}
