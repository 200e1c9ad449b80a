//! The machine on which it is measured.

use std::fs;
use std::io;
use std::mem;
use std::process::Command;

use serde_json::{Value, json};

use crate::peers;

/// Two cores: for those who are measured, and for the load. The same one twice if
/// there is no other.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    pub measured: usize,
    pub load: usize,
}

/// The last and the first core that this process may use.
pub fn cores() -> Cores {
    // Read once, since pinning changes it.
    static CORES: std::sync::OnceLock<Cores> = std::sync::OnceLock::new();
    *CORES.get_or_init(|| {
        // SAFETY: the set is plain data, of which all zeros is a value.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: the kernel fills in a set of that size.
        unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) };
        // SAFETY: the numbers are below the size of a set.
        let mine = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
        let mut mine = (0..libc::CPU_SETSIZE as usize).filter(mine);
        let load = mine.next().unwrap_or(0);
        Cores {
            load,
            measured: mine.next_back().unwrap_or(load),
        }
    })
}

/// Has the calling thread, and what it starts, run on one core alone.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: the set is plain data, of which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the number came out of such a set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the kernel reads a set of that size.
    match unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes as many descriptors as this process may have: the largest ring needs
/// 8,000, and the load of the largest echo 4,000.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel fills in the limit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // If that fails, so will what needs them, and say so.
        // SAFETY: the kernel reads the limit.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
}

/// Takes `wanted` descriptors for this process and those that it starts, beyond the hard limit if
/// the process has the right to. Returns how many it may have.
pub fn take_descriptors(wanted: usize) -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: wanted as libc::rlim_t,
        rlim_max: wanted as libc::rlim_t,
    };
    // SAFETY: the kernel reads the limit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    // SAFETY: the kernel fills in the limit.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur as usize,
        _ => 0,
    }
}

/// The machine, the system, and the versions.
#[derive(Debug)]
pub struct About(Vec<(String, String)>);

pub fn describe(missing: &[String]) -> About {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(": ")?.1.to_owned())
    };
    let cores = cores();
    let mut about = vec![
        (
            "processor".to_owned(),
            field("model name").unwrap_or_default(),
        ),
        (
            "cores".to_owned(),
            format!(
                "{} for the load, {} for what is measured",
                cores.load, cores.measured
            ),
        ),
        (
            "kernel".to_owned(),
            first_line("uname", &["-s", "-r", "-m"]),
        ),
        (
            "libc".to_owned(),
            first_line("getconf", &["GNU_LIBC_VERSION"]),
        ),
        ("rustc".to_owned(), env!("BENCH_RUSTC").to_owned()),
        ("C compiler".to_owned(), env!("BENCH_CC").to_owned()),
        ("python3".to_owned(), first_line("python3", &["--version"])),
        ("socat".to_owned(), socat()),
        ("haproxy".to_owned(), haproxy()),
        ("nginx".to_owned(), nginx()),
        (
            "postfix".to_owned(),
            first_line("postconf", &["-h", "mail_version"]),
        ),
        (
            "valgrind".to_owned(),
            first_line("valgrind", &["--version"]),
        ),
    ];
    about.extend(peers::versions());
    about.extend(
        missing
            .iter()
            .map(|line| ("left out".to_owned(), line.clone())),
    );
    about.retain(|(_, value)| !value.is_empty());
    About(about)
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or_default().to_owned()
}

fn socat() -> String {
    let output = Command::new("socat").arg("-V").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.starts_with("socat version"));
    let version = line.and_then(|line| line.split(' ').nth(2));
    version.unwrap_or_default().to_owned()
}

fn haproxy() -> String {
    let line = first_line("haproxy", &["-v"]);
    // `HAProxy version 2.6.12 2026/10/17 - https://haproxy.org/`
    line.split(' ').nth(2).unwrap_or_default().to_owned()
}

/// It prints its version on stderr.
fn nginx() -> String {
    let output = Command::new("nginx").arg("-v").output();
    let text = output.map(|output| output.stderr).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let version = text.trim().rsplit('/').next();
    version.unwrap_or_default().to_owned()
}

impl About {
    pub fn to_markdown(&self) -> String {
        let lines = self
            .0
            .iter()
            .map(|(name, value)| format!("- {name}: {value}\n"));
        lines.collect()
    }

    pub fn to_json(&self) -> Value {
        self.0
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect()
    }
}
