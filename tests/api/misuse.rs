//! Every misuse gets an error of the right kind, which names the descriptor, and
//! none a panic.

use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::common::{PATIENCE, Probe, settle, turn_until_empty, with_every_loop};
use fdloop::{
    Address, Backend, Channel, Dispatcher, DispatcherWithSend, Error, EventLoop, Family,
    FileDispatcher, Result, RunOptions, Socket, SocketType,
};

/// `result` is a misuse of that kind, whose message names `fd` and has `words`.
#[track_caller]
fn assert_misuse<T: Debug>(result: Result<T>, kind: ErrorKind, fd: RawFd, words: &[&str]) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Misuse(_)), "{error:?}");
    assert_refused(Err::<T, _>(error), kind, fd, words);
    assert!(!text.is_empty());
}

/// Checks an error that the system call found.
#[track_caller]
fn assert_refused<T: Debug>(result: Result<T>, kind: ErrorKind, fd: RawFd, words: &[&str]) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(&format!("fd {fd}")), "no fd {fd}: {text}");
    for word in words {
        assert!(text.contains(word), "no {word:?}: {text}");
    }
}

fn connected() -> (Dispatcher<Probe>, RawFd) {
    let channel = Dispatcher::new(Socket::pair().unwrap().0, Probe::silent()).unwrap();
    let fd = channel.as_raw_fd();
    (channel, fd)
}

fn fresh(socket_type: SocketType) -> (Dispatcher<Probe>, RawFd) {
    let mut channel = Dispatcher::unconnected(Probe::silent());
    channel.create_socket(Family::Inet, socket_type).unwrap();
    let fd = channel.as_raw_fd();
    (channel, fd)
}

fn listening() -> (Dispatcher<Probe>, RawFd) {
    let channel = Dispatcher::listen("127.0.0.1:0", Probe::silent()).unwrap();
    let fd = channel.as_raw_fd();
    (channel, fd)
}

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A channel of any number, which it does not own.
struct Numbered(RawFd);

