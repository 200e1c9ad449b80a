//! Makes random scenarios whose outcome is certain.
//!
//! A scenario is one or two plays, each with a channel of its own (or a listener
//! and its children) and a peer, then some things that happen to them, and in the
//! end everything is received and every state recorded. After each thing that
//! happens the loop makes enough passes to deal with all of it, so that neither
//! the number of passes nor time shows.
//!
//! What the contract wants otherwise than the reference does it is left out; a
//! comment names the rule each time.

use serde_json::{Map, Value, json};

/// A generator of numbers: SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn choose(&mut self, mut from: Vec<Value>) -> Value {
        let at = self.below(from.len());
        from.swap_remove(at)
    }
}

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Value {
    let mut random = Random::new(seed);
    let family = random.pick(&["inet", "inet", "inet", "inet6", "unix"]);
    let mut generator = Generator {
        random,
        family,
        behaviours: Map::new(),
        steps: vec![json!({"do": "listen", "peer": CLOCK})],
        channels: Vec::new(),
        peers: Vec::new(),
        alone: false,
    };
    generator.write();
    json!({
        "name": format!("random-{seed}"),
        "family": family,
        "channels": generator.behaviours,
        "steps": generator.steps,
    })
}

/// A listener without connections. Receiving from it takes its time and has
/// no other effect: meanwhile arrives what TCP holds back to send it with more.
const CLOCK: &str = "clock";

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    WithSend,
    Chat,
    Listener,
    FileReader,
    FileWriter,
}

struct Channel {
    name: String,
    kind: Kind,
    /// Reads all that comes: it learns of its end before it sends again.
    reads: bool,
    /// Reads few bytes at a time.
    sips: bool,
    /// Its peers are gone, so that its sends are lost.
    deserted: bool,
    /// A listener that accepts.
    accepts: bool,
    /// A producer may have pieces left when what it is asked next is asked.
    produces: bool,
    /// The places at which its state must not be read.
    secret: bool,
    children: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum PeerKind {
    Tcp,
    Unix,
    PipeWriter,
    PipeReader,
}

struct Peer {
    name: String,
    kind: PeerKind,
    /// Index of the channel that it talks to.
    channel: usize,
}

struct Generator {
    random: Random,
    family: &'static str,
    behaviours: Map<String, Value>,
    steps: Vec<Value>,
    channels: Vec<Channel>,
    peers: Vec<Peer>,
    /// There is one channel only, so that leaving the loop in the middle of a pass
    /// does not depend on the order of channels.
    alone: bool,
}

impl Generator {
    fn write(&mut self) {
        let plays = if self.random.chance(30) { 2 } else { 1 };
        self.alone = plays == 1;
        for number in 0..plays {
            self.open(number);
        }
        for _ in 0..self.random.below(6) + 1 {
            self.happen();
        }
        self.run(8);
        self.wait();
        for index in 0..self.peers.len() {
            if self.peers[index].kind != PeerKind::PipeWriter {
                let peer = self.peers[index].name.clone();
                self.step(json!({"do": "receive", "peer": peer}));
            }
        }
        for index in 0..self.channels.len() {
            self.state(index);
        }
    }

    fn step(&mut self, step: Value) {
        self.steps.push(step);
    }

    fn run(&mut self, passes: usize) {
        self.step(json!({"do": "run", "passes": passes}));
    }

    /// Lets TCP send what it holds back.
    fn wait(&mut self) {
        for _ in 0..4 {
            self.step(json!({"do": "receive", "peer": CLOCK}));
        }
    }

    fn state(&mut self, index: usize) {
        let Channel { name, secret, .. } = &self.channels[index];
        if !secret {
            let state = json!({"do": "state", "channel": name});
            self.step(state);
        }
    }

    // --- data ------------------------------------------------------------------

