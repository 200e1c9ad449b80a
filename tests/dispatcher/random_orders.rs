//! Handlers that do at random what an endpoint can be asked to do: in any call, in any order, and
//! then fail or panic. The rules hold nevertheless.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::on_every_backend;
use crate::common::random::Random;
use fdloop::{
    AnyId, Backend, Dispatcher, DispatcherWithSend, Error, EventLoop, Handler, Io, IterProducer,
    Result, Transport, View,
};

/// Cases for each backend.
const CASES: u64 = 200;

/// The state that the handler, its transport and the test share.
#[derive(Default)]
struct Case {
    random: Random,
    record: RefCell<Vec<String>>,
    /// True once the handler makes only the necessary calls.
    calm: Cell<bool>,
    wants_read: Cell<bool>,
    wants_write: Cell<bool>,
    /// The bytes that the channel took, and the handler received.
    sent: RefCell<Vec<u8>>,
    received: RefCell<Vec<u8>>,
    /// True if some of the output may be lost.
    lossy: Cell<bool>,
    /// True if the handler has closed the channel, directly or by its id.
    closed: Cell<bool>,
    ended: Cell<bool>,
    close_begun: Cell<bool>,
    /// True if there may be no room for output of `handle_close`.
    sent_before_close: Cell<usize>,
    /// True if a rule was broken.
    broken: Cell<bool>,
}

impl Case {
    fn note(&self, what: impl Into<String>) {
        self.record.borrow_mut().push(what.into());
    }

