//! Scenarios, read from their files.

use fdloop::{Family, Terminator};
use serde_json::{Map, Value};

use crate::node::Node;

pub type Object = Map<String, Value>;

/// An error of a scenario, and its key.
pub type Result<T> = std::result::Result<T, String>;

pub struct Scenario {
    pub name: String,
    pub family: Family,
    channels: Vec<(String, Behaviour)>,
    pub steps: Vec<Step>,
}

impl Scenario {
    pub fn parse(value: &Value) -> Result<Self> {
        let scenario = Node::new(value, String::new()).object()?;
        if scenario.get("trace").is_some() && scenario.get("steps").is_none() {
            let message = "key steps is missing: this is the trace of a scenario; give the file \
                           without .trace in its name";
            return Err(message.to_owned());
        }
        let family = match scenario.get("family") {
            None => Family::Inet,
            Some(family) => match family.text()? {
                "inet" => Family::Inet,
                "inet6" => Family::Inet6,
                "unix" => Family::Unix,
                _ => return family.is_not("inet, inet6 or unix"),
            },
        };
        let mut channels = Vec::new();
        if let Some(nodes) = scenario.get("channels") {
            for (name, node) in nodes.object()?.entries() {
                channels.push((name.to_owned(), Behaviour::parse(&node)?));
            }
        }
        let steps = scenario.need("steps")?.items()?;
        Ok(Self {
            name: scenario.need("name")?.text()?.to_owned(),
            family,
            channels,
            steps: steps.iter().map(Step::parse).collect::<Result<_>>()?,
        })
    }

    /// Returns the behaviour of a channel; the defaults if it has none.
    pub fn behaviour(&self, channel: &str) -> Behaviour {
        let named = self.channels.iter().find(|(name, _)| name == channel);
        named
            .map(|(_, behaviour)| behaviour.clone())
            .unwrap_or_default()
    }
}

pub enum Step {
    Run(u64),
    Listen {
        peer: String,
        refusing: bool,
    },
    Connect {
        channel: String,
        peer: String,
    },
    Accept {
        peer: String,
        listener: String,
    },
    Serve {
        channel: String,
        backlog: u32,
    },
    Dial {
        peer: String,
        channel: String,
    },
    Adopt {
        channel: String,
        peer: String,
    },
    File {
        channel: String,
        peer: String,
        read: bool,
    },
    RegularFile {
        channel: String,
        data: Vec<u8>,
    },
    Send {
        peer: String,
        data: Vec<u8>,
        oob: bool,
    },
    Shutdown(String),
    Close {
        peer: String,
        reset: bool,
    },
    Receive(String),
    Call {
        channel: String,
        action: Action,
    },
    State(String),
}

impl Step {
    fn parse(node: &Node<'_>) -> Result<Self> {
        let step = node.object()?;
        let name = |key| Ok::<_, String>(step.need(key)?.text()?.to_owned());
        let data = || step.need("data")?.data();
        let what = step.need("do")?;
        Ok(match what.text()? {
            "run" => Self::Run(step.get("passes").map_or(Ok(10), |n| n.number())?),
            what @ ("listen" | "refusing") => Self::Listen {
                peer: name("peer")?,
                refusing: what == "refusing",
            },
            "connect" => Self::Connect {
                channel: name("channel")?,
                peer: name("peer")?,
            },
            "accept" => Self::Accept {
                peer: name("peer")?,
                listener: name("listener")?,
            },
            "serve" => Self::Serve {
                channel: name("channel")?,
                backlog: step.get("backlog").map_or(Ok(5), |n| n.number())? as u32,
            },
            "dial" => Self::Dial {
                peer: name("peer")?,
                channel: name("channel")?,
            },
            "adopt" => Self::Adopt {
                channel: name("channel")?,
                peer: name("peer")?,
            },
            "file" => Self::File {
                channel: name("channel")?,
                peer: name("peer")?,
                read: {
                    let mode = step.need("mode")?;
                    match mode.text()? {
                        "r" => true,
                        "w" => false,
                        _ => return mode.is_not("\"r\" or \"w\""),
                    }
                },
            },
            "regular_file" => Self::RegularFile {
                channel: name("channel")?,
                data: data()?,
            },
            what @ ("send" | "oob") => Self::Send {
                peer: name("peer")?,
                data: data()?,
                oob: what == "oob",
            },
            "shutdown" => Self::Shutdown(name("peer")?),
            what @ ("close" | "reset") => Self::Close {
                peer: name("peer")?,
                reset: what == "reset",
            },
            "receive" => Self::Receive(name("peer")?),
            "call" => Self::Call {
                channel: name("channel")?,
                action: Action::parse(&step.need("action")?)?,
            },
            "state" => Self::State(name("channel")?),
            _ => return what.is_not("a step"),
        })
    }
}

#[derive(Clone)]
pub enum Action {
    Send(Vec<u8>),
    Push(Vec<u8>),
    Produce(Vec<Vec<u8>>),
    SetTerminator(Terminator),
    Close,
    CloseWhenDone,
    DiscardBuffers,
    Behave(Object),
}