    fn word(&mut self) -> Value {
        let words = [
            "a",
            "x\n",
            "one\ntwo\n",
            "ab\r\ncd\r\n",
            "\r\n",
            "END",
            "enENDdEN",
            "D0123456789",
            "line\r",
            "\nmore",
            "\u{ff}\0z",
            "aaab",
            "aabaab",
        ];
        self.random.pick(&words).into()
    }

    fn data(&mut self) -> Value {
        match self.random.below(10) {
            0 => {
                let piece = self.random.pick(&["ab", "x\n", "0123456789", "END"]);
                json!({"repeat": piece, "times": self.random.below(60) + 1})
            }
            1 => json!({"repeat": "0123456789abcdef", "times": self.random.below(400) + 100}),
            _ => self.word(),
        }
    }

    fn terminator(&mut self) -> Value {
        let terminators = json!([
            "\n", "\n", "\r\n", "END", "aab", "aabaaa", "\r\n\r\n", 1, 3, 5, 10, 0, "", null
        ]);
        let Value::Array(terminators) = terminators else {
            return Value::Null;
        };
        self.random.choose(terminators)
    }

    // --- behaviours --------------------------------------------------------------

    /// Errors and closes may happen in any handler; leaving the loop only where
    /// there is one channel.
    fn reaction(&mut self, more: &[&str]) -> Value {
        let mut reactions = vec!["nothing", "default", "close", "raise"];
        reactions.extend(more);
        if self.alone {
            reactions.push("exit");
        }
        self.random.pick(&reactions).into()
    }

    /// The behaviour of a channel that has a connection, or will have one.
    fn behaviour(&mut self, kind: Kind, connecting: bool) -> (Map<String, Value>, Channel) {
        let mut table = Map::new();
        let mut channel = Channel {
            name: String::new(),
            kind,
            reads: true,
            sips: false,
            deserted: false,
            accepts: false,
            produces: false,
            secret: false,
            children: 0,
        };
        match kind {
            Kind::WithSend => drop(table.insert("kind".into(), "with_send".into())),
            Kind::Chat => drop(table.insert("kind".into(), "chat".into())),
            _ => {}
        }
        if kind != Kind::FileWriter && self.random.chance(12) {
            table.insert("readable".into(), false.into());
            channel.reads = false;
        }
        if kind != Kind::Chat && self.random.chance(50) {
            let reaction = self.read_reaction(&mut channel);
            table.insert("on_read".into(), reaction);
        }
        // The end of a pipe that is watched for writing alone hangs up under poll,
        // and is not heard of under select.
        let unheard = kind == Kind::FileReader && !channel.reads;
        if matches!(kind, Kind::Plain | Kind::FileReader) && !unheard && self.random.chance(20) {
            table.insert("writable".into(), true.into());
            let reaction = self.reaction(&[]);
            table.insert("on_write".into(), reaction);
        }
        if self.random.chance(25) {
            // Rule 7: receiving where nothing may wait is no error for the crate.
            let reaction = self.reaction(&["oob"]);
            table.insert("on_expt".into(), reaction);
        }
        if self.random.chance(20) {
            // Rule 5: nothing runs after handle_close, whatever it does; in the
            // reference the channel stays in the map unless it is closed.
            table.insert(
                "on_close".into(),
                self.random.pick(&["close", "default"]).into(),
            );
        }
        let mut connect_raises = false;
        if connecting && self.random.chance(40) {
            let reaction = self.connect_reaction(kind, &mut channel);
            connect_raises = reaction == "raise" || reaction == "exit";
            table.insert("on_connect".into(), reaction);
        }
        if self.random.chance(25) {
            // Rule 16: where connecting fails, the reference goes on with it after
            // a handle_error that closes nothing.
            let reaction = if connect_raises {
                self.random.pick(&["default", "close"]).into()
            } else {
                let mut reactions = vec!["nothing", "default", "close"];
                if self.alone && !connecting {
                    reactions.push("exit");
                }
                self.random.pick(&reactions).into()
            };
            table.insert("on_error".into(), reaction);
        }
        if kind == Kind::Chat {
            self.chat_behaviour(&mut table, &mut channel);
        }
        if self.random.chance(25) {
            let actions = self.start(kind, connecting, &mut channel, &table);
            table.insert("at_start".into(), actions);
        }
        (table, channel)
    }

