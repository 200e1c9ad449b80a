//! Chats whose handlers do everything at random that can upset a scan: they change the
//! terminator (to a count of 0, too), push, fail, panic and leave the loop, in any call.
//!
//! Every call is recorded. Afterwards a model reads the record, and follows all ways in
//! which the input may have been cut so far. Each call must be possible in one of them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use super::random::Random;
use crate::common::on_every_backend;
use fdloop::{AsyncChat, Backend, ChatHandler, ChatIo, Error, EventLoop, Result, Terminator};

/// Cases for each backend.
const CASES: u64 = 1_000;

#[test]
fn whatever_a_handler_does_each_byte_is_in_its_piece() {
    on_every_backend(|backend| {
        for seed in 0..CASES {
            let record = record(backend, seed);
            if let Err(why) = Model::follow(&record) {
                let mut shown = String::new();
                for event in &record.events {
                    writeln!(shown, "  {event:?}").unwrap();
                }
                panic!("seed {seed}, limit {:?}: {why}\n{shown}", record.limit);
            }
            let (pushed, received) = (&record.pushed, &record.received);
            assert_eq!(pushed, received, "seed {seed}: {:?}", record.events);
        }
    });
}

impl Random {
    fn cut(&mut self) -> Cut {
        let len = 1 + self.below(5);
        match self.below(8) {
            0 => Cut::None,
            1 | 2 => Cut::Count(0),
            3 => Cut::Count(self.below(7)),
            4 => Cut::Bytes(vec![b'a'; len]),
            _ => Cut::Bytes(self.bytes(len)),
        }
    }

    fn fails(&mut self) -> Fails {
        match self.below(16) {
            0 => Fails::WouldBlock,
            1 | 2 => Fails::Error,
            3 | 4 => Fails::Panic,
            5 | 6 => Fails::Exit,
            _ => Fails::No,
        }
    }
}

/// A terminator, in the model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    None,
    Count(usize),
    Bytes(Vec<u8>),
}

impl Cut {
    fn terminator(&self) -> Terminator {
        match self {
            Self::None => Terminator::none(),
            Self::Count(count) => (*count).into(),
            Self::Bytes(bytes) => Terminator::bytes(bytes),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fails {
    No,
    WouldBlock,
    Error,
    Panic,
    Exit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    // From outside.
    Arrives(Vec<u8>),
    Ends,
    Quiet,
    // The calls of the handler, and what they do.
    Collect(Vec<u8>),
    Found,
    Error { too_long: bool },
    Eof,
    Close,
    Set(Cut),
    Fails(Fails),
}

#[derive(Default)]
struct Record {
    limit: Option<usize>,
    events: Vec<Event>,
    pushed: Vec<u8>,
    received: Vec<u8>,
}

struct Hostile {
    random: Random,
    record: Rc<RefCell<Record>>,
}

impl Hostile {
    fn note(&self, event: Event) {
        self.record.borrow_mut().events.push(event);
    }

    fn act(&mut self, io: &mut ChatIo<'_>, sets: usize, fails: Fails) -> Result<()> {
        if self.random.below(sets) == 0 {
            let cut = self.random.cut();
            io.set_terminator(cut.terminator());
            self.note(Event::Set(cut));
        }
        if self.random.below(3) == 0 {
            let len = self.random.below(40);
            let data = self.random.bytes(len);
            self.record.borrow_mut().pushed.extend(&data);
            io.push(data)?;
        }
        self.note(Event::Fails(fails));
        match fails {
            Fails::No => Ok(()),
            Fails::WouldBlock => Err(std::io::Error::from(ErrorKind::WouldBlock).into()),
            Fails::Error => Err(Error::other("an error at random")),
            Fails::Panic => std::panic::resume_unwind(Box::new("a panic at random")),
            Fails::Exit => Err(Error::ExitNow),
        }
    }
}

impl ChatHandler for Hostile {
    fn collect_incoming_data(&mut self, io: &mut ChatIo<'_>, data: &[u8]) -> Result<()> {
        self.note(Event::Collect(data.to_vec()));
        let fails = self.random.fails();
        self.act(io, 6, fails)
    }

    fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note(Event::Found);
        let fails = self.random.fails();
        self.act(io, 2, fails)
    }

    fn handle_error(&mut self, io: &mut ChatIo<'_>, error: Error) -> Result<()> {
        let too_long = matches!(error, Error::LineTooLong(_));
        self.note(Event::Error { too_long });
        self.act(io, 4, Fails::No)
    }

    fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
        self.note(Event::Eof);
        io.close_after_eof();
        Ok(())
    }

    fn handle_close(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        self.note(Event::Close);
        Ok(())
    }
}

/// Lets a chat live through a case, and records it.
fn record(backend: Backend, seed: u64) -> Record {
    let mut random = Random::new(seed);
    let builder = EventLoop::builder().backend(backend).catch_panics(true);
    let mut event_loop = builder.build().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let limit = (random.below(3) == 0).then(|| random.below(8));
    let shared = Rc::new(RefCell::new(Record {
        limit,
        ..Record::default()
    }));
    let handler = Hostile {
        random: Random(random.0 ^ 1),
        record: Rc::clone(&shared),
    };
    let mut chat = AsyncChat::new(ours, handler).unwrap();
    chat.set_limit(limit);
    let id = event_loop.add(chat).unwrap();
    let note = |event| shared.borrow_mut().events.push(event);
    let longest = 1 + random.below(14);
    for number in 0..1 + random.below(8) {
        if number == 0 || random.below(4) == 0 {
            let cut = random.cut();
            let chat = event_loop.get_mut(id).unwrap();
            chat.set_terminator(cut.terminator());
            note(Event::Set(cut));
            turn_until_quiet(&mut event_loop, &shared);
            note(Event::Quiet);
        }
        let len = 1 + random.below(longest);
        let data = random.bytes(len);
        theirs.write_all(&data).unwrap();
        note(Event::Arrives(data));
        turn_until_quiet(&mut event_loop, &shared);
        note(Event::Quiet);
    }
    theirs.shutdown(Shutdown::Write).unwrap();
    note(Event::Ends);
    turn_until_quiet(&mut event_loop, &shared);
    assert!(event_loop.is_empty(), "seed {seed}: the chat goes on");
    let mut received = Vec::new();
    theirs.read_to_end(&mut received).unwrap();
    drop(event_loop);
    shared.borrow_mut().received = received;
    shared.take()
}

fn turn_until_quiet(event_loop: &mut EventLoop, record: &RefCell<Record>) {
    loop {
        let before = record.borrow().events.len();
        let left = match event_loop.turn(Some(Duration::ZERO)) {
            Ok(_) => false,
            Err(error) => {
                assert!(matches!(error, Error::ExitNow), "{error}");
                true
            }
        };
        if !left && record.borrow().events.len() == before {
            return;
        }
    }
}

/// One way in which the input may have been cut so far.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    /// The first byte that was not handed out.
    next: usize,
    cut: Cut,
    /// The length of the piece's terminator, if that was found: the call is due.
    found: Option<usize>,
    /// The number of bytes of the piece that were handed out, for the limit.
    length: usize,
    /// The piece is over the limit.
    too_long: bool,
    /// The rest was held back for a terminator that was then changed: until more input
    /// comes, the chat does not look for the new one in it.
    stalled: bool,
}

