//! Every descriptor is close-on-exec and non-blocking, and the flags of a shared
//! open file description are put back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Probe, TempDir, fd_flags, turn_once, turn_until, turn_until_empty, with_every_loop};
use fdloop::{Dispatcher, Family, FileDispatcher, FileWrapper, IntoSocket, Socket, SocketType};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Close-on-exec and non-blocking.
const BOTH: (bool, bool) = (true, true);

#[test]
fn new_sockets_have_both_flags() {
    for family in [Family::Inet, Family::Inet6, Family::Unix] {
        for socket_type in [SocketType::Stream, SocketType::Datagram] {
            match Socket::new(family, socket_type) {
                Ok(socket) => assert_eq!(fd_flags(&socket), BOTH, "{family:?}"),
                // A machine without IPv6.
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EAFNOSUPPORT)),
            }
        }
    }
}

#[test]
fn both_sockets_of_a_pair_have_both_flags() {
    let (a, b) = Socket::pair().unwrap();
    assert_eq!(fd_flags(&a), BOTH);
    assert_eq!(fd_flags(&b), BOTH);
}

#[test]
fn accepted_and_connected_sockets_have_both_flags() {
    with_every_loop(|event_loop| {
        let (probe, server) = Probe::new();
        let listener = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
        assert_eq!(fd_flags(listener.socket().unwrap()), BOTH);
        let address = listener.local_addr().unwrap();
        event_loop.add(listener).unwrap();
        let client = Dispatcher::connect(address, Probe::silent()).unwrap();
        assert_eq!(fd_flags(client.socket().unwrap()), BOTH);
        event_loop.add(client).unwrap();
        turn_until(event_loop, "accepted", || server.heard("accepted"));
        assert_eq!(fd_flags(&server.accepted.borrow()[0].0), BOTH);
    });
}

#[test]
fn sockets_that_are_taken_over_get_both_flags() {
    fn taken_over(socket: impl IntoSocket) -> (bool, bool) {
        fd_flags(socket.into_socket().unwrap())
    }
    /// Takes close-on-exec off, which the standard library puts on.
    fn inheritable<S: AsFd>(socket: S) -> S {
        fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        assert_eq!(fd_flags(&socket), (false, false));
        socket
    }
    let any = (Ipv4Addr::LOCALHOST, 0);
    let dir = TempDir::new();
    let listener = TcpListener::bind(any).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(taken_over(inheritable(client)), BOTH);
    assert_eq!(taken_over(inheritable(listener)), BOTH);
    assert_eq!(taken_over(inheritable(UdpSocket::bind(any).unwrap())), BOTH);
    let listener = UnixListener::bind(dir.join("socket")).unwrap();
    assert_eq!(taken_over(inheritable(listener)), BOTH);
    assert_eq!(taken_over(inheritable(UnixStream::pair().unwrap().0)), BOTH);
    let datagram = UnixDatagram::unbound().unwrap();
    assert_eq!(taken_over(inheritable(datagram)), BOTH);
    let owned = OwnedFd::from(UnixStream::pair().unwrap().1);
    assert_eq!(taken_over(inheritable(owned)), BOTH);
}

/// Whether the open file description behind `file` blocks.
#[track_caller]
fn blocks(file: impl AsFd) -> bool {
    !fd_flags(file).1
}

#[test]
fn a_file_wrapper_has_both_flags_for_as_long_as_it_lives() {
    let (reader, _writer) = io::pipe().unwrap();
    assert!(blocks(&reader));
    let wrapper = FileWrapper::new(&reader).unwrap();
    assert_eq!(fd_flags(wrapper.as_fd().unwrap()), BOTH);
    assert!(!blocks(&reader), "the description is shared");
    drop(wrapper);
    assert!(blocks(&reader), "the flag was put back");
}

#[test]
fn closing_a_file_wrapper_puts_the_flags_back() {
    let (_reader, writer) = io::pipe().unwrap();
    let mut wrapper = FileWrapper::new(&writer).unwrap();
    assert!(!blocks(&writer));
    wrapper.close().unwrap();
    assert!(blocks(&writer));
}

