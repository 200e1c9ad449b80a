//! The performers of scenarios: the example `conformance`, which is the crate, and the
//! reference, which is asyncore.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fdloop::Backend;
use serde_json::Value;

use super::notice;

/// The number of scenarios that are performed at once, for each performer. Most of the time they
/// wait.
const AT_ONCE: usize = 48;
/// The limit of the time of a program, beside a second for each scenario. Only a failing test
/// waits that long.
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
    /// The number of programs among which scenarios are divided.
    programs: usize,
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
            programs: AT_ONCE,
        };
        Backend::ALL.iter().map(of).collect()
    }

    /// The reference, with each of its backends, if an interpreter has asyncore. One program
    /// performs all scenarios, since starting Python takes longer than most of them.
    pub fn all_of_the_reference() -> Option<Vec<Self>> {
        static INTERPRETER: LazyLock<Option<String>> = LazyLock::new(interpreter_with_asyncore);
        let interpreter = INTERPRETER.as_ref()?;
        let at_once = AT_ONCE.to_string();
        let command = [interpreter, "-W", "ignore", ORACLE, "--at-once", &at_once];
        let of = |backend: &str| Self {
            name: format!("the reference with {backend}"),
            command: command
                .into_iter()
                .chain(["--backend", backend])
                .map(str::to_owned)
                .collect(),
            programs: 1,
        };
        Some(["select", "poll"].map(of).into())
    }

    /// Performs scenarios with one program. One that cannot be performed ends the program, which
    /// is then started again for those that are left.
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

/// Has every performer perform every scenario. Returns for each file the result of each of them.
pub fn perform_all(files: &[PathBuf], performers: &[&Performer]) -> Vec<Vec<Performed>> {
    let folder = &Folder::new().0;
    let mut answers: Vec<_> = files.iter().map(|_| Vec::new()).collect();
    thread::scope(|scope| {
        let performances: Vec<Vec<_>> = performers
            .iter()
            .map(|performer| {
                let batches = files.chunks(files.len().div_ceil(performer.programs));
                batches
                    .map(|batch| scope.spawn(move || performer.perform(batch, folder)))
                    .collect()
            })
            .collect();
        for programs in performances {
            let performed = programs.into_iter().flat_map(|it| it.join().unwrap());
            for (answers, performed) in answers.iter_mut().zip(performed) {
                answers.push(performed);
            }
        }
    });
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
    let patience = PATIENCE + Duration::from_secs(args.len() as u64);
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > patience {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        // A tenth longer than the program takes, at most.
        thread::sleep((start.elapsed() / 10).max(Duration::from_millis(1)));
    };
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Ended {
        code: status.and_then(|status| status.code()),
        stdout: read(&out),
        stderr: match status {
            Some(_) => read(&err),
            None => format!("did not end within {patience:?}; {}", read(&err)),
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

/// Returns the interpreter from the environment, or the first one found that has asyncore. If the
/// environment names none and none is found, says that the reference is left out.
fn interpreter_with_asyncore() -> Option<String> {
    if let Some(named) = std::env::var_os("FDLOOP_PYTHON") {
        let named = named.into_string().unwrap();
        if named.is_empty() {
            notice("FDLOOP_PYTHON is empty: the comparison with asyncore itself is left out");
            return None;
        }
        let found = with_asyncore(&named);
        assert!(found.is_some(), "FDLOOP_PYTHON: {named} has no asyncore");
        return found;
    }
    let found = INTERPRETERS.into_iter().find_map(with_asyncore);
    if found.is_none() {
        notice(
            "no Python with asyncore (3.11 or older) was found: the comparison with asyncore \
             itself is left out, and its recorded traces are used",
        );
    }
    found
}

/// Returns the path of an interpreter that has asyncore. Its name may be that of a script that
/// chooses among versions each time (pyenv's takes several times as long as Python's start).
fn with_asyncore(interpreter: &str) -> Option<String> {
    let script = "import asyncore, asynchat, sys; print(sys.executable)";
    let mut command = Command::new(interpreter);
    command.args(["-W", "ignore", "-c", script]);
    let output = command.stderr(Stdio::null()).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| path.trim_end().to_owned())
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
