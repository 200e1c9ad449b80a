//! A handler that records its calls, and does in each what the test wants.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fdloop::{Address, Error, Handler, Io, Result, Socket, View};

type Act = Box<dyn FnMut(&mut Io<'_>) -> Result<()>>;
type OnAccepted = Box<dyn FnMut(&mut Io<'_>, Socket, Address) -> Result<()>>;
type OnAcceptError = Box<dyn FnMut(&mut Io<'_>, Address, Error) -> Result<()>>;
type OnError = Box<dyn FnMut(&mut Io<'_>, Error) -> Result<()>>;

/// The calls of a [`Probe`], and the values of its predicates, shared with the test.
#[derive(Default)]
pub struct Seen {
    events: RefCell<Vec<&'static str>>,
    received: RefCell<Vec<u8>>,
    errors: RefCell<Vec<String>>,
    reason: RefCell<Option<(Option<i32>, String)>>,
    pub accepted: RefCell<Vec<(Socket, Address)>>,
    pub wants_read: Cell<bool>,
    pub wants_write: Cell<bool>,
}

impl Seen {
    /// Returns all calls, in order: `read`, `write`, `expt`, `connect`, `accepted`,
    /// `eof`, `close`, `error`, `accept_error`.
    pub fn events(&self) -> Vec<&'static str> {
        self.events.borrow().clone()
    }

    /// Returns the number of calls for `event`.
    pub fn count(&self, event: &str) -> usize {
        self.events.borrow().iter().filter(|e| **e == event).count()
    }

    pub fn heard(&self, event: &str) -> bool {
        self.count(event) > 0
    }

    /// Takes the calls so far, and forgets them.
    pub fn take(&self) -> Vec<&'static str> {
        self.events.take()
    }

    pub fn received(&self) -> Vec<u8> {
        self.received.borrow().clone()
    }

    /// Adds to the received bytes, for a probe that receives in a way of its own.
    pub fn receive(&self, data: &[u8]) {
        self.received.borrow_mut().extend_from_slice(data);
    }

    pub fn received_len(&self) -> usize {
        self.received.borrow().len()
    }

    /// Returns the errors that reached `handle_error`, as text.
    pub fn errors(&self) -> Vec<String> {
        self.errors.borrow().clone()
    }

    /// Returns the `errno` and the text of the reason of the close.
    pub fn reason(&self) -> Option<(Option<i32>, String)> {
        self.reason.borrow().clone()
    }

    fn note(&self, event: &'static str) {
        self.events.borrow_mut().push(event);
    }
}

/// A handler that records every call, then does what was set with `on_*`. By default it receives
/// 4,096 bytes at each read, stops wanting to write at the first write, keeps accepted sockets, and
/// does at errors and ends what the defaults of [`Handler`] do. It wants to read and not to write.
pub struct Probe {
    seen: Rc<Seen>,
    read: Option<Act>,
    write: Option<Act>,
    expt: Option<Act>,
    connect: Option<Act>,
    accepted: Option<OnAccepted>,
    accept_error: Option<OnAcceptError>,
    eof: Option<Act>,
    close: Option<Act>,
    error: Option<OnError>,
}

impl Probe {
    /// Makes a probe. Returns it and its record.
    pub fn new() -> (Self, Rc<Seen>) {
        let seen = Rc::new(Seen::default());
        seen.wants_read.set(true);
        let probe = Self {
            seen: Rc::clone(&seen),
            read: None,
            write: None,
            expt: None,
            connect: None,
            accepted: None,
            accept_error: None,
            eof: None,
            close: None,
            error: None,
        };
        (probe, seen)
    }

    /// Makes a probe without keeping its record.
    pub fn silent() -> Self {
        Self::new().0
    }

    pub fn on_read(mut self, act: impl FnMut(&mut Io<'_>) -> Result<()> + 'static) -> Self {
        self.read = Some(Box::new(act));
        self
    }

    pub fn on_write(mut self, act: impl FnMut(&mut Io<'_>) -> Result<()> + 'static) -> Self {
        self.write = Some(Box::new(act));
        self
    }

    pub fn on_expt(mut self, act: impl FnMut(&mut Io<'_>) -> Result<()> + 'static) -> Self {
        self.expt = Some(Box::new(act));
        self
    }

    pub fn on_connect(mut self, act: impl FnMut(&mut Io<'_>) -> Result<()> + 'static) -> Self {
        self.connect = Some(Box::new(act));
        self
    }

    pub fn on_accepted(
        mut self,
        act: impl FnMut(&mut Io<'_>, Socket, Address) -> Result<()> + 'static,
    ) -> Self {
        self.accepted = Some(Box::new(act));
        self
    }

    pub fn on_accept_error(
        mut self,
        act: impl FnMut(&mut Io<'_>, Address, Error) -> Result<()> + 'static,
    ) -> Self {
        self.accept_error = Some(Box::new(act));
        self
    }

    pub fn on_eof(mut self, act: impl FnMut(&mut Io<'_>) -> Result<()> + 'static) -> Self {
        self.eof = Some(Box::new(act));
        self
    }

    pub fn on_close(mut self, act: impl FnMut(&mut Io<'_>) -> Result<()> + 'static) -> Self {
        self.close = Some(Box::new(act));
        self
    }

    pub fn on_error(mut self, act: impl FnMut(&mut Io<'_>, Error) -> Result<()> + 'static) -> Self {
        self.error = Some(Box::new(act));
        self
    }
}

/// Does what was set for an event, or `default`.
fn act(set: &mut Option<Act>, io: &mut Io<'_>, default: impl FnOnce(&mut Io<'_>)) -> Result<()> {
    match set {
        Some(set) => set(io),
        None => {
            default(io);
            Ok(())
        }
    }
}

impl Handler for Probe {
    fn readable(&self, _: &View<'_>) -> bool {
        self.seen.wants_read.get()
    }

    fn writable(&self, _: &View<'_>) -> bool {
        self.seen.wants_write.get()
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.seen.note("read");
        if let Some(told) = &mut self.read {
            return told(io);
        }
        let mut buf = [0; 4096];
        let n = io.recv(&mut buf)?;
        self.seen.received.borrow_mut().extend_from_slice(&buf[..n]);
        Ok(())
    }

    fn handle_write(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.seen.note("write");
        let seen = Rc::clone(&self.seen);
        act(&mut self.write, io, |_| seen.wants_write.set(false))
    }

    fn handle_expt(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.seen.note("expt");
        act(&mut self.expt, io, |_| ())
    }

    fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.seen.note("connect");
        act(&mut self.connect, io, |_| ())
    }

    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, peer: Address) -> Result<()> {
        self.seen.note("accepted");
        match &mut self.accepted {
            Some(told) => told(io, socket, peer),
            None => {
                self.seen.accepted.borrow_mut().push((socket, peer));
                Ok(())
            }
        }
    }

    fn handle_accept_error(&mut self, io: &mut Io<'_>, peer: Address, error: Error) -> Result<()> {
        self.seen.note("accept_error");
        let text = format!("{peer}: {error}");
        self.seen.errors.borrow_mut().push(text);
        match &mut self.accept_error {
            Some(told) => told(io, peer, error),
            None => Ok(()),
        }
    }

    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.seen.note("eof");
        act(&mut self.eof, io, |io| io.close_after_eof())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        self.seen.note("close");
        let reason = io.reason().map(|e| (e.raw_os_error(), e.to_string()));
        self.seen.reason.replace(reason);
        act(&mut self.close, io, |_| ())
    }

    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        self.seen.note("error");
        self.seen.errors.borrow_mut().push(error.to_string());
        match &mut self.error {
            Some(told) => told(io, error),
            None => {
                io.fail(error);
                Ok(())
            }
        }
    }
}