    /// Records a call, and checks whether it may be made.
    fn begin(&self, call: &str) {
        self.note(format!("{call}:"));
        let in_close = call == "error" && self.close_begun.get();
        // Not asserted here, where the loop catches panics.
        let broken = match call {
            _ if self.closed.get() => "a call after the channel was closed",
            _ if self.close_begun.get() && !in_close => "a call after close",
            "read" if self.ended.get() => "a read after eof",
            "eof" if self.ended.get() => "a second eof",
            _ => "",
        };
        if !broken.is_empty() {
            self.note(broken);
            self.broken.set(true);
        }
        match call {
            "eof" => self.ended.set(true),
            "close" => {
                self.close_begun.set(true);
                self.sent_before_close.set(self.sent.borrow().len());
            }
            _ => {}
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = [1, 7, 300, 5_000, 100_000][self.random.below(5)];
        let begin = self.random.below(256);
        (0..len).map(|i| (begin + i) as u8).collect()
    }

    /// Does something to the endpoint. Returns what the method did.
    fn act(&self, io: &mut fdloop::Endpoint) -> Result<()> {
        let choice = self.random.below(20);
        self.note(format!("  {choice}"));
        match choice {
            0..=3 => {
                let data = self.bytes();
                let n = match choice {
                    0 => io.send_owned(data.clone())?,
                    _ => io.send(&data)?,
                };
                self.sent.borrow_mut().extend_from_slice(&data[..n]);
            }
            4..=7 => {
                let mut buf = [0; 1_000];
                let len = [1, 64, 1_000][self.random.below(3)];
                let n = io.recv(&mut buf[..len])?;
                self.received.borrow_mut().extend_from_slice(&buf[..n]);
            }
            8 => {
                let pieces: Vec<_> = (0..3).map(|_| self.bytes()).collect();
                let taken = !io.will_close();
                io.send_with_producer(IterProducer::new(pieces.clone()))?;
                if taken {
                    self.sent.borrow_mut().extend(pieces.concat());
                }
            }
            9 => io.flush()?,
            10 => io.shutdown_when_done()?,
            11 => io.close_when_done(),
            12 => io.close_after_eof(),
            13 => io.fail(Error::other("a failure")),
            14 => {
                self.lossy.set(true);
                io.discard_output();
            }
            15 => io.set_watermarks(self.random.below(4_000), self.random.below(80_000)),
            16 => io.set_keep_unread(self.random.below(2) == 0),
            17 => io.set_backpressure(self.random.below(2) == 0),
            18 => drop(io.rearm_input()),
            _ => self.wants_write.set(self.random.below(2) == 0),
        }
        Ok(())
    }

    /// Does what a handler does in `call`.
    fn handle(&self, call: &str, io: &mut Io<'_>) -> Result<()> {
        self.begin(call);
        if self.calm.get() {
            self.wants_write.set(false);
            match call {
                "read" => {
                    let mut buf = [0; 4_096];
                    let n = io.recv(&mut buf)?;
                    self.received.borrow_mut().extend_from_slice(&buf[..n]);
                }
                "write" if io.is_buffered() => io.flush()?,
                "eof" => io.close_after_eof(),
                _ => {}
            }
            return Ok(());
        }
        for _ in 0..self.random.below(4) {
            self.act(io)?;
        }
        match self.random.below(40) {
            0 => {
                self.note("  close");
                self.closed.set(true);
                io.close();
                // The peer may read them or not.
                self.lossy.set(true);
            }
            1 => {
                self.note("  close by id");
                self.closed.set(true);
                self.lossy.set(true);
                let id = io.id();
                io.event_loop().close(id)?;
            }
            2 => {
                self.note("  abort");
                self.closed.set(true);
                self.lossy.set(true);
                io.abort();
            }
            3 => self.wants_read.set(!self.wants_read.get()),
            4 => return Err(io::Error::from(ErrorKind::WouldBlock).into()),
            5 | 6 => {
                self.note("  error");
                return Err(Error::other("an error"));
            }
            7 => {
                self.note("  panic");
                std::panic::resume_unwind(Box::new("a panic"));
            }
            8 => {
                self.note("  exit");
                return Err(Error::ExitNow);
            }
            _ => {}
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Wild(Rc<Case>);

impl Handler for Wild {
    fn readable(&self, _: &View<'_>) -> bool {
        self.0.wants_read.get()
    }
    fn writable(&self, _: &View<'_>) -> bool {
        self.0.wants_write.get()
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.0.handle("read", io)
    }
    fn handle_write(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.0.handle("write", io)
    }
    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.0.handle("drain", io)
    }
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.0.handle("eof", io)
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        if io.reason().is_some() {
            self.0.lossy.set(true);
        }
        self.0.handle("close", io)
    }
    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        self.0.note(format!("({error})"));
        let result = self.0.handle("error", io);
        if self.0.random.below(2) == 0 {
            io.fail(error);
        }
        result
    }
}

/// A transport whose calls are interrupted, blocked and cut short.
struct Fickle(UnixStream, Rc<Case>);

impl Fickle {
    fn fail(&self) -> io::Result<()> {
        match self.1.random.below(8) {
            0 => Err(ErrorKind::WouldBlock.into()),
            1 => Err(ErrorKind::Interrupted.into()),
            _ => Ok(()),
        }
    }
}

impl Transport for Fickle {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.fail()?;
        self.0.read(buf)
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.fail()?;
        let len = data.len().min(1 + self.1.random.below(9_000));
        self.0.write(&data[..len])
    }
    fn outlives_input(&self) -> bool {
        true
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.fail()?;
        self.0.shutdown(Shutdown::Write)
    }
}

/// The peer, which does something at random.
struct Peer {
    socket: Option<UnixStream>,
    wrote: Vec<u8>,
    read: Vec<u8>,
    shut: bool,
}

impl Peer {
    fn act(&mut self, case: &Case) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        match case.random.below(12) {
            0..=2 if !self.shut => {
                let data = case.bytes();
                let n = socket.write(&data).unwrap_or(0);
                self.wrote.extend_from_slice(&data[..n]);
                case.note(format!("peer wrote {n}"));
            }
            3 => {
                case.note("peer ended its output");
                self.shut = true;
                socket.shutdown(Shutdown::Write).unwrap();
            }
            4..=8 => self.read_some(case),
            9 if case.random.below(4) == 0 => {
                case.note("peer gone");
                case.lossy.set(true);
                self.socket = None;
            }
            _ => {}
        }
    }

    fn read_some(&mut self, case: &Case) {
        let mut buf = [0; 60_000];
        if let Some(n) = self.socket.as_mut().and_then(|s| s.read(&mut buf).ok()) {
            self.read.extend_from_slice(&buf[..n]);
            if n > 0 {
                case.note(format!("peer read {n}"));
            }
        }
    }
}

