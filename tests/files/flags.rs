//! Every descriptor is close-on-exec and never blocks. The flags of an open file
//! description that others share are left alone, or put back.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::common::{
    Probe, TempDir, fd_flags, raw_pty, settle, status_flags, turn_once, turn_until,
    turn_until_empty, with_every_loop,
};
use fdloop::{Dispatcher, Family, FileDispatcher, FileWrapper, IntoSocket, Socket, SocketType};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::Mode;

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

/// Checks whether the open file description of `file` blocks.
#[track_caller]
fn blocks(file: impl AsFd) -> bool {
    !fd_flags(file).1
}

/// The master of a pseudo-terminal, of which the flags have to be set and put back, since
/// no system can open it anew; and the terminal.
fn master() -> (File, File) {
    let (master, terminal) = raw_pty();
    assert!(blocks(&master));
    (master, terminal)
}

/// Checks whether the system lets a file be opened anew through its descriptor.
fn opens_pipes_anew() -> bool {
    cfg!(any(target_os = "linux", target_os = "android"))
}

/// Reads, writes and closes through wrappers and channels, and looks at the flags of
/// `file` at each step.
#[track_caller]
fn assert_untouched(file: &OwnedFd) {
    let before = status_flags(file);
    assert!(!before.contains(OFlag::O_NONBLOCK));
    for wrap in [FileWrapper::new, FileWrapper::leave_blocking] {
        let mut first = wrap(file).unwrap();
        let second = wrap(file).unwrap();
        assert!(fd_flags(first.as_fd().unwrap()).0, "close-on-exec");
        assert_eq!(status_flags(file), before);
        let _ = first.read(&mut [0; 16]);
        let _ = first.write(b"x");
        assert_eq!(status_flags(file), before);
        first.close().unwrap();
        assert_eq!(status_flags(file), before);
        drop(second);
        assert_eq!(status_flags(file), before);
    }
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        seen.wants_write.set(true);
        event_loop
            .add(FileDispatcher::with_send(file, probe).unwrap())
            .unwrap();
        settle(event_loop);
        assert_eq!(status_flags(file), before);
        event_loop.close_all(false).unwrap();
        assert_eq!(status_flags(file), before);
    });
}

#[test]
fn the_flags_of_pipes_and_fifos_are_never_touched() {
    if !opens_pipes_anew() {
        return;
    }
    let (reader, writer) = os_pipe::pipe().unwrap();
    assert_untouched(&reader.into());
    drop(writer);
    let (_reader, writer) = os_pipe::pipe().unwrap();
    assert_untouched(&writer.into());

    let dir = TempDir::new();
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let both = File::options().read(true).write(true).open(&fifo).unwrap();
    let reader = File::open(&fifo).unwrap();
    let writer = File::options().write(true).open(&fifo).unwrap();
    for end in [&both, &reader, &writer] {
        assert_untouched(&end.try_clone().unwrap().into());
    }
}

#[test]
fn the_flags_of_terminals_are_never_touched() {
    let (_master, terminal) = raw_pty();
    assert_untouched(&terminal.into());
}

#[test]
fn the_flags_of_sockets_are_never_touched() {
    if cfg!(target_vendor = "apple") {
        return; // There, MSG_DONTWAIT is ignored by sends.
    }
    let (stream, _peer) = UnixStream::pair().unwrap();
    assert_untouched(&stream.into());
    let (datagrams, _peer) = UnixDatagram::pair().unwrap();
    assert_untouched(&datagrams.into());
}

#[test]
fn the_flags_of_what_never_blocks_are_never_touched() {
    let dir = TempDir::new();
    let regular = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(dir.join("file"))
        .unwrap();
    assert_untouched(&regular.into());
    assert_untouched(&File::open(dir.join(".")).unwrap().into());
    if cfg!(target_os = "linux") {
        for device in ["/dev/null", "/dev/zero", "/dev/full"] {
            assert_untouched(
                &File::options()
                    .read(true)
                    .write(true)
                    .open(device)
                    .unwrap()
                    .into(),
            );
        }
    }
}

#[test]
fn leave_blocking_touches_no_flags_of_a_master_either() {
    let (master, _terminal) = master();
    let before = status_flags(&master);
    let mut wrapper = FileWrapper::leave_blocking(&master).unwrap();
    let error = wrapper.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(wrapper.write(b"typed").unwrap(), 5);
    assert_eq!(status_flags(&master), before);
    drop(wrapper);
    assert_eq!(status_flags(&master), before);
}

#[test]
fn a_file_wrapper_has_both_flags_for_as_long_as_it_lives() {
    let (reader, _writer) = os_pipe::pipe().unwrap();
    let wrapper = FileWrapper::new(&reader).unwrap();
    assert_eq!(fd_flags(wrapper.as_fd().unwrap()), BOTH);
    drop(wrapper);
    assert!(blocks(&reader));

    let (master, _terminal) = master();
    let wrapper = FileWrapper::new(&master).unwrap();
    assert_eq!(fd_flags(wrapper.as_fd().unwrap()), BOTH);
    assert!(!blocks(&master), "the description is shared");
    drop(wrapper);
    assert!(blocks(&master), "the flag was put back");
}

