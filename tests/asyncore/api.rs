//! asyncore's `BaseTestAPI`: servers and clients over IPv4, IPv6 and Unix sockets.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use crate::common::{
    Probe, Seen, TempDir, fd_flags, on_every_backend, turn_until, turn_until_empty,
};
use fdloop::{
    Address, ChannelId, Dispatcher, Error, EventLoop, Family, Handler, Io, Result, SocketType, View,
};

type Id = ChannelId<Dispatcher<Probe>>;

/// A loop over one backend, and a family for its sockets.
struct World {
    event_loop: EventLoop,
    family: Family,
    dir: TempDir,
}

/// Runs `test` on every backend with every family of `families` that the machine
/// has.
#[track_caller]
fn with(families: &[Family], test: impl Fn(&mut World)) {
    on_every_backend(|backend| {
        for &family in families {
            if family == Family::Inet6 && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
                continue;
            }
            let mut world = World {
                event_loop: EventLoop::with_backend(backend).unwrap(),
                family,
                dir: TempDir::new(),
            };
            test(&mut world);
        }
    });
}

const ALL: &[Family] = &[Family::Inet, Family::Inet6, Family::Unix];
const INET: &[Family] = &[Family::Inet, Family::Inet6];

impl World {
    /// An address to bind.
    fn address(&self) -> Address {
        match self.family {
            Family::Inet => Address::Inet((Ipv4Addr::LOCALHOST, 0).into()),
            Family::Inet6 => Address::Inet((Ipv6Addr::LOCALHOST, 0).into()),
            _ => Address::Path(self.dir.join("socket")),
        }
    }

    /// A dispatcher over a new stream socket.
    fn create_socket(&self) -> Dispatcher<Probe> {
        let mut channel = Dispatcher::unconnected(Probe::silent());
        channel
            .create_socket(self.family, SocketType::Stream)
            .unwrap();
        channel
    }

    fn add<H: Handler + 'static>(&mut self, channel: Dispatcher<H>) -> ChannelId<Dispatcher<H>> {
        self.event_loop.add(channel).unwrap()
    }

    /// asyncore's `BaseServer`: listens, and makes a dispatcher of each connection
    /// it accepts.
    fn serve(&mut self, child: impl Fn(&mut Dispatcher<Probe>) + 'static) -> (Id, Address) {
        self.serve_with(Probe::silent, child)
    }

    fn serve_with(
        &mut self,
        make: impl Fn() -> Probe + 'static,
        child: impl Fn(&mut Dispatcher<Probe>) + 'static,
    ) -> (Id, Address) {
        let probe = Probe::silent().on_accepted(move |io, socket, _| {
            let mut dispatcher = Dispatcher::new(socket, make())?;
            child(&mut dispatcher);
            if !dispatcher.is_closed() {
                io.event_loop().add(dispatcher)?;
            }
            Ok(())
        });
        let server = Dispatcher::listen(self.address(), probe).unwrap();
        let address = server.local_addr().unwrap();
        (self.add(server), address)
    }

    fn connect(&mut self, address: Address, probe: Probe) -> Id {
        let client = Dispatcher::connect(address, probe).unwrap();
        self.add(client)
    }

    #[track_caller]
    fn turn_until(&mut self, what: &str, done: impl FnMut() -> bool) {
        turn_until(&mut self.event_loop, what, done);
    }

    #[track_caller]
    fn turn_until_heard(&mut self, seen: &Seen, event: &str) {
        self.turn_until(event, || seen.heard(event));
    }
}

#[test]
fn handle_connect_is_called_when_the_connection_stands() {
    with(ALL, |world| {
        let (_, address) = world.serve(|_| ());
        let (probe, seen) = Probe::new();
        world.connect(address, probe);
        world.turn_until_heard(&seen, "connect");
        assert_eq!(seen.events(), ["connect"]);
    });
}