    fn read_reaction(&mut self, channel: &mut Channel) -> Value {
        match self.random.below(4) {
            0 => {
                let size = self.random.pick(&[&2, &3, &10, &4096]);
                channel.sips = *size < 100;
                json!({"recv": size})
            }
            1 if channel.kind != Kind::FileReader => {
                let size = self.random.pick(&[&3, &10, &4096]);
                channel.sips = *size < 100;
                json!({"echo": size})
            }
            2 => json!({"recv": 65536}),
            _ => {
                let reaction = self.reaction(&["oob"]);
                channel.reads = false;
                reaction
            }
        }
    }

    fn connect_reaction(&mut self, kind: Kind, channel: &mut Channel) -> Value {
        let mut reactions = vec![json!("nothing"), json!("default"), json!("close")];
        if self.family != "unix" {
            // There the connection stands at once, and the reference lets the error
            // out of `connect`.
            reactions.push("raise".into());
            if self.alone {
                reactions.push("exit".into());
            }
        }
        // `send` overtakes what a chat has queued, in the reference.
        if kind != Kind::Chat {
            reactions.push(json!({"send": "connected"}));
        }
        let reaction = self.random.choose(reactions);
        // In the reference, what was closed by handle_connect says it is connected.
        channel.secret = reaction == "close";
        if reaction == "exit" {
            // Rule 16: what is sent before the connection stands is queued, and it
            // never stands. The reference sends it.
            (channel.reads, channel.deserted) = (false, true);
        }
        reaction
    }

    fn chat_behaviour(&mut self, table: &mut Map<String, Value>, channel: &mut Channel) {
        if self.random.chance(85) {
            let terminator = self.terminator();
            table.insert("terminator".into(), terminator);
        }
        if self.random.chance(70) {
            // The reference writes one piece of a producer at a time, so it shows
            // when that is cut off; nothing else may, then.
            channel.produces = self.random.chance(50);
            let script: Vec<Value> = (0..self.random.below(3) + 1)
                .map(|_| self.chat_actions(channel))
                .collect();
            table.insert("script".into(), script.into());
        }
    }

    fn chat_actions(&mut self, channel: &mut Channel) -> Value {
        let actions = self.random.below(3);
        (0..actions).map(|_| self.chat_action(channel)).collect()
    }

    /// Something that a chat can do at any time, be it in a handler or not.
    fn chat_action(&mut self, channel: &mut Channel) -> Value {
        match self.random.below(10) {
            0..=2 => json!({"push": self.data()}),
            3 if channel.produces => {
                let pieces: Vec<_> = (0..self.random.below(4))
                    .map(|_| {
                        let long = json!({"repeat": "r", "times": 300});
                        self.random
                            .choose(vec!["".into(), "p".into(), "qq".into(), long])
                    })
                    .collect();
                json!({"produce": pieces})
            }
            4 | 5 => json!({"set_terminator": self.terminator()}),
            6 if !channel.produces => "close".into(),
            7 => "close_when_done".into(),
            8 if !channel.produces => "discard_buffers".into(),
            9 if self.random.chance(40) => {
                channel.reads = false;
                json!({"behave": {"readable": false}})
            }
            _ => json!({"push": "pushed "}),
        }
    }

