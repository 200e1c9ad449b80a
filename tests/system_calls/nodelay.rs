//! TCP sockets send at once by default.

use std::net::{TcpListener, TcpStream};

use crate::common::{Probe, this_test, traced_on_every_backend, turn_until, with_every_loop};
use fdloop::{
    Address, Backend, ChannelId, Dispatcher, DispatcherWithSend, EventLoop, Family, Socket,
    SocketType,
};

fn dial(address: &Address) -> TcpStream {
    TcpStream::connect(("127.0.0.1", address.port().unwrap())).unwrap()
}

/// A socket that `listener` accepts.
fn accepted_by(event_loop: &mut EventLoop, set_up: fn(&mut Dispatcher<Probe>)) -> Socket {
    let (probe, seen) = Probe::new();
    let mut listener = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
    set_up(&mut listener);
    let address = listener.local_addr().unwrap();
    let id = event_loop.add(listener).unwrap();
    let _client = dial(&address);
    turn_until(event_loop, "accepted", || seen.heard("accepted"));
    event_loop.close(id).unwrap();
    seen.accepted.borrow_mut().pop().unwrap().0
}

fn has_nodelay<T: fdloop::Channel>(
    event_loop: &EventLoop,
    id: ChannelId<T>,
    socket: fn(&T) -> &Socket,
) -> bool {
    socket(event_loop.get(id).unwrap()).nodelay().unwrap()
}

#[test]
fn a_tcp_connection_has_it_however_it_was_made() {
    with_every_loop(|event_loop| {
        let accepted = accepted_by(event_loop, |_| ());
        assert!(accepted.nodelay().unwrap());
        let channel = DispatcherWithSend::new(accepted, Probe::silent()).unwrap();
        let id = event_loop.add(channel).unwrap();
        assert!(has_nodelay(event_loop, id, |c| c.socket().unwrap()));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let channel = Dispatcher::connect(address, Probe::silent()).unwrap();
        let id = event_loop.add(channel).unwrap();
        assert!(has_nodelay(event_loop, id, |c| c.socket().unwrap()));

        // The standard library's sockets do not have it.
        let stream = TcpStream::connect(address).unwrap();
        let channel = Dispatcher::new(stream, Probe::silent()).unwrap();
        assert!(channel.socket().unwrap().nodelay().unwrap());
    });
}

#[test]
fn a_listener_made_elsewhere_passes_it_on() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        event_loop
            .add(Dispatcher::new(listener, probe).unwrap())
            .unwrap();
        let _client = TcpStream::connect(address).unwrap();
        turn_until(event_loop, "accepted", || seen.heard("accepted"));
        let accepted = &seen.accepted.borrow()[0].0;
        assert!(accepted.nodelay().unwrap());
    });
}

#[test]
fn it_can_be_taken_off_a_connection_and_a_listener() {
    with_every_loop(|event_loop| {
        let accepted = accepted_by(event_loop, |listener| listener.set_nodelay(false).unwrap());
        assert!(!accepted.nodelay().unwrap());
        let mut channel = DispatcherWithSend::new(accepted, Probe::silent()).unwrap();
        let nodelay = |channel: &DispatcherWithSend<Probe>| channel.socket().unwrap().nodelay();
        assert!(
            !nodelay(&channel).unwrap(),
            "a dispatcher leaves it as it is"
        );
        channel.set_nodelay(true).unwrap();
        assert!(nodelay(&channel).unwrap());
        channel.set_nodelay(false).unwrap();
        assert!(!nodelay(&channel).unwrap());
    });
}

#[test]
fn it_stays_off_when_the_next_address_is_tried() {
    with_every_loop(|event_loop| {
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = refusing.local_addr().unwrap();
        drop(refusing);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = vec![
            Address::from(nobody),
            Address::from(listener.local_addr().unwrap()),
        ];
        let (probe, seen) = Probe::new();
        let mut channel = Dispatcher::unconnected(probe);
        channel
            .create_socket(Family::Inet, SocketType::Stream)
            .unwrap();
        channel.set_nodelay(false).unwrap();
        channel.connect(addresses).unwrap();
        let id = event_loop.add(channel).unwrap();
        turn_until(event_loop, "connected", || seen.heard("connect"));
        assert!(!has_nodelay(event_loop, id, |c| c.socket().unwrap()));
    });
}

#[test]
fn what_is_not_tcp_refuses_it_and_works_without() {
    let (unix, _) = Socket::pair().unwrap();
    let mut unix = Dispatcher::new(unix, Probe::silent()).unwrap();
    assert!(unix.set_nodelay(true).is_err());
    assert!(unix.connected());
    let udp = Socket::new(Family::Inet, SocketType::Datagram).unwrap();
    assert!(udp.set_nodelay(true).is_err());
}

const CONNECTIONS: usize = 20;

fn accept_some(backend: Backend) {
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let (probe, seen) = Probe::new();
    let listener = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
    let address = listener.local_addr().unwrap();
    event_loop.add(listener).unwrap();
    for _ in 0..CONNECTIONS {
        let _client = dial(&address);
        turn_until(&mut event_loop, "accepted", || {
            !seen.accepted.borrow().is_empty()
        });
        let (socket, _) = seen.accepted.borrow_mut().pop().unwrap();
        let channel = DispatcherWithSend::new(socket, Probe::silent()).unwrap();
        event_loop.add(channel).unwrap();
    }
}

#[test]
fn an_accepted_connection_costs_no_call_for_it() {
    traced_on_every_backend(
        this_test!(),
        "setsockopt,accept4,accept",
        accept_some,
        |trace| {
            assert!(trace.matches("accept").count() >= CONNECTIONS);
            let calls = trace.matches("TCP_NODELAY").count();
            assert_eq!(calls, 1, "the listener's alone:\n{trace}");
        },
    );
}
