//! Plays: a channel, or a listener and its children, and the peers that they talk to.

use serde_json::{Map, Value, json};

use super::{Channel, Generator, Kind, Peer, PeerKind};

impl Generator {
    fn some_kind(&mut self) -> Kind {
        match self.random.below(4) {
            0 => Kind::Plain,
            1 => Kind::WithSend,
            _ => Kind::Chat,
        }
    }

    /// Makes the channel of a play, and its peer.
    pub(super) fn open(&mut self, number: usize) {
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
    pub(super) fn dial(&mut self, listener: usize) {
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
}