#[test]
fn the_wrapper_of_a_master_is_not_another_pseudo_terminal() {
    let (master, mut terminal) = master();
    terminal.write_all(b"to this master").unwrap();
    for wrap in [FileWrapper::new, FileWrapper::leave_blocking] {
        let mut wrapper = wrap(&master).unwrap();
        let mut shown = [0; 7];
        assert_eq!(wrapper.read(&mut shown).unwrap(), 7);
    }
}

#[test]
fn flags_that_a_new_description_would_lose_are_kept() {
    let dir = TempDir::new();
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let open = File::options().read(true).append(true).open(&fifo).unwrap();
    let appending = FileWrapper::new(&open).unwrap();
    assert!(status_flags(appending.as_fd().unwrap()).contains(OFlag::O_APPEND));
    #[cfg(target_os = "linux")]
    {
        let (_reader, writer) = nix::unistd::pipe2(OFlag::O_DIRECT).unwrap();
        let packets = FileWrapper::new(&writer).unwrap();
        assert!(status_flags(packets.as_fd().unwrap()).contains(OFlag::O_DIRECT));
        assert!(!blocks(&writer), "the description is shared");
        drop(packets);
        assert!(blocks(&writer));
    }
}

#[test]
fn a_fifo_that_cannot_be_opened_anew_has_its_flags_put_back() {
    // Without a reader, opening it for writing fails (ENXIO).
    let dir = TempDir::new();
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let both = File::options().read(true).write(true).open(&fifo).unwrap();
    let writer = File::options().write(true).open(&fifo).unwrap();
    drop(both);
    let wrapper = FileWrapper::new(&writer).unwrap();
    assert!(!blocks(&writer), "the description is shared");
    drop(wrapper);
    assert!(blocks(&writer), "the flag was put back");
    let mut untouched = FileWrapper::leave_blocking(&writer).unwrap();
    assert!(blocks(&writer));
    let error = untouched.write(b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn closing_a_file_wrapper_puts_the_flags_back() {
    let (master, _terminal) = master();
    let mut wrapper = FileWrapper::new(&master).unwrap();
    assert!(!blocks(&master));
    wrapper.close().unwrap();
    assert!(blocks(&master));
}

#[test]
fn a_description_that_did_not_block_before_does_not_block_afterwards() {
    let (master, _terminal) = master();
    let (reader, _writer) = os_pipe::pipe().unwrap();
    for file in [master.as_fd(), reader.as_fd()] {
        fcntl(
            file,
            FcntlArg::F_SETFL(status_flags(file) | OFlag::O_NONBLOCK),
        )
        .unwrap();
        drop(FileWrapper::new(file).unwrap());
        assert!(!blocks(file));
    }
}

#[test]
fn a_panic_that_unwinds_puts_the_flags_back() {
    let (master, _terminal) = master();
    catch_unwind(|| {
        let _wrapper = FileWrapper::new(&master).unwrap();
        assert!(!blocks(&master));
        panic!("unwinds");
    })
    .unwrap_err();
    assert!(blocks(&master));
}

#[test]
fn the_flags_are_put_back_however_a_file_dispatcher_ends() {
    with_every_loop(|event_loop| {
        let (master, mut terminal) = master();
        let add = |event_loop: &mut fdloop::EventLoop, probe| {
            let id = event_loop
                .add(FileDispatcher::new(&master, probe).unwrap())
                .unwrap();
            assert!(!blocks(&master));
            id
        };
        let id = add(event_loop, Probe::silent());
        assert!(event_loop.close(id).unwrap());
        assert!(blocks(&master), "closed by its id");

        let id = add(event_loop, Probe::silent());
        event_loop.get_mut(id).unwrap().close();
        event_loop.turn(Some(std::time::Duration::ZERO)).unwrap();
        assert!(blocks(&master), "closed by itself");

        let id = add(event_loop, Probe::silent());
        drop(event_loop.remove(id).unwrap());
        assert!(blocks(&master), "removed and dropped");

        add(event_loop, Probe::silent());
        event_loop.close_all(false).unwrap();
        assert!(blocks(&master), "closed with all");

        terminal.write_all(b"x").unwrap();
        add(event_loop, Probe::silent().on_read(|_| panic!("unwinds")));
        catch_unwind(AssertUnwindSafe(|| turn_once(event_loop))).unwrap_err();
        assert!(blocks(&master), "a handler panicked");

        drop(terminal);
        add(event_loop, Probe::silent());
        turn_until_empty(event_loop);
        assert!(blocks(&master), "read to the end");
    });
}

#[test]
fn the_flags_are_put_back_when_the_loop_is_dropped() {
    crate::common::on_every_backend(|backend| {
        let (master, _terminal) = master();
        let mut event_loop = fdloop::EventLoop::with_backend(backend).unwrap();
        event_loop
            .add(FileDispatcher::new(&master, Probe::silent()).unwrap())
            .unwrap();
        assert!(!blocks(&master));
        drop(event_loop);
        assert!(blocks(&master));
    });
}

#[test]
fn a_channel_that_could_not_be_added_puts_the_flags_back() {
    with_every_loop(|event_loop| {
        let (master, _terminal) = master();
        let mut channel = FileDispatcher::new(&master, Probe::silent()).unwrap();
        channel.close();
        drop(event_loop.add(channel).unwrap_err());
        assert!(blocks(&master));
    });
}
