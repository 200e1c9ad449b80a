//! The tests of asyncore's `dispatcher`, `dispatcher_with_send` and `file_wrapper`
//! by themselves.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::{
    PATIENCE, Probe, TempDir, settle, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{
    Address, Channel, Dispatcher, DispatcherWithSend, Error, EventLoop, Family, FileDispatcher,
    FileWrapper, Handler, Interest, Io, Level, Result, Socket, SocketType, View,
};

/// A handler that overrides what logging needs, and nothing else.
#[derive(Default)]
struct Captured(Vec<(Level, String)>);

impl Handler for Captured {
    fn log_info(&mut self, _: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        self.0.push((level, message.to_owned()));
        Ok(())
    }
}

fn fresh<H: Handler>(handler: H) -> Dispatcher<H> {
    let mut dispatcher = Dispatcher::unconnected(handler);
    dispatcher
        .create_socket(Family::Inet, SocketType::Stream)
        .unwrap();
    dispatcher
}

#[test]
fn a_plain_dispatcher_is_readable_and_writable() {
    let event_loop = EventLoop::new().unwrap();
    let (ours, _theirs) = Socket::pair().unwrap();
    let dispatcher = Dispatcher::new(ours, Captured::default()).unwrap();
    let all = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
    assert_eq!(dispatcher.interest(&event_loop), Some(all));
}

#[test]
fn a_dispatcher_with_send_is_writable_while_output_waits() {
    let event_loop = EventLoop::new().unwrap();
    let (ours, _theirs) = Socket::pair().unwrap();
    let mut dispatcher = DispatcherWithSend::new(ours, Captured::default()).unwrap();
    let writable = |dispatcher: &DispatcherWithSend<Captured>| {
        let interest = dispatcher.interest(&event_loop).unwrap();
        interest.contains(Interest::WRITABLE)
    };
    assert!(!writable(&dispatcher));
    let much = vec![b'x'; 4 << 20];
    assert_eq!(dispatcher.send(&much).unwrap(), much.len());
    assert!(dispatcher.pending() > 0);
    assert!(writable(&dispatcher));
}

#[test]
fn a_dispatcher_says_who_it_is() {
    let dispatcher = fresh(Captured::default());
    let shown = format!("{dispatcher:?}");
    assert!(shown.contains("Dispatcher"), "{shown}");
    let fd = dispatcher.as_raw_fd().to_string();
    assert!(shown.contains(&fd), "{shown} does not name fd {fd}");
}

#[test]
fn unhandled_events_are_logged_as_asyncore_does() {
    let mut event_loop = EventLoop::new().unwrap();
    let mut dispatcher = fresh(Captured::default());
    let (socket, _other) = Socket::pair().unwrap();
    let mut socket = Some(socket);
    dispatcher
        .enter(&mut event_loop, |handler, io| {
            handler.handle_expt(io)?;
            handler.handle_read(io)?;
            handler.handle_write(io)?;
            handler.handle_connect(io)?;
            handler.handle_accepted(io, socket.take().unwrap(), Address::Unnamed)?;
            handler.handle_close(io)
        })
        .unwrap();
    let expected = [
        "unhandled incoming priority event",
        "unhandled read event",
        "unhandled write event",
        "unhandled connect event",
        "unhandled accepted event",
        "unhandled close event",
    ];
    let expected = expected.map(|text| (Level::Warn, text.to_owned()));
    assert_eq!(dispatcher.handler().0, expected);
    assert!(dispatcher.is_closed(), "the default of handle_close closes");
}

#[test]
fn unhandled_write_events_are_logged_once_and_do_not_spin_the_loop() {
    with_every_loop(|event_loop| {
        let (ours, _theirs) = Socket::pair().unwrap();
        let channel = Dispatcher::new(ours, Captured::default()).unwrap();
        let id = event_loop.add(channel).unwrap();
        settle(event_loop);
        let timeout = std::time::Duration::from_millis(20);
        let begin = std::time::Instant::now();
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout);
        let logged = &event_loop.get(id).unwrap().handler().0;
        let expected = (Level::Warn, "unhandled write event".to_owned());
        assert_eq!(*logged, [expected]);
    });
}

/// Fails at its first read; overrides what logging and ending need.
#[derive(Default)]
struct Failing(Rc<RefCell<Vec<String>>>);

impl Handler for Failing {
    fn writable(&self, _: &View<'_>) -> bool {
        false
    }
    fn handle_read(&mut self, _: &mut Io<'_>) -> Result<()> {
        Err(Error::other("the spam is off"))
    }
    fn log_info(&mut self, _: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        self.0.borrow_mut().push(format!("{level}: {message}"));
        Ok(())
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        let reason = format!("closed: {}", io.reason().unwrap());
        self.0.borrow_mut().push(reason);
        Ok(())
    }
}