impl AsRawFd for Numbered {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl fdloop::Channel for Numbered {}

/// Returns the result of adding `channel`, without the channel.
fn add<C: fdloop::Channel>(event_loop: &mut EventLoop, channel: C) -> Result<()> {
    event_loop.add(channel)?;
    Ok(())
}

#[test]
fn a_number_cannot_be_added_twice() {
    with_every_loop(|event_loop| {
        let (channel, fd) = connected();
        event_loop.add(channel).unwrap();
        let twice = add(event_loop, Numbered(fd));
        assert_misuse(twice, ErrorKind::AlreadyExists, fd, &["already", "close"]);
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn a_negative_number_cannot_be_added() {
    with_every_loop(|event_loop| {
        for fd in [-1, -5, RawFd::MIN] {
            let added = add(event_loop, Numbered(fd));
            assert_misuse(added, ErrorKind::InvalidInput, fd, &[]);
            assert!(event_loop.is_empty());
        }
    });
}

#[test]
fn a_closed_channel_cannot_be_added() {
    with_every_loop(|event_loop| {
        let (mut channel, fd) = connected();
        channel.close();
        let added = add(event_loop, channel);
        assert_misuse(added, ErrorKind::InvalidInput, fd, &["closed"]);
        assert!(event_loop.is_empty());
    });
}

#[test]
fn a_channel_that_could_not_be_added_comes_back_and_can_be_added_elsewhere() {
    with_every_loop(|event_loop| {
        let (channel, fd) = connected();
        let blocker = event_loop.add(Numbered(fd)).unwrap();
        let failed = event_loop.try_add(channel).unwrap_err();
        let shown = (failed.to_string(), format!("{failed:?}"));
        assert!(shown.0.contains(&format!("fd {fd}")), "{shown:?}");
        assert!(shown.1.contains("AddError"), "{shown:?}");
        let channel = failed.channel;
        assert!(event_loop.close(blocker).unwrap());
        event_loop.add(channel).unwrap();
    });
}

#[test]
fn a_closed_channel_refuses_everything() {
    let (mut channel, fd) = connected();
    channel.close();
    let kind = ErrorKind::NotConnected;
    let closed = &["closed"];
    assert_misuse(channel.send(b"x"), kind, fd, closed);
    assert_misuse(channel.send_owned(vec![0]), kind, fd, closed);
    assert_misuse(channel.recv(&mut [0]), kind, fd, closed);
    assert_misuse(channel.recv_oob(&mut [0]), kind, fd, closed);
    assert_misuse(channel.send_oob(b"x"), kind, fd, closed);
    assert_misuse(channel.recv_from(&mut [0]), kind, fd, closed);
    assert_misuse(
        channel.send_to(b"x", &LOCAL.into_address()),
        kind,
        fd,
        closed,
    );
    assert_misuse(channel.accept(), kind, fd, closed);
    assert_misuse(channel.listen(5), kind, fd, closed);
    assert_misuse(channel.bind(LOCAL), kind, fd, closed);
    assert_misuse(channel.connect(LOCAL), kind, fd, closed);
    assert_misuse(channel.local_addr(), kind, fd, closed);
    assert_misuse(channel.shutdown_when_done(), kind, fd, closed);
    assert_misuse(channel.set_reuse_addr(), kind, fd, closed);
    // Calls without effect.
    channel.close();
    channel.abort();
    channel.close_when_done();
    channel.close_after_eof();
    channel.fail(Error::other("too late"));
    assert!(channel.is_closed() && channel.reason().is_none());
    channel.flush().unwrap();
}

#[test]
fn a_channel_without_a_socket_says_so() {
    let mut channel = Dispatcher::unconnected(Probe::silent());
    let refused = |result: Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
        assert!(error.to_string().contains("no socket yet"), "{error}");
    };
    refused(channel.send(b"x").map(drop));
    refused(channel.recv(&mut [0]).map(drop));
    refused(channel.bind(LOCAL));
    refused(channel.listen(5));
    refused(channel.accept().map(drop));
    refused(channel.local_addr().map(drop));
    refused(channel.set_reuse_addr());
    refused(channel.shutdown_when_done());
    assert_eq!(channel.as_raw_fd(), -1);
    with_every_loop(|event_loop| {
        let channel = Dispatcher::unconnected(Probe::silent());
        let failed = event_loop.try_add(channel).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
    });
}

/// An address of the crate's own type.
trait IntoAddress {
    fn into_address(self) -> Address;
}

impl IntoAddress for (Ipv4Addr, u16) {
    fn into_address(self) -> Address {
        Address::from(self)
    }
}

#[test]
fn a_datagram_socket_cannot_listen() {
    let (mut channel, fd) = fresh(SocketType::Datagram);
    channel.bind(LOCAL).unwrap();
    let words = &["datagram", "recv_from"];
    assert_misuse(channel.listen(5), ErrorKind::Unsupported, fd, words);
    assert!(!channel.accepting());
}

#[test]
fn a_listener_neither_receives_nor_sends() {
    let (mut channel, fd) = listening();
    // The system's error, with advice.
    let kind = ErrorKind::NotConnected;
    let words = &["listener", "accept"];
    assert_refused(channel.recv(&mut [0]), kind, fd, words);
    assert_refused(channel.recv(&mut []), kind, fd, words);
    assert_refused(channel.send(b"x"), kind, fd, words);
    assert_refused(channel.send_owned(vec![0]), kind, fd, words);
    assert!(channel.accepting(), "and is none the worse for it");
}

#[test]
fn what_is_connected_or_listens_cannot_begin_again() {
    let kind = ErrorKind::AlreadyExists;
    let (mut channel, fd) = connected();
    assert_misuse(channel.connect(LOCAL), kind, fd, &["connected already"]);
    assert_misuse(channel.listen(5), kind, fd, &["connected already"]);
    assert_misuse(channel.bind(LOCAL), kind, fd, &["connected already"]);
    let (mut channel, fd) = listening();
    assert_misuse(channel.connect(LOCAL), kind, fd, &["listening already"]);
    assert_misuse(channel.listen(5), kind, fd, &["listening already"]);
    assert_misuse(channel.bind(LOCAL), kind, fd, &["listening already"]);
    let listener = TcpListener::bind(LOCAL).unwrap();
    let address = listener.local_addr().unwrap();
    let mut channel = Dispatcher::connect(address, Probe::silent()).unwrap();
    let fd = channel.as_raw_fd();
    assert_misuse(channel.connect(address), kind, fd, &["already"]);
}

#[test]
fn a_channel_has_one_socket_and_binds_it_once() {
    let kind = ErrorKind::AlreadyExists;
    let (mut channel, fd) = fresh(SocketType::Stream);
    let again = channel.create_socket(Family::Inet, SocketType::Stream);
    assert_misuse(again, kind, fd, &["already"]);
    let other = Socket::new(Family::Inet, SocketType::Stream).unwrap();
    assert_misuse(channel.set_socket(other), kind, fd, &["already"]);
    channel.bind(LOCAL).unwrap();
    let address = channel.local_addr().unwrap();
    assert_refused(
        channel.bind(LOCAL),
        ErrorKind::InvalidInput,
        fd,
        &["bind to"],
    );
    assert_eq!(channel.local_addr().unwrap(), address);
}

#[test]
fn what_does_not_listen_cannot_accept() {
    for (mut channel, fd) in [connected(), fresh(SocketType::Stream)] {
        let accepted = channel.accept();
        assert_misuse(accepted, ErrorKind::InvalidInput, fd, &["not listening"]);
    }
}

#[test]
fn a_file_refuses_what_only_a_socket_can() {
    let (reader, _writer) = os_pipe::pipe().unwrap();
    let mut channel = FileDispatcher::new(&reader, Probe::silent()).unwrap();
    let fd = channel.as_raw_fd();
    let kind = ErrorKind::Unsupported;
    let words = &["not a socket"];
    assert_misuse(channel.local_addr(), kind, fd, words);
    assert_misuse(channel.shutdown_when_done(), kind, fd, words);
    assert_misuse(channel.recv_oob(&mut [0]), kind, fd, words);
    assert_misuse(channel.send_oob(b"x"), kind, fd, words);
    assert_misuse(channel.recv_from(&mut [0]), kind, fd, words);
    assert_misuse(
        channel.send_to(b"x", &LOCAL.into_address()),
        kind,
        fd,
        words,
    );
    assert_misuse(channel.accept(), kind, fd, words);
    assert_misuse(channel.set_reuse_addr(), kind, fd, words);
    assert!(channel.socket().is_none());
    // These are refused because it is connected, as files are.
    let kind = ErrorKind::AlreadyExists;
    assert_misuse(channel.listen(5), kind, fd, words);
    assert_misuse(channel.connect(LOCAL), kind, fd, words);
    assert_misuse(channel.bind(LOCAL), kind, fd, words);
}

#[test]
fn a_channel_without_a_socket_says_which_method_makes_one() {
    let channel = || Dispatcher::unconnected(Probe::silent());
    let error = channel().listen(5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert_eq!(
        error.to_string(),
        "cannot listen: the channel has no socket yet: call `create_socket` first"
    );
    let error = channel().bind(LOCAL).unwrap_err();
    assert!(error.to_string().ends_with("call `create_socket` first"));
    let error = channel().send(b"x").unwrap_err();
    assert!(error.to_string().ends_with("call `connect` first"));
}

#[test]
fn what_is_no_socket_is_not_taken_for_one() {
    let (reader, _writer) = os_pipe::pipe().unwrap();
    let fd = reader.as_raw_fd();
    let error = Dispatcher::new(OwnedFd::from(reader), Probe::silent()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    let text = error.to_string();
    assert!(text.contains(&format!("fd {fd}")), "{text}");
    assert!(text.contains("FileDispatcher"), "{text}");
}

#[test]
fn nothing_comes_into_an_empty_buffer_and_that_is_not_the_end() {
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = Dispatcher::new(ours, probe).unwrap();
        assert_eq!(channel.recv(&mut []).unwrap(), 0);
        assert_eq!(channel.send(&[]).unwrap(), 0);
        event_loop.add(channel).unwrap();
        settle(event_loop);
        assert!(seen.events().is_empty());
        assert_eq!(event_loop.len(), 1);
    });
}

#[test]
fn addresses_that_cannot_be_are_refused() {
    let long = Address::Path("/x".repeat(200).into());
    let zero = Address::Path("/a\0b".into());
    for address in [long, zero, Address::Unnamed] {
        let error = Dispatcher::listen(&address, Probe::silent()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}: {error}");
        let error = Dispatcher::connect(&address, Probe::silent()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}: {error}");
    }
    let none: Vec<Address> = Vec::new();
    Dispatcher::listen(none.clone(), Probe::silent()).unwrap_err();
    let (mut channel, fd) = fresh(SocketType::Stream);
    assert_misuse(
        channel.bind(none),
        ErrorKind::InvalidInput,
        fd,
        &["no address"],
    );
}

#[test]
fn a_socket_of_one_family_does_not_connect_to_an_address_of_another() {
    let (mut channel, fd) = fresh(SocketType::Stream);
    let refused = channel.connect("/some/path");
    assert_refused(refused, ErrorKind::AddrNotAvailable, fd, &["family"]);
}

#[test]
fn a_backend_that_is_not_built_in_is_refused_with_those_that_are() {
    let error = "kqueue".parse::<Backend>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("kqueue"), "{text}");
    for backend in Backend::ALL {
        assert!(text.contains(&backend.to_string()), "{text}");
        assert_eq!(backend.to_string().parse::<Backend>().unwrap(), *backend);
    }
}

#[test]
fn a_datagram_that_is_too_long_is_an_error_that_names_where_it_was_to_go() {
    let socket = UdpSocket::bind(LOCAL).unwrap();
    let mut channel = Dispatcher::new(socket, Probe::silent()).unwrap();
    let fd = channel.as_raw_fd();
    let to = channel.local_addr().unwrap();
    let error = channel.send_to(&[0; 100_000], &to).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    let text = error.to_string();
    assert!(text.contains(&to.to_string()), "{text}");
    assert!(text.contains(&format!("fd {fd}")), "{text}");
}

#[test]
fn a_number_that_is_far_from_any_descriptor_is_refused_and_takes_no_memory() {
    struct MadeUp;
    impl AsRawFd for MadeUp {
        fn as_raw_fd(&self) -> RawFd {
            RawFd::MAX
        }
    }
    impl Channel for MadeUp {}
    with_every_loop(|event_loop| {
        let error = event_loop.add(MadeUp).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("2147483647"), "{error}");
        assert!(event_loop.is_empty());
    });
}

#[test]
fn what_was_told_to_end_takes_no_more_and_goes_on_receiving() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
        let fd = channel.as_raw_fd();
        channel.send(b"question").unwrap();
        channel.shutdown_when_done().unwrap();
        let sent = channel.send(b"more");
        assert_misuse(sent, ErrorKind::InvalidInput, fd, &["end", "shutdown"]);
        event_loop.add(channel).unwrap();
        settle(event_loop);
        theirs.write_all(b"answer").unwrap();
        let mut question = String::new();
        theirs.read_to_string(&mut question).unwrap();
        assert_eq!(question, "question");
        drop(theirs);
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"answer");
    });
}

#[test]
fn running_the_loop_from_a_handler_is_refused_and_forgets_no_stop() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| {
            io.recv(&mut [0; 10])?;
            io.event_loop().stop();
            io.event_loop().run()
        });
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        event_loop
            .run_with(RunOptions::new().timeout(PATIENCE))
            .unwrap();
        assert!(
            seen.errors()[0].contains("middle of a pass"),
            "{:?}",
            seen.errors()
        );
    });
}

#[test]
fn a_socket_that_is_connected_can_be_set() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let mut channel = Dispatcher::unconnected(probe);
        channel.set_socket(Socket::adopt(ours).unwrap()).unwrap();
        assert!(channel.connected());
        event_loop.add(channel).unwrap();
        theirs.write_all(b"hello").unwrap();
        drop(theirs);
        turn_until_empty(event_loop);
        assert_eq!(seen.received(), b"hello");
        assert_eq!(seen.events(), ["read", "read", "eof", "close"]);
    });
}