#[test]
fn a_description_that_did_not_block_before_does_not_block_afterwards() {
    let (reader, _writer) = io::pipe().unwrap();
    fcntl(&reader, FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    drop(FileWrapper::new(&reader).unwrap());
    assert!(!blocks(&reader));
}

#[test]
fn a_panic_that_unwinds_puts_the_flags_back() {
    let (reader, _writer) = io::pipe().unwrap();
    catch_unwind(|| {
        let _wrapper = FileWrapper::new(&reader).unwrap();
        assert!(!blocks(&reader));
        panic!("unwinds");
    })
    .unwrap_err();
    assert!(blocks(&reader));
}

#[test]
fn the_flags_are_put_back_however_a_file_dispatcher_ends() {
    with_every_loop(|event_loop| {
        let (reader, mut writer) = io::pipe().unwrap();
        let add = |event_loop: &mut fdloop::EventLoop, probe| {
            let id = event_loop
                .add(FileDispatcher::new(&reader, probe).unwrap())
                .unwrap();
            assert!(!blocks(&reader));
            id
        };
        let id = add(event_loop, Probe::silent());
        assert!(event_loop.close(id).unwrap());
        assert!(blocks(&reader), "closed by its id");

        let id = add(event_loop, Probe::silent());
        event_loop.get_mut(id).unwrap().close();
        event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
        assert!(blocks(&reader), "closed by itself");

        let id = add(event_loop, Probe::silent());
        drop(event_loop.remove(id).unwrap());
        assert!(blocks(&reader), "removed and dropped");

        add(event_loop, Probe::silent());
        event_loop.close_all(false).unwrap();
        assert!(blocks(&reader), "closed with all");

        writer.write_all(b"x").unwrap();
        add(event_loop, Probe::silent().on_read(|_| panic!("unwinds")));
        catch_unwind(AssertUnwindSafe(|| turn_once(event_loop))).unwrap_err();
        assert!(blocks(&reader), "a handler panicked");

        drop(writer);
        add(event_loop, Probe::silent());
        turn_until_empty(event_loop);
        assert!(blocks(&reader), "read to the end");
    });
}

#[test]
fn the_flags_are_put_back_when_the_loop_is_dropped() {
    common::on_every_backend(|backend| {
        let (reader, _writer) = io::pipe().unwrap();
        let mut event_loop = fdloop::EventLoop::with_backend(backend).unwrap();
        event_loop
            .add(FileDispatcher::new(&reader, Probe::silent()).unwrap())
            .unwrap();
        assert!(!blocks(&reader));
        drop(event_loop);
        assert!(blocks(&reader));
    });
}

#[test]
fn a_channel_that_could_not_be_added_puts_the_flags_back() {
    with_every_loop(|event_loop| {
        let (reader, _writer) = io::pipe().unwrap();
        let mut channel = FileDispatcher::new(&reader, Probe::silent()).unwrap();
        channel.close();
        drop(event_loop.add(channel).unwrap_err());
        assert!(blocks(&reader));
    });
}

#[test]
fn wrappers_of_one_terminal_look_after_each_other() {
    // As standard input and output of a program in a terminal.
    let pty = nix::pty::openpty(None, None).unwrap();
    let terminal = File::from(pty.slave);
    let mut master = File::from(pty.master);
    assert!(blocks(&terminal));
    let mut input = FileWrapper::new(&terminal).unwrap();
    let mut output = FileWrapper::new(&terminal).unwrap();
    // The first one puts the flags back, and the second must not block now.
    input.close().unwrap();
    let error = output.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(output.write(b"still here").unwrap(), 10);
    let mut shown = [0; 10];
    master.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"still here");
    drop(output);
    assert!(blocks(&terminal), "the last one put the flags back");
}

#[test]
fn regular_files_keep_their_flags() {
    let dir = TempDir::new();
    let file = File::create(dir.join("file")).unwrap();
    let _wrapper = FileWrapper::new(&file).unwrap();
    assert!(
        blocks(&file),
        "they never block, so there is nothing to set"
    );
}
