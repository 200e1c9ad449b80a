//! A chat's handler that records its calls, and does in each what the test wants.

use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::Rc;

use fdloop::{ChatHandler, ChatIo, Error, Result, View};

type Act = Box<dyn FnMut(&mut ChatIo<'_>) -> Result<()>>;
type OnData = Box<dyn FnMut(&mut ChatIo<'_>, &[u8]) -> Result<()>>;
type OnError = Box<dyn FnMut(&mut ChatIo<'_>, Error) -> Result<()>>;

/// The calls of a [`Recorder`], shared with the test.
#[derive(Default)]
pub struct Records {
    /// The data collected since the last piece was complete.
    collected: RefCell<Vec<u8>>,
    pieces: RefCell<Vec<Vec<u8>>>,
    events: RefCell<Vec<String>>,
    /// The number of bytes collected in total.
    pub bytes: Cell<usize>,
    pub wants_read: Cell<bool>,
}

impl Records {
    /// Returns the complete pieces, as text.
    pub fn pieces(&self) -> Vec<String> {
        let pieces = self.pieces.borrow();
        pieces.iter().map(|piece| shown(piece)).collect()
    }

    /// Returns the data collected since the last complete piece, as text.
    pub fn tail(&self) -> String {
        shown(&self.collected.borrow())
    }

    /// Returns all calls, in order: complete pieces as `"…"`, and `connect`, `drain`, `eof`,
    /// `close` and `error: …`. Data of an incomplete piece comes before the call, as `…`.
    pub fn events(&self) -> Vec<String> {
        self.events.borrow().clone()
    }

    /// Returns the number of calls for `event`.
    pub fn count(&self, event: &str) -> usize {
        self.events.borrow().iter().filter(|e| *e == event).count()
    }

    /// Checks whether there was a call for `event`.
    pub fn heard(&self, event: &str) -> bool {
        self.count(event) > 0
    }

    fn note(&self, event: impl Into<String>) {
        self.events.borrow_mut().push(event.into());
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// A handler that records every call, then does what was set with `on_*`. By default it does what
/// the defaults of [`ChatHandler`] do, without logging.
pub struct Recorder {
    records: Rc<Records>,
    collect: Option<OnData>,
    found: Option<OnData>,
    connect: Option<Act>,
    drain: Option<Act>,
    eof: Option<Act>,
    close: Option<Act>,
    error: Option<OnError>,
}

impl Recorder {
    /// Makes a recorder. Returns it and its record.
    pub fn new() -> (Self, Rc<Records>) {
        let records = Rc::new(Records::default());
        records.wants_read.set(true);
        let recorder = Self {
            records: Rc::clone(&records),
            collect: None,
            found: None,
            connect: None,
            drain: None,
            eof: None,
            close: None,
            error: None,
        };
        (recorder, records)
    }

    /// Makes a recorder without keeping its record.
    pub fn silent() -> Self {
        Self::new().0
    }

    /// Sets what to do when a part of a piece arrives.
    pub fn on_collect(
        mut self,
        act: impl FnMut(&mut ChatIo<'_>, &[u8]) -> Result<()> + 'static,
    ) -> Self {
        self.collect = Some(Box::new(act));
        self
    }

    /// Sets what to do when a piece is complete.
    pub fn on_found(
        mut self,
        act: impl FnMut(&mut ChatIo<'_>, &[u8]) -> Result<()> + 'static,
    ) -> Self {
        self.found = Some(Box::new(act));
        self
    }

    pub fn on_connect(mut self, act: impl FnMut(&mut ChatIo<'_>) -> Result<()> + 'static) -> Self {
        self.connect = Some(Box::new(act));
        self
    }

    pub fn on_drain(mut self, act: impl FnMut(&mut ChatIo<'_>) -> Result<()> + 'static) -> Self {
        self.drain = Some(Box::new(act));
        self
    }

    pub fn on_eof(mut self, act: impl FnMut(&mut ChatIo<'_>) -> Result<()> + 'static) -> Self {
        self.eof = Some(Box::new(act));
        self
    }

    pub fn on_close(mut self, act: impl FnMut(&mut ChatIo<'_>) -> Result<()> + 'static) -> Self {
        self.close = Some(Box::new(act));
        self
    }

    pub fn on_error(
        mut self,
        act: impl FnMut(&mut ChatIo<'_>, Error) -> Result<()> + 'static,
    ) -> Self {
        self.error = Some(Box::new(act));
        self
    }

    /// Records something other than a complete piece.
    fn note(&self, event: impl Into<String>) {
        let tail = self.records.collected.borrow();
        if !tail.is_empty() {
            self.records.note(shown(&tail));
        }
        self.records.note(event);
    }

    fn act(
        told: &mut Option<Act>,
        io: &mut ChatIo<'_>,
        default: impl FnOnce(&mut ChatIo<'_>),
    ) -> Result<()> {
        match told {
            Some(told) => told(io),
            None => {
                default(io);
                Ok(())
            }
        }
    }
}

impl ChatHandler for Recorder {
    fn readable(&self, _: &View<'_>) -> bool {
        self.records.wants_read.get()
    }

    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        assert!(!data.is_empty(), "nothing was handed out");
        let bytes = &self.records.bytes;
        bytes.set(bytes.get() + data.len());
        self.records.collected.borrow_mut().extend_from_slice(data);
        match &mut self.collect {
            Some(told) => told(io, data),
            None => Ok(()),
        }
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        let piece = mem::take(&mut *self.records.collected.borrow_mut());
        self.records.note(format!("\"{}\"", shown(&piece)));
        self.records.pieces.borrow_mut().push(piece.clone());
        match &mut self.found {
            Some(told) => told(io, &piece),
            None => Ok(()),
        }
    }

    fn handle_connect(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("connect");
        Self::act(&mut self.connect, io, |_| ())
    }

    fn handle_drain(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("drain");
        Self::act(&mut self.drain, io, |_| ())
    }

    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("eof");
        Self::act(&mut self.eof, io, |io| io.close_after_eof())
    }

    fn handle_close(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note("close");
        Self::act(&mut self.close, io, |_| ())
    }

    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        // The begin of a piece that is too long is not part of the next one.
        self.records.collected.take();
        self.records.note(format!("error: {error}"));
        match &mut self.error {
            Some(told) => told(io, error),
            None => {
                io.fail(error);
                Ok(())
            }
        }
    }
}
