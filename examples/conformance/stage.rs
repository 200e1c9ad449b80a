//! Performs the steps of a scenario.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use fdloop::{Address, Backend, Error, EventLoop, FileDispatcher, Result, Socket, SocketType};
use serde_json::{Value, json};

use crate::actor::{Actor, SharedCast};
use crate::channel::{Channel, Id};
use crate::peer::{End, Peer, new_address};
use crate::scenario::{Scenario, Step};
use crate::trace::Data;

/// The time for which a pass of the loop may wait.
const PASS_TIMEOUT: Duration = Duration::from_millis(20);

/// Performs a scenario. Returns the trace.
pub fn perform(scenario: &Scenario, backend: Backend) -> std::result::Result<Value, String> {
    let folder = Folder::new().map_err(|e| e.to_string())?;
    let mut stage = Stage {
        scenario,
        folder: &folder.0,
        event_loop: EventLoop::with_backend(backend).map_err(|e| e.to_string())?,
        cast: SharedCast::default(),
        peers: BTreeMap::new(),
    };
    for (number, step) in scenario.steps.iter().enumerate() {
        let step = stage.perform(step);
        step.map_err(|e| format!("steps[{number}]: {e}"))?;
    }
    let trace = std::mem::take(&mut stage.cast.borrow_mut().trace);
    Ok(json!({"scenario": scenario.name, "trace": trace.into_json()}))
}

/// A new folder, which is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let base = std::env::temp_dir();
        for number in 0..u32::MAX {
            let folder = base.join(format!("conformance-{}-{number}", std::process::id()));
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|()| Self(folder)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Stage<'a> {
    scenario: &'a Scenario,
    folder: &'a Path,
    event_loop: EventLoop,
    cast: SharedCast,
    peers: BTreeMap<String, Peer>,
}

