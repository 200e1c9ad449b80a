//! The check of the rules of handlers: the order of the calls of any handler.

use std::borrow::{Borrow, BorrowMut};
use std::cell::Cell;
use std::rc::Rc;

use fdloop::{Address, ChatHandler, ChatIo, Error, Handler, Io, Predicates, Result, Socket, View};
use log::Level;

/// The calls of a checked handler.
#[derive(Default)]
pub struct Heard {
    closes: Cell<u32>,
    /// The channel is closed: no handler may run any more.
    over: Cell<bool>,
    /// The channel was closed by something else than its end, so that `handle_close` is not called.
    closed: Cell<bool>,
    /// The name of the handler that runs.
    within: Cell<Option<&'static str>>,
    timeouts: Cell<u32>,
    ends_of_input: Cell<u32>,
}

impl Heard {
    pub fn closes(&self) -> u32 {
        self.closes.get()
    }

    pub fn timeouts(&self) -> u32 {
        self.timeouts.get()
    }

    pub fn ends_of_input(&self) -> u32 {
        self.ends_of_input.get()
    }

    /// Checks whether the program has closed the channel, which may lose output.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Notes that something else than a handler has closed the channel.
    pub fn close(&self) {
        self.over.set(true);
        self.closed.set(true);
    }

    fn begin(&self, name: &'static str) {
        let outer = self.within.replace(Some(name));
        assert_eq!(outer, None, "{name} was called within another handler");
        assert!(!self.over.get(), "{name} was called after the end");
        let count = |calls: &Cell<u32>| {
            calls.set(calls.get() + 1);
            calls.get()
        };
        match name {
            "handle_close" => assert_eq!(count(&self.closes), 1, "handle_close was called twice"),
            "handle_eof" => assert_eq!(count(&self.ends_of_input), 1, "the input ended twice"),
            "handle_timeout" => drop(count(&self.timeouts)),
            "handle_read" | "collect_incoming_data" | "found_terminator" => {
                assert_eq!(
                    self.ends_of_input(),
                    0,
                    "{name} was called after handle_eof"
                );
            }
            _ => {}
        }
    }

    fn end(&self, name: &'static str, result: &Result<()>, is_closed: bool) {
        self.within.set(None);
        match name {
            // If it fails, `handle_error` follows.
            "handle_close" => self.over.set(result.is_ok()),
            _ if self.closes() > 0 => self.over.set(true),
            _ if is_closed => self.close(),
            _ => {}
        }
    }
}

/// A call that is passed to the test before the handler runs.
pub enum Call<'c> {
    /// `found_terminator`, with the piece.
    Piece(&'c [u8]),
    /// `handle_eof`, with the input that has no terminator.
    Eof(&'c [u8]),
    Error(&'c Error),
    Close(Option<&'c Error>),
}

/// Checks the calls of another handler: none within another, none after `handle_close` or
/// `close`, no input after `handle_eof`, and both of these at most once.
pub struct Checked<H> {
    handler: H,
    heard: Rc<Heard>,
    tell: Box<dyn FnMut(Call<'_>)>,
}

impl<H> Checked<H> {
    pub fn new(handler: H) -> (Self, Rc<Heard>) {
        Self::telling(handler, |_| {})
    }

    /// Calls `tell` with the calls of the handler.
    pub fn telling(handler: H, tell: impl FnMut(Call<'_>) + 'static) -> (Self, Rc<Heard>) {
        let heard = Rc::<Heard>::default();
        let checked = Self {
            handler,
            heard: Rc::clone(&heard),
            tell: Box::new(tell),
        };
        (checked, heard)
    }
}

/// For functions of a program that reach the state of a handler which may be within another.
impl<H> Borrow<H> for Checked<H> {
    fn borrow(&self) -> &H {
        &self.handler
    }
}

impl<H> BorrowMut<H> for Checked<H> {
    fn borrow_mut(&mut self) -> &mut H {
        &mut self.handler
    }
}

/// Calls a method of the handler, with the checks around it.
macro_rules! call {
    ($self:ident, $io:ident, $name:ident $(, $argument:ident)*) => {{
        $self.heard.begin(stringify!($name));
        let result = $self.handler.$name($io $(, $argument)*);
        $self.heard.end(stringify!($name), &result, $io.is_closed());
        result
    }};
}

/// The methods of a checked handler that need nothing but the checks.
macro_rules! checked {
    ($Io:ident: $($name:ident($($argument:ident: $Type:ty),*)),+ $(,)?) => {$(
        fn $name(&mut self, io: &mut $Io<'_> $(, $argument: $Type)*) -> Result<()> {
            call!(self, io, $name $(, $argument)*)
        }
    )+};
}

impl<H: Handler> Handler for Checked<H> {
    fn readable(&self, io: &View<'_>) -> bool {
        self.handler.readable(io)
    }
    fn writable(&self, io: &View<'_>) -> bool {
        self.handler.writable(io)
    }
    fn predicates(&self) -> Predicates {
        self.handler.predicates()
    }
    checked! { Io:
        handle_read(), handle_write(), handle_drain(), handle_timeout(), handle_expt(),
        handle_connect(), handle_accept(), handle_accepted(socket: Socket, peer: Address),
        handle_accept_error(peer: Address, error: Error), handle_eof(), handle_close(),
        handle_error(error: Error),
    }
    fn log(&mut self, io: &mut Io<'_>, message: &str) -> Result<()> {
        self.handler.log(io, message)
    }
    fn log_info(&mut self, io: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        self.handler.log_info(io, message, level)
    }
}

impl<H: ChatHandler> ChatHandler for Checked<H> {
    fn readable(&self, io: &View<'_>) -> bool {
        self.handler.readable(io)
    }
    fn predicates(&self) -> Predicates {
        self.handler.predicates()
    }
    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        call!(self, io, collect_incoming_data, data)
    }
    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (self.tell)(Call::Piece(io.data()));
        call!(self, io, found_terminator)
    }
    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (self.tell)(Call::Eof(io.data()));
        call!(self, io, handle_eof)
    }
    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        (self.tell)(Call::Close(io.reason()));
        call!(self, io, handle_close)
    }
    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        (self.tell)(Call::Error(&error));
        call!(self, io, handle_error, error)
    }
    checked! { ChatIo:
        handle_drain(), handle_timeout(), handle_expt(), handle_connect(), handle_accept(),
        handle_accepted(socket: Socket, peer: Address),
        handle_accept_error(peer: Address, error: Error),
    }
    fn log(&mut self, io: &mut ChatIo<'_>, message: &str) -> Result<()> {
        self.handler.log(io, message)
    }
    fn log_info(&mut self, io: &mut ChatIo<'_>, message: &str, level: Level) -> Result<()> {
        self.handler.log_info(io, message, level)
    }
}