struct Model {
    input: Vec<u8>,
    limit: Option<usize>,
    ended: bool,
    ways: BTreeSet<Way>,
}

impl Model {
    fn follow(record: &Record) -> std::result::Result<(), String> {
        let mut model = Self {
            input: Vec::new(),
            limit: record.limit,
            ended: false,
            ways: BTreeSet::from([Way {
                next: 0,
                cut: Cut::None,
                found: None,
                length: 0,
                too_long: false,
                stalled: false,
            }]),
        };
        let (mut failed, mut closed) = (false, false);
        for (at, event) in record.events.iter().enumerate() {
            if closed || failed && *event != (Event::Error { too_long: false }) {
                return Err(format!("event {at}, {event:?}, comes after another"));
            }
            failed = matches!(event, Event::Fails(Fails::Error | Fails::Panic));
            closed = *event == Event::Close;
            let ways = model.ways.clone();
            model.step(event);
            if model.ways.is_empty() {
                return Err(format!(
                    "event {at}, {event:?}, is not possible in {ways:?}"
                ));
            }
        }
        if closed {
            Ok(())
        } else {
            Err("it never closed".into())
        }
    }

    fn step(&mut self, event: &Event) {
        self.drop_silently();
        match event {
            Event::Arrives(data) => {
                self.input.extend(data);
                self.advance(|_, way| {
                    vec![Way {
                        stalled: false,
                        ..way
                    }]
                });
            }
            Event::Ends => self.ended = true,
            Event::Set(cut) => {
                self.advance(|model, way| {
                    let like = std::mem::discriminant(cut) == std::mem::discriminant(&way.cut);
                    let anew = !like && way.found.is_none();
                    vec![Way {
                        cut: cut.clone(),
                        length: if anew { 0 } else { way.length },
                        too_long: way.too_long && !anew,
                        stalled: way.stalled || model.holds_rest(&way),
                        ..way
                    }]
                });
            }
            Event::Collect(data) => self.advance(|model, way| {
                let mut ways = model.collected(&way, data.len());
                let within = |way: &Way| {
                    let limited = matches!(way.cut, Cut::Bytes(_));
                    !limited || model.limit.is_none_or(|limit| way.length <= limit)
                };
                ways.retain(within);
                let fits = !way.too_long && model.input[way.next..].starts_with(data);
                if fits { ways } else { Vec::new() }
            }),
            Event::Error { too_long: true } => self.advance(|model, way| {
                let all = 1..=model.input.len() - way.next;
                let ways = all.flat_map(|len| model.collected(&way, len));
                let long = ways.filter(|way| {
                    let limited = matches!(way.cut, Cut::Bytes(_));
                    limited && model.limit.is_some_and(|limit| way.length > limit)
                });
                long.map(|way| Way {
                    too_long: true,
                    ..way
                })
                .collect()
            }),
            Event::Found => self.advance(|model, way| {
                let ended = model.piece_ended(&way);
                ended.filter(|_| !way.too_long).into_iter().collect()
            }),
            Event::Eof => self.advance(|model, way| match way.next == model.input.len() {
                true => vec![way],
                false => Vec::new(),
            }),
            Event::Quiet => self.advance(|model, way| match model.is_quiet(&way) {
                true => vec![way],
                false => Vec::new(),
            }),
            Event::Error { .. } | Event::Close | Event::Fails(_) => {}
        }
        self.drop_silently();
    }

