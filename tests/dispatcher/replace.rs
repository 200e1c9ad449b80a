//! Another channel over the same connection.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::common::{Probe, settle, turn_once, turn_until, turn_until_empty, with_every_loop};
use fdloop::{
    AsyncChat, ChatHandler, ChatIo, Connection, Dispatcher, DispatcherWithSend, Error, EventLoop,
    Handler, Io, Predicates, Result, Socket, Transport, View,
};

/// Takes lines until one is `UPGRADE`, and then leaves the connection to a chat of lines that
/// end with a semicolon.
struct Before {
    seen: Rc<RefCell<Vec<String>>>,
}

/// The chat that comes after it.
struct After {
    seen: Rc<RefCell<Vec<String>>>,
}

impl ChatHandler for Before {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let line = String::from_utf8(io.take_data()).unwrap();
        let upgrade = line == "UPGRADE";
        self.seen.borrow_mut().push(line);
        if upgrade {
            io.push("switching\n")?;
            let seen = Rc::clone(&self.seen);
            io.replace(move |connection, event_loop| {
                let mut chat = AsyncChat::from_connection(connection, After { seen });
                chat.set_terminator(";");
                event_loop.add(chat)?;
                Ok(())
            })?;
            assert!(io.is_closed() && io.push("too late").is_err());
        }
        Ok(())
    }
    fn handle_eof(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        panic!("the other channel reads the end");
    }
    fn handle_close(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        panic!("the connection is not closed");
    }
}

impl ChatHandler for After {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let word = String::from_utf8(io.take_data()).unwrap();
        io.push(format!("<{word}>"))?;
        self.seen.borrow_mut().push(word);
        Ok(())
    }
    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let tail = String::from_utf8(io.take_data()).unwrap();
        self.seen.borrow_mut().push(format!("tail {tail}"));
        io.close_when_done();
        Ok(())
    }
}

#[test]
fn the_next_chat_gets_what_the_first_has_not_handled_whatever_the_chunks() {
    let said = b"hello\nUPGRADE\na\nb;c;rest";
    with_every_loop(|event_loop| {
        for size in 1..=said.len() {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let seen = Rc::default();
            let before = Before {
                seen: Rc::clone(&seen),
            };
            let mut chat = AsyncChat::new(ours, before).unwrap();
            chat.set_terminator("\n");
            let id = event_loop.add(chat).unwrap();
            for chunk in said.chunks(size) {
                theirs.write_all(chunk).unwrap();
                settle(event_loop);
            }
            theirs.shutdown(Shutdown::Write).unwrap();
            turn_until_empty(event_loop);
            let words = ["hello", "UPGRADE", "a\nb", "c", "tail rest"];
            assert_eq!(*seen.borrow(), words, "in chunks of {size}");
            assert!(!event_loop.contains(id));
            let mut heard = String::new();
            theirs.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "switching\n<a\nb><c>");
        }
    });
}

/// Replaces its channel by one that echoes, at the first read.
struct Opening {
    output: usize,
}

impl Handler for Opening {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 64];
        let n = io.recv(&mut buf)?;
        let rest = buf[1..n].to_vec();
        io.send(&vec![b'.'; self.output])?;
        io.replace(move |connection, event_loop| {
            let connection = connection.unread(&rest);
            event_loop.add(DispatcherWithSend::from_connection(connection, Echo))?;
            Ok(())
        })
    }
}

struct Echo;

impl Handler for Echo {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 2];
        let n = io.recv(&mut buf)?;
        io.send(&buf[..n])?;
        Ok(())
    }
}

#[test]
fn pending_output_leaves_before_that_of_the_next_channel() {
    const MUCH: usize = 3 << 20;
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let opening = Opening { output: MUCH };
        let channel = DispatcherWithSend::new(ours, opening).unwrap();
        event_loop.add(channel).unwrap();
        theirs.write_all(b"!abcde").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        let reader = std::thread::spawn(move || {
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).map(|_| heard)
        });
        turn_until_empty(event_loop);
        let heard = reader.join().unwrap().unwrap();
        assert_eq!(heard.len(), MUCH + 5);
        assert_eq!(heard[MUCH..], *b"abcde");
    });
}

/// A transport that changes every byte of another one.
struct Flipped(Connection);