    fn start(
        &mut self,
        kind: Kind,
        connecting: bool,
        channel: &mut Channel,
        table: &Map<String, Value>,
    ) -> Value {
        let sends_at_connect = table.get("on_connect").is_some_and(Value::is_object);
        let count = self.random.below(2) + 1;
        (0..count)
            .map(|_| match (kind, connecting) {
                // Without a connection there is nothing yet to send on or to close.
                (Kind::Chat, true) if !sends_at_connect => match self.random.below(4) {
                    0 => json!({"set_terminator": self.terminator()}),
                    1 => "close_when_done".into(),
                    2 if channel.produces => json!({"produce": ["a", "b"]}),
                    _ => json!({"push": self.word()}),
                },
                (Kind::Chat, false) => self.chat_action(channel),
                (Kind::Plain | Kind::WithSend, false) if self.random.chance(60) => {
                    json!({"send": self.word()})
                }
                (Kind::FileReader | Kind::FileWriter, _) | (_, true) => {
                    json!({"behave": {"on_expt": "nothing"}})
                }
                _ if self.random.chance(50) => "close".into(),
                _ => {
                    channel.reads = false;
                    json!({"behave": {"readable": false}})
                }
            })
            .collect()
    }

    // --- plays -------------------------------------------------------------------

    fn some_kind(&mut self) -> Kind {
        match self.random.below(4) {
            0 => Kind::Plain,
            1 => Kind::WithSend,
            _ => Kind::Chat,
        }
    }

    /// Makes the channel of a play, and what it talks to.
    fn open(&mut self, number: usize) {
        match self.random.below(10) {
            0..=2 => self.open_pair(number),
            3..=5 => self.open_server(number),
            6 | 7 => self.open_connection(number),
            8 => self.open_refused(number),
            _ => self.open_file(number),
        }
    }

    fn add(&mut self, name: &str, (table, channel): (Map<String, Value>, Channel)) -> usize {
        self.behaviours.insert(name.to_owned(), table.into());
        self.channels.push(Channel {
            name: name.to_owned(),
            ..channel
        });
        self.channels.len() - 1
    }

    fn add_peer(&mut self, name: &str, kind: PeerKind, channel: usize) {
        self.peers.push(Peer {
            name: name.to_owned(),
            kind,
            channel,
        });
    }

    fn socket_kind(&self) -> PeerKind {
        match self.family {
            "unix" => PeerKind::Unix,
            _ => PeerKind::Tcp,
        }
    }

    fn open_pair(&mut self, number: usize) {
        let (name, peer) = (format!("c{number}"), format!("p{number}"));
        let kind = self.some_kind();
        let behaviour = self.behaviour(kind, false);
        let channel = self.add(&name, behaviour);
        self.add_peer(&peer, PeerKind::Unix, channel);
        self.step(json!({"do": "adopt", "channel": name, "peer": peer}));
        self.run(6);
    }

    fn open_server(&mut self, number: usize) {
        let name = format!("s{number}");
        let dials = self.random.below(2) + 1;
        let alone = self.alone;
        self.alone &= dials == 1;
        let kind = self.some_kind();
        let (child, template) = self.behaviour(kind, false);
        let mut table = Map::new();
        let mut accepts = true;
        match self.some_kind() {
            Kind::WithSend => drop(table.insert("kind".into(), "with_send".into())),
            Kind::Chat => drop(table.insert("kind".into(), "chat".into())),
            _ => {}
        }
        if self.random.chance(90) {
            table.insert("child".into(), child.into());
        } else {
            accepts = false;
        }
        if self.random.chance(15) {
            let reaction = self.reaction(&[]);
            accepts &= reaction == "default";
            table.insert("on_accept".into(), reaction);
        }
        for (key, values) in [
            ("on_error", ["nothing", "close"]),
            ("on_close", ["close", "default"]),
        ] {
            if self.random.chance(15) {
                table.insert(key.into(), self.random.pick(&values).into());
            }
        }
        self.alone = alone;
        let listener = Channel {
            kind: Kind::Listener,
            accepts,
            ..Channel {
                name: String::new(),
                ..template
            }
        };
        let index = self.add(&name, (table, listener));
        self.step(json!({"do": "serve", "channel": name}));
        for _ in 0..dials {
            self.dial(index);
        }
        self.run(8);
    }