#[test]
fn the_default_of_handle_error_logs_the_error_with_the_channel_and_closes() {
    with_every_loop(|event_loop| {
        let (ours, theirs) = Socket::pair().unwrap();
        UnixStream::from(theirs).write_all(b"spam").unwrap();
        let told = Rc::default();
        let channel = Dispatcher::new(ours, Failing(Rc::clone(&told))).unwrap();
        let fd = channel.as_raw_fd();
        event_loop.add(channel).unwrap();
        turn_until_empty(event_loop);
        let told = told.borrow();
        assert_eq!(told.len(), 2, "{told:?}");
        let logged = &told[0];
        assert!(logged.starts_with("ERROR: uncaptured error"), "{logged}");
        assert!(logged.contains(&format!("fd {fd}")), "{logged}");
        assert!(logged.ends_with(": the spam is off"), "{logged}");
        assert_eq!(told[1], "closed: the spam is off");
    });
}

#[test]
fn a_dispatcher_with_send_delivers_what_it_was_given_before_the_connection_stood() {
    with_every_loop(|event_loop| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let address = listener.local_addr().unwrap();
        let mut client = DispatcherWithSend::connect(address, probe).unwrap();
        let data = b"Suppose there isn't a 16-ton weight?";
        for piece in [data.as_slice(), data, b"\n"] {
            assert_eq!(client.send(piece).unwrap(), piece.len());
        }
        let id = event_loop.add(client).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        turn_until(event_loop, "handle_connect", || seen.heard("connect"));
        settle(event_loop);
        assert_eq!(event_loop.get(id).unwrap().pending(), 0);
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut got = vec![0; 2 * data.len() + 1];
        server.read_exact(&mut got).unwrap();
        assert_eq!(got, [data.as_slice(), data, b"\n"].concat());
    });
}

const TEXT: &[u8] = b"It's not dead, it's sleeping!";

/// A file that holds [`TEXT`].
fn text_file(dir: &TempDir) -> std::path::PathBuf {
    let path = dir.join("text");
    fs::write(&path, TEXT).unwrap();
    path
}

#[test]
fn a_file_wrapper_reads_though_the_original_was_closed_and_not_once_it_is_closed_itself() {
    let dir = TempDir::new();
    let file = File::open(text_file(&dir)).unwrap();
    let mut wrapper = FileWrapper::new(&file).unwrap();
    assert_ne!(wrapper.as_raw_fd(), file.as_raw_fd());
    drop(file);
    let mut buf = [0; 13];
    assert_eq!(wrapper.recv(&mut buf).unwrap(), 13);
    assert_eq!(&buf, b"It's not dead");
    let mut buf = [0; 6];
    assert_eq!(wrapper.read(&mut buf).unwrap(), 6);
    assert_eq!(&buf, b", it's");
    wrapper.close().unwrap();
    for error in [
        wrapper.read(&mut buf).unwrap_err(),
        wrapper.recv(&mut buf).unwrap_err(),
        wrapper.send(b"x").unwrap_err(),
        wrapper.write(b"x").unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
    assert!(wrapper.as_fd().is_none());
}

#[test]
fn a_file_wrapper_writes_and_sends() {
    let dir = TempDir::new();
    let path = text_file(&dir);
    let file = File::options().append(true).open(&path).unwrap();
    let mut wrapper = FileWrapper::new(&file).unwrap();
    drop(file);
    wrapper.write(b"Come again?").unwrap();
    wrapper.send(b"I want to buy some cheese.").unwrap();
    wrapper.close().unwrap();
    let expected = [TEXT, b"Come again?", b"I want to buy some cheese."].concat();
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn a_file_wrapper_may_be_closed_twice() {
    let dir = TempDir::new();
    let mut wrapper = FileWrapper::new(File::open(text_file(&dir)).unwrap()).unwrap();
    wrapper.close().unwrap();
    assert_eq!(wrapper.as_raw_fd(), -1);
    wrapper.close().unwrap();
}

#[test]
fn a_file_dispatcher_reads_a_file() {
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        let file = File::open(text_file(&dir)).unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(FileDispatcher::new(&file, probe).unwrap())
            .unwrap();
        drop(file);
        let options = fdloop::RunOptions::new()
            .timeout(std::time::Duration::from_millis(10))
            .count(2);
        event_loop.run_with(options).unwrap();
        assert_eq!(seen.received(), TEXT);
    });
}