#[test]
fn handle_accept_is_called_when_a_client_connects() {
    /// Does not accept, so it is called again and again.
    struct Listening(Rc<Cell<usize>>);
    impl Handler for Listening {
        fn handle_accept(&mut self, _: &mut Io<'_>) -> Result<()> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
        fn writable(&self, _: &View<'_>) -> bool {
            panic!("a listener is never asked whether it is writable");
        }
    }
    with(ALL, |world| {
        let calls = Rc::new(Cell::new(0));
        let server = Dispatcher::listen(world.address(), Listening(Rc::clone(&calls))).unwrap();
        let address = server.local_addr().unwrap();
        world.add(server);
        world.event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(calls.get(), 0, "nobody has connected yet");
        world.connect(address, Probe::silent());
        world.turn_until("handle_accept, twice", || calls.get() > 1);
    });
}

#[test]
fn handle_accepted_gets_the_socket_and_the_address_of_the_peer() {
    with(ALL, |world| {
        let (probe, seen) = Probe::new();
        let server = Dispatcher::listen(world.address(), probe).unwrap();
        let address = server.local_addr().unwrap();
        world.add(server);
        let client = world.connect(address, Probe::silent());
        world.turn_until_heard(&seen, "accepted");
        let accepted = seen.accepted.borrow();
        let (socket, peer) = &accepted[0];
        assert_eq!(socket.socket_type(), SocketType::Stream);
        let client = world.event_loop.get(client).unwrap();
        assert_eq!(*peer, client.local_addr().unwrap());
        assert_eq!(socket.peer_addr().unwrap(), *peer);
        if world.family == Family::Unix {
            assert_eq!(*peer, Address::Unnamed);
        }
        assert_eq!(seen.events(), ["accepted"]);
    });
}

#[test]
fn handle_read_is_called_when_data_came() {
    with(ALL, |world| {
        let (_, address) = world.serve(|child| {
            assert_eq!(child.send(&[b'x'; 1024]).unwrap(), 1024);
        });
        let (probe, seen) = Probe::new();
        world.connect(address, probe);
        world.turn_until("all came", || seen.received_len() == 1024);
        assert_eq!(seen.events()[..2], ["connect", "read"]);
    });
}

#[test]
fn handle_write_is_called_when_there_is_room() {
    with(ALL, |world| {
        let (_, address) = world.serve(|_| ());
        let (probe, seen) = Probe::new();
        seen.wants_write.set(true);
        world.connect(address, probe);
        world.turn_until_heard(&seen, "write");
        assert_eq!(seen.events(), ["connect", "write"]);
    });
}

#[test]
fn handle_close_is_called_when_the_other_end_closes() {
    with(ALL, |world| {
        let (server, address) = world.serve(|child| child.close());
        let (probe, seen) = Probe::new();
        let client = world.connect(address, probe);
        world.turn_until_heard(&seen, "close");
        assert_eq!(seen.events(), ["connect", "read", "eof", "close"]);
        assert_eq!(seen.reason(), None, "this was an end in order");
        assert!(world.event_loop.get(client).is_none());
        assert!(world.event_loop.get(server).is_some());
    });
}

#[test]
fn handle_close_is_called_when_a_send_finds_the_connection_broken() {
    with(ALL, |world| {
        // The peer closes with data unread, which resets the connection.
        let reads_and_closes = || {
            Probe::silent().on_read(|io| {
                io.recv(&mut [0; 128])?;
                io.close();
                Ok(())
            })
        };
        let (server, address) = world.serve_with(reads_and_closes, |_| ());
        let (probe, seen) = Probe::new();
        let probe = probe.on_write(|io| io.send(&[0; 128]).map(drop));
        seen.wants_read.set(false);
        seen.wants_write.set(true);
        let client = world.connect(address, probe);
        world.turn_until_heard(&seen, "close");
        let (errno, text) = seen.reason().unwrap();
        assert!(
            matches!(errno, Some(libc::EPIPE | libc::ECONNRESET)),
            "{text}"
        );
        assert_eq!((seen.count("close"), seen.count("error")), (1, 0));
        assert!(world.event_loop.get(client).is_none());
        world.event_loop.close(server).unwrap();
        turn_until_empty(&mut world.event_loop);
    });
}

#[test]
fn handle_expt_is_called_for_out_of_band_data() {
    with(INET, |world| {
        let (_, address) = world.serve(|child| {
            assert_eq!(child.send_oob(&[244]).unwrap(), 1);
        });
        let (probe, seen) = Probe::new();
        let probe = probe.on_expt(|io| {
            let mut buf = [0; 16];
            assert_eq!(io.recv_oob(&mut buf)?, 1);
            assert_eq!(buf[0], 244);
            io.close();
            Ok(())
        });
        world.connect(address, probe);
        world.turn_until_heard(&seen, "expt");
        assert_eq!(seen.count("error"), 0);
    });
}

#[test]
fn handle_error_is_called_with_the_error_of_a_handler() {
    with(ALL, |world| {
        let (_, address) = world.serve(|_| ());
        let (probe, seen) = Probe::new();
        seen.wants_write.set(true);
        let probe = probe
            .on_write(|_| Err(Error::other("division by zero")))
            .on_error(|io, error| {
                assert_eq!(error.to_string(), "division by zero");
                io.close();
                Ok(())
            });
        let client = world.connect(address, probe);
        world.turn_until_heard(&seen, "error");
        assert_eq!(seen.events(), ["connect", "write", "error"]);
        assert!(world.event_loop.get(client).is_none());
    });
}

#[test]
fn the_attributes_say_how_the_connection_stands() {
    with(ALL, |world| {
        let (server, address) = world.serve(|_| ());
        let (probe, seen) = Probe::new();
        let client = world.connect(address.clone(), probe);
        let listens = |world: &World| {
            let server = world.event_loop.get(server).unwrap();
            !server.connected() && server.accepting() && server.addr() == Some(&address)
        };
        assert!(listens(world));
        assert!(!world.event_loop.get(client).unwrap().accepting());

        world.turn_until_heard(&seen, "connect");
        assert!(listens(world));
        let channel = world.event_loop.get_mut(client).unwrap();
        assert!(channel.connected() && !channel.accepting() && !channel.connecting());
        assert_eq!(channel.addr(), Some(&address));

        channel.close();
        assert!(!channel.connected() && !channel.accepting() && channel.is_closed());
        assert!(listens(world));
        world.event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(world.event_loop.get(client).is_none());

        let channel = world.event_loop.get_mut(server).unwrap();
        channel.close();
        assert!(!channel.connected() && !channel.accepting());
    });
}

#[test]
fn create_socket_makes_one_that_is_close_on_exec_and_does_not_block() {
    with(ALL, |world| {
        let channel = world.create_socket();
        let socket = channel.socket().unwrap();
        assert_eq!(socket.socket_type(), SocketType::Stream);
        assert_eq!(socket.local_addr().unwrap().family(), world.family);
        assert_eq!(fd_flags(socket), (true, true));
    });
}

#[test]
fn bind_binds_and_says_when_the_address_is_in_use() {
    with(ALL, |world| {
        let create = || world.create_socket();
        let mut first = create();
        first.bind(world.address()).unwrap();
        first.listen(5).unwrap();
        let address = first.local_addr().unwrap();
        let error = create().bind(&address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    });
}

#[test]
fn set_reuse_addr_sets_the_option() {
    use nix::sys::socket::{getsockopt, sockopt::ReuseAddr};
    with(INET, |world| {
        let channel = world.create_socket();
        assert!(!getsockopt(channel.socket().unwrap(), ReuseAddr).unwrap());
        channel.socket().unwrap().set_reuse_addr().unwrap();
        assert!(getsockopt(channel.socket().unwrap(), ReuseAddr).unwrap());
    });
}

#[test]
fn a_client_that_is_gone_before_it_is_accepted_does_the_server_no_harm() {
    // CPython issue 10340.
    with(INET, |world| {
        let (server, address) = world.serve(|_| ());
        let Address::Inet(raw) = address else {
            panic!("{address}");
        };
        let hasty = TcpStream::connect(raw).unwrap();
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        nix::sys::socket::setsockopt(&hasty, nix::sys::socket::sockopt::Linger, &linger).unwrap();
        drop(hasty);
        for _ in 0..5 {
            world
                .event_loop
                .turn(Some(Duration::from_millis(5)))
                .unwrap();
        }
        assert!(world.event_loop.get(server).unwrap().accepting());
        let (probe, seen) = Probe::new();
        world.connect(raw.into(), probe);
        world.turn_until_heard(&seen, "connect");
        assert_eq!(seen.events(), ["connect"]);
    });
}

#[test]
fn a_server_over_a_listener_of_the_standard_library_accepts_too() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (probe, seen) = Probe::new();
        let server = Dispatcher::new(listener, probe).unwrap();
        assert!(server.accepting());
        event_loop.add(server).unwrap();
        TcpStream::connect(address)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        turn_until(&mut event_loop, "accepted", || seen.heard("accepted"));
    });
}