    /// A peer dials a listener; if that accepts, there is another channel.
    fn dial(&mut self, listener: usize) {
        let accepts = self.channels[listener].accepts;
        let name = self.channels[listener].name.clone();
        self.channels[listener].children += 1;
        let number = self.channels[listener].children;
        let peer = format!("{name}-p{number}");
        self.step(json!({"do": "dial", "channel": name, "peer": peer}));
        let mut talks_to = listener;
        if accepts {
            let child = &self.behaviours[&name]["child"];
            let kind = match child["kind"].as_str() {
                Some("chat") => Kind::Chat,
                Some("with_send") => Kind::WithSend,
                _ => Kind::Plain,
            };
            let Channel {
                reads,
                sips,
                produces,
                ..
            } = self.channels[listener];
            self.channels.push(Channel {
                name: format!("{name}.{number}"),
                kind,
                reads,
                sips,
                produces,
                deserted: false,
                accepts: false,
                secret: false,
                children: 0,
            });
            talks_to = self.channels.len() - 1;
        }
        let kind = self.socket_kind();
        self.add_peer(&peer, kind, talks_to);
        if accepts && self.random.chance(30) {
            let data = self.data_for(talks_to);
            self.step(json!({"do": "send", "peer": peer, "data": data}));
        }
    }

    fn open_connection(&mut self, number: usize) {
        let (name, peer) = (format!("c{number}"), format!("p{number}"));
        let listener = format!("l{number}");
        let kind = self.some_kind();
        let behaviour = self.behaviour(kind, true);
        let index = self.add(&name, behaviour);
        self.step(json!({"do": "listen", "peer": listener}));
        self.step(json!({"do": "connect", "channel": name, "peer": listener}));
        let accept = json!({"do": "accept", "peer": peer, "listener": listener});
        if self.random.chance(40) {
            self.step(accept);
            // Rule 5: a channel that closes in handle_connect gets no handle_read,
            // which in the reference follows at once if there is something to read.
            if !self.channels[index].secret && self.random.chance(50) {
                let data = self.data_for(index);
                self.step(json!({"do": "send", "peer": peer, "data": data}));
            }
            self.run(6);
        } else {
            self.run(6);
            self.step(accept);
        }
        let kind = self.socket_kind();
        self.add_peer(&peer, kind, index);
    }

    fn open_refused(&mut self, number: usize) {
        let (name, peer) = (format!("c{number}"), format!("l{number}"));
        let kind = self.some_kind();
        let (mut table, channel) = self.behaviour(kind, true);
        // Rule 16: one error and no more. The reference connects after it, unless
        // the channel is closed.
        table.insert(
            "on_error".into(),
            self.random.pick(&["default", "close"]).into(),
        );
        self.add(&name, (table, channel));
        self.step(json!({"do": "refusing", "peer": peer}));
        self.step(json!({"do": "connect", "channel": name, "peer": peer}));
        self.run(6);
    }

    fn open_file(&mut self, number: usize) {
        let (name, peer) = (format!("f{number}"), format!("p{number}"));
        let kind = self.random.pick(&[&Kind::FileReader, &Kind::FileWriter]);
        let behaviour = self.behaviour(*kind, false);
        let index = self.add(&name, behaviour);
        if *kind == Kind::FileReader && self.random.chance(40) {
            let data = self.data_for(index);
            self.step(json!({"do": "regular_file", "channel": name, "data": data}));
            self.run(10);
            return;
        }
        let (mode, peer_kind) = match kind {
            Kind::FileWriter => ("w", PeerKind::PipeReader),
            _ => ("r", PeerKind::PipeWriter),
        };
        self.step(json!({"do": "file", "channel": name, "peer": peer, "mode": mode}));
        self.add_peer(&peer, peer_kind, index);
        self.run(4);
    }

    // --- what happens ----------------------------------------------------------------