impl Transport for Flipped {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }
    fn holds_input(&self) -> bool {
        self.0.holds_input()
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.recv(buf)?;
        buf[..n].iter_mut().for_each(|byte| *byte ^= 0x20);
        Ok(n)
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        let flipped: Vec<u8> = data.iter().map(|byte| byte ^ 0x20).collect();
        self.0.send(&flipped)
    }
}

#[test]
fn a_connection_is_a_transport_with_the_input_and_the_output_that_came_along() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| {
            let mut buf = [0; 64];
            let n = io.recv(&mut buf)?;
            let rest = buf[1..n].to_vec();
            io.send(b"ready:")?;
            io.replace(move |connection, event_loop| {
                let flipped = Flipped(connection.unread(&rest));
                event_loop.add(DispatcherWithSend::over(flipped, Upper(String::new())))?;
                Ok(())
            })
        });
        let mut channel = DispatcherWithSend::new(ours, probe).unwrap();
        channel.set_backpressure(true);
        event_loop.add(channel).unwrap();
        theirs.write_all(b"!ABC").unwrap();
        turn_once(event_loop);
        theirs.write_all(b"DEF").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        turn_until_empty(event_loop);
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "ready:ABCDEF");
        assert_eq!((seen.count("close"), seen.count("eof")), (0, 0));
    });
}

/// Sends back what it gets, which must be lower-case letters.
struct Upper(String);

impl Handler for Upper {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 2];
        let n = io.recv(&mut buf)?;
        assert!(buf[..n].iter().all(u8::is_ascii_lowercase));
        self.0.push_str(std::str::from_utf8(&buf[..n]).unwrap());
        io.send(&buf[..n])?;
        Ok(())
    }
}

/// Reads only while it is allowed to, which changes outside of its channel.
struct Allowed {
    allowed: Rc<Cell<bool>>,
    got: Rc<RefCell<Vec<u8>>>,
}

impl Handler for Allowed {
    fn readable(&self, _: &View<'_>) -> bool {
        self.allowed.get()
    }
    fn predicates(&self) -> Predicates {
        Predicates::EveryPass
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 3];
        let n = io.recv(&mut buf)?;
        self.got.borrow_mut().extend_from_slice(&buf[..n]);
        Ok(())
    }
}

#[test]
fn input_that_came_along_waits_until_the_handler_is_readable() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (allowed, got) = (Rc::new(Cell::new(false)), Rc::default());
        let handler = Allowed {
            allowed: Rc::clone(&allowed),
            got: Rc::clone(&got),
        };
        let mut handler = Some(handler);
        let (probe, _) = Probe::new();
        let probe = probe.on_read(move |io| {
            let mut buf = [0; 64];
            let n = io.recv(&mut buf)?;
            let (rest, handler) = (buf[..n].to_vec(), handler.take().unwrap());
            io.replace(move |connection, event_loop| {
                let connection = connection.unread(&rest);
                event_loop.add(DispatcherWithSend::from_connection(connection, handler))?;
                Ok(())
            })
        });
        event_loop
            .add(DispatcherWithSend::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"0123456789").unwrap();
        settle(event_loop);
        assert!(got.borrow().is_empty());
        allowed.set(true);
        turn_until(event_loop, "the input to be read", || {
            got.borrow().len() == 10
        });
        assert_eq!(*got.borrow(), b"0123456789");
        // The loop waits again.
        settle(event_loop);
        let zero = Some(std::time::Duration::ZERO);
        assert_eq!(event_loop.turn(zero).unwrap(), 0);
    });
}

#[test]
fn if_the_next_channel_cannot_be_made_the_connection_is_closed() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| {
            io.recv(&mut [0; 64])?;
            io.replace(|_, _| Err(Error::other("no such protocol")))
        });
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        turn_until_empty(event_loop);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        assert_eq!(seen.events(), ["read"]);
    });
}