impl Action {
    fn parse(node: &Node<'_>) -> Result<Self> {
        if let Some(name) = node.value.as_str() {
            return Ok(match name {
                "close" => Self::Close,
                "close_when_done" => Self::CloseWhenDone,
                "discard_buffers" => Self::DiscardBuffers,
                _ => return node.is_not("an action"),
            });
        }
        let action = node.object()?;
        if let Some(data) = action.get("send") {
            Ok(Self::Send(data.data()?))
        } else if let Some(data) = action.get("push") {
            Ok(Self::Push(data.data()?))
        } else if let Some(pieces) = action.get("produce") {
            let pieces = pieces.items()?;
            let pieces = pieces.iter().map(Node::data).collect::<Result<_>>()?;
            Ok(Self::Produce(pieces))
        } else if let Some(terminator) = action.get("set_terminator") {
            Ok(Self::SetTerminator(terminator.terminator()?))
        } else if let Some(changes) = action.get("behave") {
            Behaviour::parse(&changes)?;
            Ok(Self::Behave(changes.object()?.entries.clone()))
        } else {
            node.is_not("an action")
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Dispatcher,
    WithSend,
    Chat,
}

/// The action of a handler.
#[derive(Clone)]
pub enum Reaction {
    Nothing,
    Default,
    Close,
    Raise,
    Exit,
    Oob,
    Recv(usize),
    Echo(usize),
    Send(Vec<u8>),
}

/// The handlers whose actions a scenario can set.
#[derive(Clone, Copy)]
pub enum On {
    Connect,
    Accept,
    Read,
    Write,
    Expt,
    Error,
    Close,
}

/// The behaviour of a channel. The other fields were read from `table`.
#[derive(Clone)]
pub struct Behaviour {
    table: Object,
    pub kind: Kind,
    pub readable: bool,
    pub writable: bool,
    reactions: [Reaction; 7],
    pub child: Option<Box<Behaviour>>,
    pub terminator: Terminator,
    pub script: Vec<Vec<Action>>,
    pub at_start: Vec<Action>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            table: Object::new(),
            kind: Kind::Dispatcher,
            readable: true,
            writable: false,
            reactions: [
                Reaction::Nothing,
                Reaction::Default,
                Reaction::Recv(4096),
                Reaction::Nothing,
                Reaction::Nothing,
                Reaction::Default,
                Reaction::Close,
            ],
            child: None,
            terminator: Terminator::none(),
            script: Vec::new(),
            at_start: Vec::new(),
        }
    }
}

impl Behaviour {
    fn parse(node: &Node<'_>) -> Result<Self> {
        let table = node.object()?;
        let mut behaviour = Self {
            table: table.entries.clone(),
            ..Self::default()
        };
        if let Some(kind) = table.get("kind") {
            behaviour.kind = match kind.text()? {
                "dispatcher" => Kind::Dispatcher,
                "with_send" => Kind::WithSend,
                "chat" => Kind::Chat,
                _ => return kind.is_not("dispatcher, with_send or chat"),
            };
        }
        if let Some(value) = table.get("readable") {
            behaviour.readable = value.truth()?;
        }
        if let Some(value) = table.get("writable") {
            behaviour.writable = value.truth()?;
        }
        let names = [
            "connect", "accept", "read", "write", "expt", "error", "close",
        ];
        for (name, reaction) in names.iter().zip(&mut behaviour.reactions) {
            if let Some(node) = table.get(&format!("on_{name}")) {
                *reaction = Reaction::parse(&node)?;
            }
        }
        if let Some(child) = table.get("child").filter(|child| !child.value.is_null()) {
            behaviour.child = Some(Box::new(Self::parse(&child)?));
        }
        if let Some(terminator) = table.get("terminator") {
            behaviour.terminator = terminator.terminator()?;
        }
        let actions = |node: &Node<'_>| node.items()?.iter().map(Action::parse).collect();
        if let Some(script) = table.get("script") {
            let found = script.items()?;
            behaviour.script = found.iter().map(actions).collect::<Result<_>>()?;
        }
        if let Some(at_start) = table.get("at_start") {
            behaviour.at_start = actions(&at_start)?;
        }
        Ok(behaviour)
    }

    pub fn on(&self, event: On) -> Reaction {
        self.reactions[event as usize].clone()
    }

    /// Changes some entries of the table, which were checked before.
    pub fn change(&mut self, changes: Object) {
        let mut table = self.table.clone();
        table.extend(changes);
        let table = Value::Object(table);
        if let Ok(changed) = Self::parse(&Node::new(&table, String::new())) {
            *self = changed;
        }
    }
}

impl Reaction {
    fn parse(node: &Node<'_>) -> Result<Self> {
        if let Some(name) = node.value.as_str() {
            return Ok(match name {
                "nothing" => Self::Nothing,
                "default" => Self::Default,
                "close" => Self::Close,
                "raise" => Self::Raise,
                "exit" => Self::Exit,
                "oob" => Self::Oob,
                _ => return node.is_not("what a handler may do"),
            });
        }
        let reaction = node.object()?;
        if let Some(n) = reaction.get("recv") {
            Ok(Self::Recv(n.number()? as usize))
        } else if let Some(n) = reaction.get("echo") {
            Ok(Self::Echo(n.number()? as usize))
        } else if let Some(data) = reaction.get("send") {
            Ok(Self::Send(data.data()?))
        } else {
            node.is_not("what a handler may do")
        }
    }
}