    /// Data of which a channel has read all after one run.
    fn data_for(&mut self, channel: usize) -> Value {
        if self.channels[channel].sips {
            self.word()
        } else {
            self.data()
        }
    }

    fn happen(&mut self) {
        let channel = self.random.below(self.channels.len());
        match self.random.below(20) {
            0..=11 if !self.peers.is_empty() => {
                let peer = self.random.below(self.peers.len());
                self.peer_does(peer);
            }
            0..=16 => self.channel_does(channel),
            17 if self.channels[channel].accepts => {
                self.dial(channel);
                self.run(8);
            }
            _ => self.state(channel),
        }
    }

    fn peer_does(&mut self, index: usize) {
        let Peer {
            name,
            kind,
            channel,
        } = &self.peers[index];
        let (name, kind, channel) = (name.clone(), *kind, *channel);
        let mut deeds = match kind {
            PeerKind::PipeWriter => vec!["send", "send", "close"],
            // A writer whose reader is gone is readable under select and in error
            // under poll, which the reference takes for different things.
            PeerKind::PipeReader => vec!["receive"],
            _ => vec![
                "send", "send", "send", "send", "shutdown", "close", "reset", "receive",
            ],
        };
        // More than one out-of-band byte, or one that stays, makes passes that do
        // not wait.
        if kind == PeerKind::Tcp && self.random.chance(20) {
            deeds.push("oob");
        }
        let deed = self.random.pick(&deeds);
        match deed {
            "send" => {
                let data = self.data_for(channel);
                self.step(json!({"do": "send", "peer": name, "data": data}));
            }
            "oob" => self.step(json!({"do": "oob", "peer": name, "data": "!"})),
            "receive" => {
                self.wait();
                self.step(json!({"do": "receive", "peer": name}));
                return;
            }
            _ => {
                self.step(json!({"do": deed, "peer": name}));
                self.channels[channel].deserted = true;
                if deed != "shutdown" {
                    self.peers.remove(index);
                }
            }
        }
        self.run(8);
    }

    fn channel_does(&mut self, index: usize) {
        let Channel {
            name,
            kind,
            reads,
            deserted,
            ..
        } = &self.channels[index];
        let (name, kind) = (name.clone(), *kind);
        // Rule 9: a channel hears all that came before it hears that nobody is
        // there. In the reference a send that fails ends it at once.
        let may_send = *reads || !*deserted;
        let action = match kind {
            Kind::Listener | Kind::FileReader => None,
            Kind::Chat if may_send => {
                let mut channel = self.channels.swap_remove(index);
                let action = if self.random.chance(15) {
                    json!({"send": self.word()})
                } else {
                    self.chat_action(&mut channel)
                };
                self.channels.push(channel);
                let last = self.channels.len() - 1;
                self.channels.swap(index, last);
                Some(action)
            }
            Kind::Plain | Kind::WithSend | Kind::FileWriter
                if may_send && self.random.chance(60) =>
            {
                Some(json!({"send": self.data()}))
            }
            _ => None,
        };
        let action = action.unwrap_or_else(|| self.quiet_action(index));
        self.step(json!({"do": "call", "channel": name, "action": action}));
        self.run(8);
    }

    /// Something that sends nothing.
    fn quiet_action(&mut self, index: usize) -> Value {
        let kind = self.channels[index].kind;
        match self.random.below(4) {
            0 => {
                self.channels[index].accepts = false;
                "close".into()
            }
            // See `behaviour` for what is watched for writing alone.
            1 if kind != Kind::FileReader => {
                self.channels[index].reads = false;
                self.channels[index].accepts = false;
                json!({"behave": {"readable": false}})
            }
            2 if kind == Kind::Plain => {
                let writable = self.random.chance(50);
                json!({"behave": {"writable": writable, "on_write": "nothing"}})
            }
            _ => json!({"behave": {"readable": true, "on_read": {"recv": 4096}}}),
        }
    }
}
