//! The performers of scenarios: the example `conformance`, which is the crate, and the
//! reference, which is asyncore.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fdloop::Backend;
use serde_json::Value;

use super::notice;

/// The number of scenarios that a program performs one after the other.
const BATCH: usize = 8;
/// The number of programs that run at once. Most of the time they wait.
const PROGRAMS: usize = 20;
/// The limit of the time of a batch. Only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Performs scenarios on asyncore.
const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/oracle.py");
/// The interpreters that are tried. asyncore left the standard library in Python 3.12.
const INTERPRETERS: [&str; 5] = [
    "python3",
    "python3.11",
    "python3.10",
    "python3.9",
    "python3.8",
];

/// A program that performs scenarios.
pub struct Performer {
    /// Its name in messages.
    pub name: String,
    command: Vec<String>,
}

/// The trace, or the reason for which it is missing.
pub type Performed = Result<Value, String>;

/// The end of a program.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Performer {
    /// The crate, with each of its backends.
    pub fn all_of_the_crate() -> Vec<Self> {
        let program = runner().display().to_string();
        let of = |backend: &Backend| Self {
            name: format!("fdloop with {backend}"),
            command: vec![program.clone(), "--backend".into(), backend.to_string()],
        };
        Backend::ALL.iter().map(of).collect()
    }

    /// The reference, with each of its backends, if an interpreter has asyncore.
    pub fn all_of_the_reference() -> Option<Vec<Self>> {
        static INTERPRETER: LazyLock<Option<String>> = LazyLock::new(interpreter_with_asyncore);
        let interpreter = INTERPRETER.as_ref()?;
        let of = |backend: &str| Self {
            name: format!("the reference with {backend}"),
            command: [interpreter, "-W", "ignore", ORACLE, "--backend", backend]
                .map(str::to_owned)
                .into(),
        };
        Some(["select", "poll"].map(of).into())
    }

    /// Performs scenarios one after the other. One that cannot be performed ends
    /// the program, which is then started again for those that are left.
    fn perform(&self, files: &[PathBuf], folder: &Path) -> Vec<Performed> {
        let mut performed = Vec::new();
        while performed.len() < files.len() {
            let ended = run(&self.command, &files[performed.len()..], folder);
            for line in ended.stdout.lines() {
                performed.push(serde_json::from_str(line).map_err(|e| format!("{e}: {line}")));
            }
            if performed.len() < files.len() {
                let code = ended.code;
                performed.push(Err(format!("exit code {code:?}: {}", ended.stderr.trim())));
            }
        }
        performed
    }
}

/// Has every performer perform every scenario: for each file, what each of them
/// answered.
pub fn perform_all(files: &[PathBuf], performers: &[&Performer]) -> Vec<Vec<Performed>> {
    let folder = Folder::new();
    let batches: Vec<_> = files.chunks(BATCH).collect();
    let jobs = batches.len() * performers.len();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PROGRAMS.min(jobs) {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        break;
                    }
                    let batch = batches[job / performers.len()];
                    let performed = performers[job % performers.len()].perform(batch, &folder.0);
                    done.lock().unwrap().push((job, performed));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(job, _)| *job);
    let mut answers: Vec<_> = files.iter().map(|_| Vec::new()).collect();
    for (job, performed) in done {
        let first = job / performers.len() * BATCH;
        for (answer, performed) in answers[first..].iter_mut().zip(performed) {
            answer.push(performed);
        }
    }
    answers
}

/// Runs a program to its end.
pub fn run<A: AsRef<std::ffi::OsStr>>(command: &[String], args: &[A], folder: &Path) -> Ended {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // Files, unlike pipes, never fill up while nobody reads them.
    let [out, err] = ["out", "err"].map(|name| folder.join(format!("{name}-{number}")));
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .args(args)
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Ended {
        code: status.and_then(|status| status.code()),
        stdout: read(&out),
        stderr: match status {
            Some(_) => read(&err),
            None => format!("did not end within {PATIENCE:?}; {}", read(&err)),
        },
    }
}

/// Where the example was built: beside the directory of this test. Cargo builds
/// the examples before it runs all tests, but not before it runs this one alone.
pub fn runner() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let runner = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/conformance");
    assert!(
        runner.exists(),
        "{} is missing: run `cargo build --examples` first, with the same options",
        runner.display()
    );
    runner
}

/// The interpreter from the environment, or the first one found that has asyncore. If the
/// environment names none and none is found, says that the reference is left out.
fn interpreter_with_asyncore() -> Option<String> {
    if let Some(named) = std::env::var_os("FDLOOP_PYTHON") {
        let named = named.into_string().unwrap();
        if named.is_empty() {
            notice("FDLOOP_PYTHON is empty: the comparison with asyncore itself is left out");
            return None;
        }
        assert!(
            has_asyncore(&named),
            "FDLOOP_PYTHON: {named} has no asyncore"
        );
        return Some(named);
    }
    let found = INTERPRETERS.into_iter().find(|it| has_asyncore(it));
    if found.is_none() {
        notice(
            "no Python with asyncore (3.11 or older) was found: the comparison with asyncore \
             itself is left out, and its recorded traces are used",
        );
    }
    found.map(str::to_owned)
}

fn has_asyncore(interpreter: &str) -> bool {
    Command::new(interpreter)
        .args(["-W", "ignore", "-c", "import asyncore, asynchat"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A folder of one's own, removed in the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("conformance-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
