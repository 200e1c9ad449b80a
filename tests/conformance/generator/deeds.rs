//! The steps that peers and channels take once the plays are open.

use serde_json::{Value, json};

use super::{Channel, Generator, Kind, Peer, PeerKind};

impl Generator {
    /// Data of which a channel has read all after one run.
    pub(super) fn data_for(&mut self, channel: usize) -> Value {
        if self.channels[channel].sips {
            self.word()
        } else {
            self.data()
        }
    }

    pub(super) fn happen(&mut self) {
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
        // Rule 9: a channel reads all input before it is closed because the peer is
        // gone. In the reference, a failed send ends it at once.
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
            // See `behaviour` on pipes that are watched for writing alone.
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