impl Stage<'_> {
    fn perform(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Run(passes) => self.run(*passes),
            Step::Listen { peer, refusing } => {
                let address = self.new_address()?;
                let bound = Peer::bound(self.scenario.family, &address, *refusing)?;
                self.add_peer(peer, bound)
            }
            Step::Connect { channel, peer } => {
                let address = self.peer(peer)?.address()?;
                self.connect(channel, &address)
            }
            Step::Accept { peer, listener } => {
                let accepted = self.peer(listener)?.accept()?;
                self.add_peer(peer, accepted)
            }
            Step::Serve { channel, backlog } => self.serve(channel, *backlog),
            Step::Dial { peer, channel } => {
                let listener = self.id(channel)?.endpoint(&self.event_loop);
                let listener = listener.ok_or_else(|| unknown("open channel", channel))?;
                let dialled = Peer::dial(self.scenario.family, &listener.local_addr()?)?;
                self.add_peer(peer, dialled)
            }
            Step::Adopt { channel, peer } => {
                let (ours, theirs) = UnixStream::pair()?;
                self.add_peer(peer, Peer::from(OwnedFd::from(theirs)))?;
                let socket = Socket::adopt(ours)?;
                let channel = Channel::connected(self.actor(channel), socket)?;
                self.begin(channel)
            }
            Step::File {
                channel,
                peer,
                read,
            } => {
                let (reader, writer) = os_pipe::pipe()?;
                let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
                let (ours, theirs) = if *read {
                    (reader, writer)
                } else {
                    (writer, reader)
                };
                self.add_peer(peer, Peer::from(theirs))?;
                self.add_file(channel, &ours)
            }
            Step::RegularFile { channel, data } => {
                let path = self.folder.join("file");
                fs::write(&path, data)?;
                self.add_file(channel, &File::open(path)?.into())
            }
            Step::Send { peer, data, oob } => {
                let raw = self.peer(peer)?;
                let sent = if *oob {
                    raw.send_oob(data)
                } else {
                    raw.send(data)
                };
                self.may_fail(peer, sent)
            }
            Step::Shutdown(peer) => {
                let shut = self.peer(peer)?.shutdown();
                self.may_fail(peer, shut)
            }
            Step::Close { peer, reset } => {
                if *reset {
                    self.peer(peer)?.reset_on_close()?;
                }
                self.peers.remove(peer);
                Ok(())
            }
            Step::Receive(peer) => self.receive(peer),
            Step::Call { channel, action } => {
                let id = self.id(channel)?;
                let action = action.clone();
                let called = id.visit(&mut self.event_loop, |channel| channel.perform(action));
                self.leave(called)
            }
            Step::State(channel) => self.state(channel),
        }
    }

    /// Makes passes until no channel is left, or a handler leaves the loop.
    fn run(&mut self, passes: u64) -> Result<()> {
        for _ in 0..passes {
            if self.event_loop.is_empty() {
                break;
            }
            if let Err(error) = self.event_loop.turn(Some(PASS_TIMEOUT)) {
                return self.leave(Err(error));
            }
        }
        Ok(())
    }

    /// Records the error that leaves the loop.
    fn leave(&self, result: Result<()>) -> Result<()> {
        match result {
            Err(Error::ExitNow) => {
                self.note("loop", "ExitNow", None);
                Ok(())
            }
            result => result,
        }
    }

    fn connect(&mut self, name: &str, address: &Address) -> Result<()> {
        let mut channel = Channel::unconnected(self.actor(name));
        channel.begin()?;
        match channel.performer().endpoint().connect(address) {
            Ok(()) => {
                let added = channel.add(&mut self.event_loop);
                self.leave(added)
            }
            Err(_) => {
                self.note(name, "connect_failed", None);
                let mut cast = self.cast.borrow_mut();
                cast.channels.insert(name.to_owned(), Id::Gone);
                Ok(())
            }
        }
    }

    fn serve(&mut self, name: &str, backlog: u32) -> Result<()> {
        let address = self.new_address()?;
        let mut channel = Channel::unconnected(self.actor(name));
        channel.begin()?;
        let listener = channel.performer().endpoint();
        listener.create_socket(self.scenario.family, SocketType::Stream)?;
        listener.set_reuse_addr()?;
        listener.bind(&address)?;
        listener.listen(backlog)?;
        channel.add(&mut self.event_loop)
    }

    fn add_file(&mut self, name: &str, file: &OwnedFd) -> Result<()> {
        let channel = FileDispatcher::new(file, self.actor(name))?;
        self.begin(Channel::File(channel))
    }

    fn begin(&mut self, mut channel: Channel) -> Result<()> {
        channel.begin()?;
        channel.add(&mut self.event_loop)
    }

    fn receive(&mut self, peer: &str) -> Result<()> {
        let (received, end) = self.peer(peer)?.receive()?;
        if !received.is_empty() {
            self.note(peer, "received", Some(Data::Bytes(received)));
        }
        match end {
            Some(End::Eof) => self.note(peer, "eof", None),
            Some(End::Reset) => self.note(peer, "reset", None),
            None => {}
        }
        Ok(())
    }

    fn state(&mut self, name: &str) -> Result<()> {
        let endpoint = self.id(name)?.endpoint(&self.event_loop);
        let state = format!(
            "{{\"accepting\": {}, \"connected\": {}, \"in_map\": {}}}",
            endpoint.is_some_and(|endpoint| endpoint.accepting()),
            endpoint.is_some_and(|endpoint| endpoint.connected()),
            endpoint.is_some(),
        );
        self.note(name, "state", Some(Data::Text(state)));
        Ok(())
    }

    /// Records a failed send to a lost connection, which is not an error of the scenario.
    fn may_fail(&mut self, peer: &str, result: io::Result<()>) -> Result<()> {
        use io::ErrorKind as Kind;
        match result {
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::BrokenPipe
                        | Kind::ConnectionReset
                        | Kind::ConnectionAborted
                        | Kind::ConnectionRefused
                        | Kind::NotConnected
                ) =>
            {
                self.note(peer, "failed", None);
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn note(&self, name: &str, event: &'static str, data: Option<Data>) {
        self.cast.borrow_mut().trace.add(name, event, data);
    }

    fn actor(&self, name: &str) -> Actor {
        Actor::new(&Rc::clone(&self.cast), name, self.scenario.behaviour(name))
    }

    fn new_address(&self) -> io::Result<Address> {
        new_address(self.scenario.family, self.folder)
    }

    fn id(&self, channel: &str) -> Result<Id> {
        let known = self.cast.borrow().channels.get(channel).copied();
        known.ok_or_else(|| unknown("channel", channel))
    }

    fn peer(&self, peer: &str) -> Result<&Peer> {
        self.peers.get(peer).ok_or_else(|| unknown("peer", peer))
    }

    fn add_peer(&mut self, name: &str, peer: Peer) -> Result<()> {
        self.peers.insert(name.to_owned(), peer);
        Ok(())
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::other(format!("no {what} is called {name:?}"))
}
