//! The behaviours of channels: the actions of their handlers, and those at the start.

use serde_json::{Map, Value, json};

use super::{Channel, Generator, Kind};

impl Generator {
    /// Errors and closes may happen in any handler; leaving the loop only where
    /// there is one channel.
    pub(super) fn reaction(&mut self, more: &[&str]) -> Value {
        let mut reactions = vec!["nothing", "default", "close", "raise"];
        reactions.extend(more);
        if self.alone {
            reactions.push("exit");
        }
        self.random.pick(&reactions).into()
    }

    /// The behaviour of a channel that has a connection, or will have one.
    pub(super) fn behaviour(
        &mut self,
        kind: Kind,
        connecting: bool,
    ) -> (Map<String, Value>, Channel) {
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
        // The end of a pipe that is watched for writing alone is reported by poll as a
        // hang-up, and not by select.
        let unheard = kind == Kind::FileReader && !channel.reads;
        if matches!(kind, Kind::Plain | Kind::FileReader) && !unheard && self.random.chance(20) {
            table.insert("writable".into(), true.into());
            let reaction = self.reaction(&[]);
            table.insert("on_write".into(), reaction);
        }
        if self.random.chance(25) {
            // Rule 7: in the crate, receiving is not an error if no input may be pending.
            let reaction = self.reaction(&["oob"]);
            table.insert("on_expt".into(), reaction);
        }
        if self.random.chance(20) {
            // Rule 5: no handler is called after handle_close. In the reference, the
            // channel stays in the map unless handle_close closes it.
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
            // A Unix socket is connected at once, and the reference lets the error out
            // of `connect`.
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
        // In the reference, a channel that handle_connect closed is still connected.
        channel.secret = reaction == "close";
        if reaction == "exit" {
            // Rule 16: data sent before the connection is made is queued, and here it is
            // never made. The reference sends the data.
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

    /// An action that a chat can take at any time, in a handler or not.
    pub(super) fn chat_action(&mut self, channel: &mut Channel) -> Value {
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
                // A channel without a connection cannot send or close yet.
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
}
