//! The peers, and their processes.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::machine;
use crate::peers::{self, Call, PYTHON};

/// A peer, and the program that has it.
#[derive(Debug, Clone)]
pub struct Contestant {
    pub name: String,
    pub call: Call,
    program: PathBuf,
}

/// All who take part.
#[derive(Debug)]
pub struct Contest {
    pub peers: Vec<Contestant>,
    /// The Python that has asyncore.
    pub python: Option<PathBuf>,
    /// The peers that are left out, with the reasons.
    pub missing: Vec<String>,
}

/// The peers of the other build that are of interest. (calloop, which waits by way
/// of polling, does not build over it; tokio waits by way of mio.)
const FORCED: [&str; 2] = ["mio/poll", "polling/poll"];

/// Prints the peers of this build: `name call`.
pub fn list() {
    for peer in peers::all() {
        println!("{} {}", peer.name, peer.call.name());
    }
}

impl Contest {
    /// Finds out who can take part.
    pub fn prepare() -> Result<Self, Box<dyn Error>> {
        let mut missing: Vec<String> = peers::missing().into_iter().map(str::to_owned).collect();
        let mut peers = peers_of(&env::current_exe()?)?;
        match forced_poll().and_then(|program| peers_of(&program)) {
            Ok(forced) => peers.extend(
                forced
                    .into_iter()
                    .filter(|peer| FORCED.contains(&peer.name.as_str())),
            ),
            Err(error) => missing.push(format!("{}: {error}", FORCED.join(", "))),
        }
        let python = python();
        if python.is_none() {
            let why = "asyncore, asynchat: no Python that has them (3.11 is the last) was found";
            missing.push(why.to_owned());
        }
        // What is started from here on is pinned to the other core.
        machine::pin(machine::cores().load)?;
        Ok(Self {
            peers,
            python,
            missing,
        })
    }

    pub fn peer(&self, name: &str) -> Option<&Contestant> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    /// The commands of Python's echo servers.
    pub fn python_echoes(&self) -> Vec<(&'static str, Command)> {
        let Some(python) = &self.python else {
            return Vec::new();
        };
        let command = |script: &str| python_command(python, script);
        PYTHON
            .iter()
            .map(|(name, script)| (*name, command(script)))
            .collect()
    }
}

impl Contestant {
    /// The program that has it.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A command to be run on the core of those who are measured.
    pub fn command(&self) -> Command {
        on_measured_core(Command::new(&self.program))
    }
}

/// Runs a script of ours.
pub fn python_command(python: &Path, script: &str) -> Command {
    let mut command = on_measured_core(Command::new(python));
    // asyncore is deprecated, says the warning.
    command.args(["-W", "ignore", "-c", script]);
    command
}

/// Has a command run on the core of those who are measured.
pub fn on_measured_core(mut command: Command) -> Command {
    let core = machine::cores().measured;
    // SAFETY: pinning is one system call, which may be made between fork and exec.
    unsafe { command.pre_exec(move || machine::pin(core)) };
    // What they have to say is said by what they do not do.
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// A server in a process of its own, killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub port: u16,
    pub output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server that prints the port where it listens.
    pub fn start(mut command: Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        // `port_forward` says `listening on 127.0.0.1:PORT`.
        let port = line
            .trim()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("the server says {line:?} instead of its port").into());
        };
        Ok(Self {
            child,
            port,
            output,
        })
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Makes a server without output, which will listen there.
    pub fn start_at(mut command: Command, port: u16) -> Result<Self, Box<dyn Error>> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        Ok(Self {
            child,
            port,
            output,
        })
    }
}

impl Server {
    /// Returns the nanoseconds of processor time that it has used.
    pub fn processor_time(&self) -> Result<f64, Box<dyn Error>> {
        Ok(processor_time(self.child.id())?)
    }

    /// Ends it with SIGTERM, and waits for that.
    pub fn terminate(mut self) -> Result<(), Box<dyn Error>> {
        // SAFETY: the child was not waited for, so that the number is its.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the nanoseconds of processor time that all threads of a process have used.
pub fn processor_time(process: u32) -> io::Result<f64> {
    let mut clock = 0;
    // SAFETY: the kernel writes one number to the exclusively borrowed variable.
    let failed = unsafe { libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    // SAFETY: plain data, of which all zeros is a value.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(time.tv_sec as f64 * 1e9 + time.tv_nsec as f64)
}

/// Returns the nanoseconds of processor time that the calling thread has used.
pub fn thread_time() -> f64 {
    // SAFETY: plain data, of which all zeros is a value.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to the exclusively borrowed variable.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn peers_of(program: &Path) -> Result<Vec<Contestant>, Box<dyn Error>> {
    let output = Command::new(program).arg("list-peers").output()?;
    let mut peers = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let (name, call) = line.split_once(' ').ok_or("no list of peers")?;
        let call = Call::ALL.into_iter().find(|known| known.name() == call);
        peers.push(Contestant {
            name: name.to_owned(),
            call: call.ok_or("an unknown system call")?,
            program: program.to_owned(),
        });
    }
    Ok(peers)
}

/// Returns the directory in which cargo builds.
pub fn target_directory() -> Result<PathBuf, Box<dyn Error>> {
    let program = env::current_exe()?;
    let directory = program.parent().and_then(Path::parent);
    Ok(directory
        .ok_or("this program is in no target directory")?
        .to_owned())
}

/// Builds an example of the main crate, with all its backends, into `release/examples`.
pub fn build_example(name: &str) -> Result<(), Box<dyn Error>> {
    let target = target_directory()?;
    let target = target.to_str().ok_or("the target directory is not UTF-8")?;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let build = ["build", "--release", "--quiet", "--features", "epoll"];
    let place = ["--manifest-path", manifest, "--target-dir", target];
    cargo(&[&build[..], &place, &["--example", name]].concat(), None)
}

/// Runs cargo.
pub fn cargo(arguments: &[&str], rustflags: Option<&str>) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments);
    if let Some(rustflags) = rustflags {
        command.env("RUSTFLAGS", rustflags);
    }
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().last().unwrap_or("cargo failed").to_owned();
    Err(last.into())
}

/// Builds this program with the cfgs by which mio and polling have their own tests
/// use poll(2): the only way to see them over it.
fn forced_poll() -> Result<PathBuf, Box<dyn Error>> {
    let target = target_directory()?.join("forced-poll");
    let directory = target.to_str().ok_or("the target directory is not UTF-8")?;
    cargo(
        &["build", "--release", "--quiet", "--target-dir", directory],
        Some("--cfg polling_test_poll_backend --cfg mio_unsupported_force_poll_poll"),
    )?;
    let name = env::current_exe()?;
    let name = name.file_name().ok_or("this program has no name")?;
    Ok(target.join("release").join(name))
}

fn python() -> Option<PathBuf> {
    let names = ["python3", "python3.11", "python3.10", "python3.9"];
    names.into_iter().map(PathBuf::from).find(|python| {
        let mut command = Command::new(python);
        command.args(["-W", "ignore", "-c", "import asyncore, asynchat"]);
        command.stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