    fn advance(&mut self, next: impl Fn(&Self, Way) -> Vec<Way>) {
        let ways = std::mem::take(&mut self.ways);
        self.ways = ways.into_iter().flat_map(|way| next(self, way)).collect();
    }

    /// What comes of a piece that is too long is dropped, without a call.
    fn drop_silently(&mut self) {
        let mut new: Vec<Way> = self
            .ways
            .iter()
            .filter(|way| way.too_long)
            .cloned()
            .collect();
        while let Some(way) = new.pop() {
            let all = 1..=self.input.len() - way.next;
            let dropped = all.flat_map(|len| self.collected(&way, len));
            let next: Vec<Way> = dropped.chain(self.piece_ended(&way)).collect();
            for way in next {
                if self.ways.insert(way.clone()) && way.too_long {
                    new.push(way);
                }
            }
        }
    }

    /// The ways after `len` bytes of the piece were handed out, if they can be.
    fn collected(&self, way: &Way, len: usize) -> Vec<Way> {
        let input = &self.input[way.next..];
        if way.found.is_some() || way.cut == Cut::Count(0) || len > input.len() {
            return Vec::new();
        }
        let after = Way {
            next: way.next + len,
            length: way.length + len,
            stalled: false,
            ..way.clone()
        };
        let found = |length, cut: &Cut| Way {
            found: Some(length),
            cut: cut.clone(),
            ..after.clone()
        };
        match &way.cut {
            // The tail has no terminator.
            _ if self.ended => vec![after],
            Cut::None => vec![after],
            Cut::Count(count) if len > *count => Vec::new(),
            Cut::Count(count) if len == *count => vec![found(0, &Cut::None)],
            Cut::Count(count) => vec![Way {
                cut: Cut::Count(count - len),
                ..after
            }],
            Cut::Bytes(bytes) => match position(input, bytes) {
                Some(end) if len > end => Vec::new(),
                // It may have been found already, or not.
                Some(end) if len == end => vec![found(bytes.len(), &way.cut), after],
                None if len > input.len() - held_back(input, bytes) => Vec::new(),
                _ => vec![after],
            },
        }
    }

    /// The way after the end of the piece, if the piece can end here.
    fn piece_ended(&self, way: &Way) -> Option<Way> {
        let (skip, cut) = match (way.found, &way.cut) {
            (Some(length), cut) => (length, cut.clone()),
            (None, Cut::Count(0)) => (0, Cut::None),
            (None, Cut::Bytes(bytes)) if self.input[way.next..].starts_with(bytes) => {
                (bytes.len(), way.cut.clone())
            }
            _ => return None,
        };
        Some(Way {
            next: way.next + skip,
            cut,
            found: None,
            length: 0,
            too_long: false,
            stalled: way.stalled && skip == 0,
        })
    }

    /// Checks whether all of the input that was not handed out may be the beginning of the
    /// terminator.
    fn holds_rest(&self, way: &Way) -> bool {
        let input = &self.input[way.next..];
        match &way.cut {
            Cut::Bytes(bytes) => input.len() < bytes.len() && bytes.starts_with(input),
            _ => false,
        }
    }

    /// Checks that nothing is left to be done before more input comes.
    fn is_quiet(&self, way: &Way) -> bool {
        if way.found.is_some() || way.cut == Cut::Count(0) {
            return false;
        }
        way.stalled || way.next == self.input.len() || self.holds_rest(way)
    }
}

fn position(data: &[u8], bytes: &[u8]) -> Option<usize> {
    data.windows(bytes.len()).position(|window| window == bytes)
}

/// Returns the number of bytes at the end of `data` that may begin a terminator.
fn held_back(data: &[u8], bytes: &[u8]) -> usize {
    let longest = data.len().min(bytes.len() - 1);
    let mut lengths = (0..=longest).rev();
    let held = lengths.find(|len| data.ends_with(&bytes[..*len]));
    held.unwrap_or(0)
}
