//! Errors that leave the loop, and those that handlers return with `?`.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{PATIENCE, Probe, on_every_backend, turn_once, with_every_loop};
use fdloop::{
    AsyncChat, Channel, ChatHandler, ChatIo, Deadline, Dispatcher, DispatcherWithSend, Error,
    Event, EventLoop, Interest, Poller, Result,
};

/// A stream whose peer has sent a line, and the peer.
fn poked() -> (UnixStream, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"port 80x\n").unwrap();
    (ours, theirs)
}

#[test]
fn a_fatal_error_of_any_handler_leaves_the_loop_which_can_be_run_again() {
    with_every_loop(|event_loop| {
        let fatal = || Error::fatal(std::io::Error::from(ErrorKind::StorageFull));
        let probes = [
            Probe::silent().on_read(move |_| Err(fatal())),
            Probe::silent()
                .on_read(|_| Err(Error::other("spam")))
                .on_error(move |_, _| Err(fatal())),
            Probe::silent()
                .on_read(|io| {
                    io.close_after_eof();
                    Ok(())
                })
                .on_close(move |_| Err(fatal())),
        ];
        for probe in probes {
            let (ours, _theirs) = poked();
            event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            let error = event_loop.run().unwrap_err();
            assert!(matches!(error, Error::Fatal(_)), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            event_loop.close_all(false).unwrap();
            event_loop.run().unwrap();
        }
    });
}

#[test]
fn what_was_sent_before_a_fatal_error_leaves() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = poked();
        let probe = Probe::silent().on_read(|io| {
            io.send(b"one ")?;
            io.send(b"two")?;
            Err(Error::fatal("no disk"))
        });
        let channel = DispatcherWithSend::new(ours, probe).unwrap();
        event_loop.add(channel).unwrap();
        assert_eq!(event_loop.run().unwrap_err().to_string(), "no disk");
        let mut got = [0; 7];
        theirs.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"one two");
    });
}

#[test]
fn a_fatal_error_that_says_not_now_leaves_all_the_same() {
    with_every_loop(|event_loop| {
        let blocks = || Error::fatal(std::io::Error::from(ErrorKind::WouldBlock));
        let (ours, _theirs) = poked();
        let probe = Probe::silent().on_read(move |_| Err(blocks()));
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        assert!(event_loop.run().unwrap_err().is_exit());
    });
}

#[test]
fn a_fatal_error_of_an_accepted_connection_leaves_too() {
    with_every_loop(|event_loop| {
        let probe = Probe::silent().on_accepted(|_, _, _| Err(Error::fatal("no disk")));
        let listener = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
        let address = listener.local_addr().unwrap();
        event_loop.add(listener).unwrap();
        let _client = TcpStream::connect(("127.0.0.1", address.port().unwrap())).unwrap();
        assert_eq!(event_loop.run().unwrap_err().to_string(), "no disk");
    });
}

/// Reads a port.
struct Port(Option<u16>);

impl Port {
    fn parse(line: &[u8]) -> Result<u16> {
        let line = std::str::from_utf8(line)?;
        let port = line.strip_prefix("port ").ok_or("expected a port")?;
        Ok(port.parse()?)
    }
}

impl ChatHandler for Port {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.0 = Some(Self::parse(&io.take_data())?);
        Ok(())
    }
    fn handle_error(&mut self, _: &mut ChatIo<'_>, error: Error) -> Result<()> {
        assert_eq!(error.to_string(), "invalid digit found in string");
        Err(Error::fatal(error))
    }
}

#[test]
fn errors_of_parsing_are_returned_with_a_question_mark() {
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let (ours, _theirs) = poked();
        let mut chat = AsyncChat::new(ours, Port(None)).unwrap();
        chat.set_terminator("\n");
        event_loop.add(chat).unwrap();
        let left = loop {
            if let Err(error) = event_loop.turn(None) {
                break error;
            }
        };
        let Error::Fatal(error) = left else {
            panic!("{left:?}");
        };
        assert!(matches!(*error, Error::Other(_)));
        assert_eq!(Port::parse(b"port 80").unwrap(), 80);
        assert!(Port::parse(b"\xff").is_err() && Port::parse(b"80").is_err());
    });
}

#[test]
fn a_fatal_error_of_a_visit_is_returned_from_it() {
    with_every_loop(|event_loop| {
        let (ours, _theirs) = poked();
        let id = event_loop
            .add(Dispatcher::new(ours, Probe::silent()).unwrap())
            .unwrap();
        let visited = event_loop.with(id, |_, _| Err(Error::fatal("no disk")));
        assert!(visited.unwrap_err().is_exit());
        turn_once(event_loop);
        assert!(event_loop.contains(id));
    });
}

/// A poller that sets no interest while it is broken.
#[derive(Debug)]
struct Breaking {
    poller: Box<dyn Poller + Send>,
    is_broken: Rc<Cell<bool>>,
}

impl Poller for Breaking {
    fn set(&mut self, fd: RawFd, interest: Interest) -> io::Result<()> {
        if self.is_broken.get() {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        self.poller.set(fd, interest)
    }
    fn wait(&mut self, deadline: Deadline, ready: &mut Vec<Event>) -> io::Result<()> {
        self.poller.wait(deadline, ready)
    }
}

/// Wants to read once its timeout is over, when the poller is broken.
struct Late {
    stream: UnixStream,
    is_broken: Rc<Cell<bool>>,
}

impl AsRawFd for Late {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Channel for Late {
    fn interest(&self, _: &EventLoop) -> Option<Interest> {
        let wants = self.is_broken.get();
        Some(if wants {
            Interest::READABLE
        } else {
            Interest::empty()
        })
    }
    fn settle(&mut self, event_loop: &mut EventLoop) -> Result<()> {
        event_loop.set_timeout(Some(Duration::from_millis(1)));
        Ok(())
    }
    fn handle_timeout(&mut self, _: &mut EventLoop) -> Result<()> {
        self.is_broken.set(true);
        Ok(())
    }
}

#[test]
fn an_error_of_the_poller_leaves_the_loop_also_after_a_timeout() {
    on_every_backend(|backend| {
        let is_broken = Rc::new(Cell::new(false));
        let mut event_loop = EventLoop::with_poller(Breaking {
            poller: backend.poller(),
            is_broken: Rc::clone(&is_broken),
        });
        let (stream, _theirs) = poked();
        let channel = Late {
            stream,
            is_broken: Rc::clone(&is_broken),
        };
        event_loop.add(channel).unwrap();
        let error = loop {
            let passed = event_loop.turn(Some(PATIENCE));
            if is_broken.get() {
                break passed.unwrap_err();
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    });
}
