//! Makes random scenarios whose outcome is certain.
//!
//! A scenario is one or two plays, each with a channel of its own (or a listener
//! and its children) and a peer, then some things that happen to them, and in the
//! end everything is received and every state recorded. After each thing that
//! happens the loop makes enough passes to deal with all of it, so that neither
//! the number of passes nor time shows.
//!
//! Scenarios in which the contract differs from the reference are left out; a
//! comment names the rule each time.

mod behaviours;
mod deeds;
mod plays;
mod random;

use random::Random;
use serde_json::{Map, Value, json};

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

/// A listener without connections. Receiving from it only takes time, in which
/// TCP delivers the data that it held back to send with more.
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
    /// Reads all input, so it finds the end of file before it sends again.
    reads: bool,
    /// Reads few bytes at a time.
    sips: bool,
    /// Its peers are gone, so that its sends are lost.
    deserted: bool,
    /// A listener that accepts.
    accepts: bool,
    /// A producer may have pieces left when its next deed begins.
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

    /// Lets TCP send the data that it holds back.
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
}
