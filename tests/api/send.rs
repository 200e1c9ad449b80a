//! What can be sent to another thread, boxes of handlers and the like, and files as readers
//! and writers of the standard library.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use crate::common::{Probe, on_every_backend, with_every_loop};
use fdloop::{
    Address, AnyId, AsyncChat, Backend, ChannelId, ChatHandler, ChatIo, Deadline, Dispatcher,
    DispatcherWithSend, Error, Event, EventLoop, FileWrapper, Handler, Interest, Io, Misuse, Panic,
    Poller, Producer, Readiness, Result, RunOptions, SimpleProducer, Socket, StateId, SystemError,
    Terminator, Transport,
};
use os_pipe::pipe;

/// Something that is neither Send nor Sync.
#[allow(dead_code, reason = "Rust 1.85 overlooks uses in an unnamed constant")]
type Local = std::rc::Rc<()>;

#[allow(dead_code, reason = "Rust 1.85 overlooks uses in an unnamed constant")]
const fn send<T: Send>() {}
#[allow(dead_code, reason = "Rust 1.85 overlooks uses in an unnamed constant")]
const fn send_and_sync<T: Send + Sync>() {}

/// Checks whether the type is Send: the inherent constant hides the trait's if it exists.
macro_rules! is_send {
    ($type:ty) => {{
        #[allow(dead_code, reason = "unused where the inherent constant exists")]
        trait No {
            const SEND: bool = false;
        }
        impl<T: ?Sized> No for T {}
        struct Is<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "it exists for what is Send alone")]
        impl<T: ?Sized + Send> Is<T> {
            const SEND: bool = true;
        }
        <Is<$type>>::SEND
    }};
}

const _: () = {
    send_and_sync::<Error>();
    send_and_sync::<SystemError>();
    send_and_sync::<Misuse>();
    send_and_sync::<Panic>();
    send_and_sync::<Socket>();
    send_and_sync::<FileWrapper>();
    send_and_sync::<Address>();
    send_and_sync::<Terminator>();
    // Ids are names: it does not matter what they name.
    send_and_sync::<ChannelId<Dispatcher<Local>>>();
    send_and_sync::<StateId<Local>>();
    send_and_sync::<AnyId>();
    send_and_sync::<(Backend, Deadline, Event, Interest, Readiness, RunOptions)>();
    send::<Box<dyn Poller + Send>>();
    #[cfg(feature = "select")]
    send_and_sync::<fdloop::SelectPoller>();
    #[cfg(feature = "poll")]
    send_and_sync::<fdloop::PollPoller>();
    // A loop stays in its thread.
    assert!(is_send!(Socket) && !is_send!(EventLoop) && !is_send!(Io<'static>));
};

#[test]
fn a_socket_is_sent_to_the_thread_whose_loop_serves_it() {
    struct Shout;
    impl Handler for Shout {
        fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
            io.recv_with(64, |io, data| {
                data.make_ascii_uppercase();
                io.send(data).map(drop)
            })
        }
    }
    on_every_backend(|backend| {
        let (sender, sockets) = mpsc::channel::<Socket>();
        let worker = thread::spawn(move || -> Result<()> {
            let mut event_loop = EventLoop::with_backend(backend)?;
            for socket in sockets {
                event_loop.add(DispatcherWithSend::new(socket, Shout)?)?;
            }
            event_loop.run()
        });
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        sender.send(Socket::adopt(ours).unwrap()).unwrap();
        drop(sender);
        theirs.write_all(b"hello").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "HELLO");
        worker.join().unwrap().unwrap();
    });
}

#[test]
fn a_box_of_a_handler_is_a_handler() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        let handler: Box<dyn Handler> = Box::new(probe);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let id: ChannelId<Dispatcher<Box<dyn Handler>>> = event_loop
            .add(Dispatcher::new(ours, handler).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        event_loop.run().unwrap();
        assert_eq!(seen.received(), b"x");
        assert!(seen.heard("eof") && seen.heard("close"));
        assert!(!event_loop.contains(id));

        // Of a listener, whose connections reach it with their errors.
        let (probe, seen) = Probe::new();
        let probe = probe
            .on_accepted(|_, _, _| Err(Error::other("spam")))
            .on_accept_error(|io, _, _| {
                io.close();
                Ok(())
            });
        let handler: Box<dyn Handler> = Box::new(probe);
        let listener = Dispatcher::listen("127.0.0.1:0", handler).unwrap();
        let port = listener.local_addr().unwrap().port().unwrap();
        event_loop.add(listener).unwrap();
        let _client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        event_loop.run().unwrap();
        assert_eq!(seen.events(), ["accepted", "accept_error"]);
    });
}

#[test]
fn a_box_of_a_chat_handler_is_a_chat_handler() {
    struct Echo;
    impl ChatHandler for Echo {
        fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
            let line = io.take_data();
            io.push(line)?;
            io.close_when_done();
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let handler: Box<dyn ChatHandler> = Box::new(Echo);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut chat = AsyncChat::new(ours, handler).unwrap();
        chat.set_terminator("\n");
        event_loop.add(chat).unwrap();
        theirs.write_all(b"hello\n").unwrap();
        event_loop.run().unwrap();
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
    });
}

/// A transport that upper-cases what it sends, over any other.
struct Shouting<T>(T);

impl<T: Transport> Transport for Shouting<T> {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }
    fn recv(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.recv(buf)
    }
    fn send(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.send(&data.to_ascii_uppercase())
    }
    fn close(self: Box<Self>) -> std::io::Result<()> {
        Box::new(self.0).close()
    }
}

#[test]
fn boxes_of_transports_and_producers_are_what_they_hold() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let file: Box<dyn Transport> = Box::new(FileWrapper::new(&ours).unwrap());
        drop(ours);
        let transport: Box<dyn Transport> = Box::new(Shouting(file));
        let mut channel = DispatcherWithSend::over(transport, Probe::silent());
        let producer: Box<dyn Producer> = Box::new(SimpleProducer::new("made"));
        channel.send_with_producer(producer).unwrap();
        channel.send(b" to order").unwrap();
        channel.close_when_done();
        let id = event_loop.add(channel).unwrap();
        let mut channel = event_loop.run_until_closed(id).unwrap().unwrap();
        assert_eq!(channel.pending(), 0);
        channel.close();
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "MADE TO ORDER");
    });
}

#[test]
fn a_wrapper_is_a_reader_and_a_writer_also_through_a_shared_reference() {
    let (reader, writer) = pipe().unwrap();
    let input = FileWrapper::new(&reader).unwrap();
    let mut output = FileWrapper::new(&writer).unwrap();
    drop(writer);
    write!(output, "{} bytes, ", 12).unwrap();
    (&output).write_all(b"and more").unwrap();
    let parts = [IoSlice::new(b", "), IoSlice::new(b"in parts")];
    assert_eq!(output.write_vectored(&parts).unwrap(), 10);
    output.flush().unwrap();

    let mut some = [0; 8];
    (&input).read_exact(&mut some).unwrap();
    assert_eq!(&some, b"12 bytes");
    let mut piece = [0; 64];
    let read = Read::read(&mut &input, &mut piece).unwrap();
    assert_eq!(&piece[..read], b", and more, in parts");
    // Nothing waits: an error of the system call, as it is.
    let error = Read::read(&mut &input, &mut piece).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    // Two threads share one wrapper.
    thread::scope(|scope| {
        scope.spawn(|| (&output).write_all(b"from afar").unwrap());
    });
    drop(output);
    let mut rest = String::new();
    let mut input = input;
    input.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "from afar");
    input.close().unwrap();
    let error = Read::read(&mut input, &mut piece).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}
