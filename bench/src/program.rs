//! Programs that are measured from outside: their processes, processor time and memory.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, mem};

use crate::contest::{on_measured_core, processor_time};

/// The time to wait for a program, after which it is given up.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A directory for the files of a program, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> io::Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Relaxed);
        let name = format!("fdloop-bench-{}-{count}", process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that stays in the directory for temporary files does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program and the processes that it starts, killed when dropped.
///
/// They are a process group. If this program is killed itself, the kernel kills the program, and
/// the processes that it forked for connections end with those.
#[derive(Debug)]
pub struct Program {
    child: Child,
    scratch: Scratch,
}

impl Program {
    /// Starts a program on the core of the programs that are measured.
    pub fn start(command: Command, scratch: Scratch) -> Result<Self, Box<dyn Error>> {
        // Its orphans become children of this process, so that their end can be waited for.
        // SAFETY: the call takes numbers.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        let mut command = on_measured_core(command);
        end_with_us(&mut command);
        let errors = File::create(scratch.path().join("stderr"))?;
        command
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(errors);
        Ok(Self {
            child: command.spawn()?,
            scratch,
        })
    }

    /// Connects to the program, as soon as it listens.
    pub fn connect(&mut self, port: u16) -> Result<TcpStream, Box<dyn Error>> {
        let begin = Instant::now();
        loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                // As long as the port is free, a connection to it can come from there: to itself.
                Ok(stream) if stream.local_addr()?.port() != port => return Ok(stream),
                Err(error) if begin.elapsed() > PATIENCE => return Err(error.into()),
                _ => thread::sleep(Duration::from_millis(10)),
            }
            if let Some(status) = self.child.try_wait()? {
                let errors = fs::read_to_string(self.scratch.path().join("stderr"))?;
                let last = errors.lines().last().unwrap_or("without a message");
                return Err(format!("it ended ({status}): {last}").into());
            }
        }
    }

    /// Returns the nanoseconds of processor time that its processes have used, those included that
    /// have ended.
    pub fn processor_time(&self) -> Result<f64, Box<dyn Error>> {
        self.processor_time_with(&self.processes()?)
    }

    /// Returns the nanoseconds of processor time, as `processor_time` does, of processes that are
    /// known: finding them takes longer.
    pub fn processor_time_with(&self, processes: &[u32]) -> Result<f64, Box<dyn Error>> {
        // One may have ended since.
        let running = processes.iter().filter_map(|id| processor_time(*id).ok());
        let stat = Stat::read(self.child.id())?;
        // SAFETY: the call takes a number.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        Ok(running.sum::<f64>() + stat.ticks_of_children * 1e9 / ticks)
    }

    /// Returns the bytes of its processes that are in memory. Pages that several processes share
    /// are counted once.
    pub fn memory(&self) -> Result<f64, Box<dyn Error>> {
        let mut kilobytes = 0.0;
        for id in self.processes()? {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            let number = line.and_then(|line| line.split_whitespace().next());
            kilobytes += number.ok_or("no Pss")?.parse::<f64>()?;
        }
        Ok(kilobytes * 1024.0)
    }

    /// Returns the processes of its group.
    pub fn processes(&self) -> Result<Vec<u32>, Box<dyn Error>> {
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(id) = entry?.file_name().to_str().and_then(|id| id.parse().ok()) else {
                continue;
            };
            // One that has ended meanwhile has no file.
            if Stat::read(id).is_ok_and(|stat| stat.group == self.child.id()) {
                processes.push(id);
            }
        }
        Ok(processes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = self.child.id() as libc::pid_t;
        // SAFETY: the child was not waited for by name, or its group still has its number.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.child.wait();
        // SAFETY: the status is not asked for.
        while unsafe { libc::waitpid(-group, std::ptr::null_mut(), 0) } > 0 {}
    }
}

/// The part of `/proc/ID/stat` that is used here.
struct Stat {
    group: u32,
    /// The processor time of the children that it has waited for.
    ticks_of_children: f64,
}

impl Stat {
    fn read(id: u32) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name of the program is in parentheses, and may contain some.
        let (_, rest) = text.rsplit_once(')').ok_or("no name")?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let field = |index: usize| fields.get(index).ok_or("too few fields");
        Ok(Self {
            group: field(2)?.parse()?,
            ticks_of_children: field(13)?.parse::<f64>()? + field(14)?.parse::<f64>()?,
        })
    }
}

/// Has the kernel kill a program if this one is killed.
pub fn end_with_us(command: &mut Command) {
    let die_with_parent = || {
        // SAFETY: the call takes numbers.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call, which may be made between fork and exec.
    unsafe { command.pre_exec(die_with_parent) };
}

/// Returns a port of the loopback interface that is free.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Finds an installed program. Those of administrators are looked for as well.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// Has blocking calls on a socket fail when the program does not respond.
pub fn be_patient(socket: &impl std::os::fd::AsRawFd) {
    let time = libc::timeval {
        tv_sec: PATIENCE.as_secs() as libc::time_t,
        tv_usec: 0,
    };
    for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        // SAFETY: the kernel reads an option of that size. Without it a call just blocks.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const time).cast(),
                mem::size_of_val(&time) as libc::socklen_t,
            )
        };
    }
}

/// The rate of a load, and the price.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Units of work per second.
    pub rate: f64,
    /// Nanoseconds of the program's processor time per unit.
    pub processor: f64,
}