#[test]
fn only_a_connection_can_be_left_to_another_channel() {
    fn replace(io: &mut Io<'_>) {
        let refused = io.replace(|_, _| panic!("not called")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotConnected);
        let fd = io.as_fd().map(|fd| std::os::fd::AsRawFd::as_raw_fd(&fd));
        let named = fd.is_none_or(|fd| refused.to_string().contains(&format!("fd {fd}")));
        assert!(named, "{refused}");
    }
    with_every_loop(|event_loop| {
        let (probe, _) = Probe::new();
        let listener = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
        let id = event_loop.add(listener).unwrap();
        let visited = event_loop.with(id, |channel, event_loop| {
            channel.enter(event_loop, |_, io| {
                replace(io);
                Ok(())
            })
        });
        visited.unwrap();
        event_loop.close(id).unwrap();
        let (ours, _theirs) = Socket::pair().unwrap();
        let (probe, _) = Probe::new();
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let visited = event_loop.with(id, |channel, event_loop| {
            channel.enter(event_loop, |_, io| {
                io.close();
                replace(io);
                Ok(())
            })
        });
        visited.unwrap();
        assert!(event_loop.is_empty());
    });
}

#[test]
fn a_run_until_the_first_channel_is_closed_ends_when_that_is_replaced() {
    with_every_loop(|event_loop: &mut EventLoop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let opening = Opening { output: 7 };
        let id = event_loop.add(DispatcherWithSend::new(ours, opening).unwrap());
        theirs.write_all(b"!ab").unwrap();
        let first = event_loop.run_until_closed(id.unwrap()).unwrap().unwrap();
        assert_eq!(first.handler().output, 7);
        assert_eq!(event_loop.len(), 1);
        theirs.shutdown(Shutdown::Write).unwrap();
        turn_until_empty(event_loop);
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, ".......ab");
    });
}

/// Fails after it has left the connection to another channel.
struct Hasty;

impl Handler for Hasty {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.recv(&mut [0; 1])?;
        io.replace(|connection, event_loop| {
            let upper = DispatcherWithSend::from_connection(connection, Upper(String::new()));
            event_loop.add(upper)?;
            Ok(())
        })?;
        Err(Error::other("of the handler that is replaced"))
    }
    fn handle_error(&mut self, _: &mut Io<'_>, _: Error) -> Result<()> {
        panic!("it is replaced");
    }
    fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
        panic!("the connection is not closed");
    }
}

impl ChatHandler for Hasty {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let _ = io.take_data();
        io.replace(|connection, event_loop| {
            let upper = DispatcherWithSend::from_connection(connection, Upper(String::new()));
            event_loop.add(upper)?;
            Ok(())
        })?;
        Err(Error::other("of the handler that is replaced"))
    }
    fn handle_close(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        panic!("the connection is not closed");
    }
}

#[test]
fn an_error_after_a_replacement_loses_neither_the_connection_nor_its_input() {
    with_every_loop(|event_loop| {
        for is_chat in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            if is_chat {
                let mut chat = AsyncChat::new(ours, Hasty).unwrap();
                chat.set_terminator("!");
                event_loop.add(chat).unwrap();
            } else {
                let channel = DispatcherWithSend::new(ours, Hasty).unwrap();
                event_loop.add(channel).unwrap();
            }
            theirs.write_all(b"!abc").unwrap();
            theirs.shutdown(Shutdown::Write).unwrap();
            turn_until_empty(event_loop);
            let mut heard = String::new();
            theirs.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "abc");
        }
    });
}

/// Replies to a count of 0 before it reads pieces.
struct Eager(Rc<RefCell<Vec<Vec<u8>>>>);

impl ChatHandler for Eager {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.0.borrow_mut().push(io.take_data());
        io.set_terminator(";");
        io.push("a reply")
    }
}

/// Leaves the connection to an [`Eager`] chat.
struct Lazy(Rc<RefCell<Vec<Vec<u8>>>>);

impl ChatHandler for Lazy {
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let pieces = Rc::clone(&self.0);
        io.replace(move |connection, event_loop| {
            let mut chat = AsyncChat::from_connection(connection, Eager(pieces));
            chat.set_terminator(0);
            event_loop.add(chat)?;
            Ok(())
        })
    }
}

#[test]
fn input_that_came_along_is_read_although_the_first_reply_fails() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let pieces = Rc::new(RefCell::new(Vec::new()));
        let mut chat = AsyncChat::new(ours, Lazy(Rc::clone(&pieces))).unwrap();
        chat.set_terminator("!");
        event_loop.add(chat).unwrap();
        theirs.write_all(b"!abc;def;").unwrap();
        drop(theirs);
        turn_until_empty(event_loop);
        assert_eq!(*pieces.borrow(), [&b""[..], b"abc", b"def"]);
    });
}