fn add(event_loop: &mut EventLoop, case: &Rc<Case>, ours: UnixStream) -> AnyId {
    ours.set_nonblocking(true).unwrap();
    let wild = Wild(Rc::clone(case));
    let id: AnyId = match case.random.below(4) {
        0 => event_loop
            .add(Dispatcher::new(ours, wild).unwrap())
            .unwrap()
            .into(),
        1 => {
            let channel = DispatcherWithSend::new(ours, wild).unwrap();
            event_loop.add(channel).unwrap().into()
        }
        2 => {
            let fickle = Fickle(ours, Rc::clone(case));
            event_loop
                .add(Dispatcher::over(fickle, wild))
                .unwrap()
                .into()
        }
        _ => {
            let fickle = Fickle(ours, Rc::clone(case));
            let channel = DispatcherWithSend::over(fickle, wild);
            event_loop.add(channel).unwrap().into()
        }
    };
    id
}

/// Makes a pass that does not wait. The exit error only leaves it early.
fn pass(event_loop: &mut EventLoop) -> usize {
    match event_loop.turn(Some(Duration::ZERO)) {
        Ok(served) => served,
        Err(Error::ExitNow) => 1,
        Err(error) => panic!("{error}"),
    }
}

fn play(backend: Backend, case: &Rc<Case>) {
    let builder = EventLoop::builder().backend(backend).catch_panics(true);
    let event_loop = &mut builder.build().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut peer = Peer {
        socket: Some(theirs),
        wrote: Vec::new(),
        read: Vec::new(),
        shut: false,
    };
    let id = add(event_loop, case, ours);
    for _ in 0..40 {
        peer.act(case);
        if case.random.below(6) == 0 && !case.closed.get() {
            if let Some(endpoint) = event_loop.endpoint_mut(id) {
                case.note("from outside:");
                // Misuse is refused, and nothing else happens.
                let _ = case.act(endpoint);
            }
        }
        pass(event_loop);
    }

    // Now the handler works as intended. The loop sleeps unless something is left to do.
    case.note("calm");
    case.calm.set(true);
    case.wants_read.set(true);
    case.wants_write.set(false);
    if let Some(endpoint) = event_loop.endpoint_mut(id) {
        endpoint.set_backpressure(false);
    }
    let mut quiet = 0;
    for _ in 0..2_000 {
        let served = pass(event_loop);
        let read = peer.read.len();
        peer.read_some(case);
        quiet = if served == 0 && read == peer.read.len() {
            quiet + 1
        } else {
            0
        };
        if quiet == 3 {
            break;
        }
    }
    assert_eq!(quiet, 3, "the loop does not sleep");
    let closed_in_order = case.close_begun.get() && !case.lossy.get();
    if let Some(socket) = &peer.socket {
        if !peer.shut {
            socket.shutdown(Shutdown::Write).unwrap();
        }
    }
    for _ in 0..100 {
        pass(event_loop);
        peer.read_some(case);
    }
    let was_open = peer.socket.take().is_some();
    // The handler should have done this at the end of the input.
    if let Some(endpoint) = event_loop.endpoint_mut(id).filter(|e| e.input_ended()) {
        endpoint.close_after_eof();
    }
    for _ in 0..100 {
        pass(event_loop);
    }
    assert!(!case.broken.get(), "a call that may not be made");
    assert!(event_loop.is_empty(), "the channel never ends");
    let (sent, received) = (case.sent.borrow(), case.received.borrow());
    assert!(
        peer.wrote.starts_with(&received),
        "the input is not what was written"
    );
    if case.ended.get() && was_open {
        assert_eq!(
            received.len(),
            peer.wrote.len(),
            "input was lost before its end"
        );
    }
    if !case.lossy.get() {
        assert!(
            sent.starts_with(&peer.read),
            "the output is not what was sent"
        );
    }
    if closed_in_order {
        let before = case.sent_before_close.get();
        assert!(
            peer.read.len() >= before,
            "output was lost before the close"
        );
    }
}

#[test]
fn whatever_a_handler_does_in_any_order_the_rules_hold() {
    on_every_backend(|backend| {
        for seed in 0..CASES {
            let case = Rc::new(Case::default());
            case.random.restart(seed);
            case.wants_read.set(true);
            let play = || play(backend, &case);
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play));
            if played.is_err() || std::env::var("SHOW").is_ok() {
                let record = case.record.borrow().join("\n");
                panic!("seed {seed} on {backend}:\n{record}");
            }
        }
    });
}
