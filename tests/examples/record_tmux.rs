//! Programs that use the whole screen, within `record`, seen on the screen that tmux keeps.
#![allow(clippy::print_stderr, reason = "a test says what it leaves out")]

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::TempDir;
use crate::common::programs::{example, exists, with_each_backend};
use fdloop::Backend;

/// A time far longer than ever needed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shell in a window of tmux, whose server is this test's own.
struct Window {
    dir: TempDir,
}

impl Window {
    /// Opens a window. Returns `None`, with a message, if a program that the test needs is missing.
    fn open(needs: &[&str]) -> Option<Self> {
        for program in ["tmux"].iter().chain(needs) {
            let argument = if *program == "tmux" {
                "-V"
            } else {
                "--version"
            };
            if !exists(program, argument) {
                eprintln!("left out: {program} is not installed");
                return None;
            }
        }
        let window = Self {
            dir: TempDir::new(),
        };
        let shell = "env PS1='outer$ ' ENV= sh";
        window.tmux(&["new-session", "-d", "-x", "80", "-y", "24", shell]);
        window.wait_for("outer$");
        Some(window)
    }

    #[track_caller]
    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        command.arg("-S").arg(self.dir.join("tmux"));
        let output = command.args(["-f", "/dev/null"]).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Presses keys, by tmux's names for them.
    #[track_caller]
    fn press(&self, keys: &[&str]) {
        let mut arguments = vec!["send-keys"];
        arguments.extend(keys);
        self.tmux(&arguments);
    }

    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if is_there(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{what:?} never comes:\n{screen}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts `record` with a command.
    #[track_caller]
    fn record(&self, backend: Backend, command: &str) {
        let record = example("record");
        let line = format!(
            "{} --backend {backend} -o {} -- {command}",
            record.display(),
            self.dir.file("cast")
        );
        self.press(&["clear; ", &line, "Enter"]);
    }

    /// The shell has the terminal again, as it was.
    #[track_caller]
    fn assert_back(&self) {
        self.press(&[
            "clear; stty -a | tr ';' '\\n' | grep -c -- -icanon; echo code $?",
            "Enter",
        ]);
        self.wait_for("code 1");
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.dir.join("tmux"));
        let _ = command.arg("kill-server").output();
    }
}

#[test]
fn an_editor_works_within_a_recording() {
    with_each_backend(|backend| {
        let Some(window) = Window::open(&["vi"]) else {
            return;
        };
        let path = window.dir.file("text");
        fs::write(&path, "the first line\nthe second line\n").unwrap();
        window.record(backend, &format!("vi {path}"));
        window.wait_until("the text", |screen| {
            screen.starts_with("the first line\nthe second line\n~\n")
        });
        window.tmux(&["resize-window", "-x", "100", "-y", "30"]);
        window.wait_until("30 lines", |screen| {
            screen.lines().filter(|line| *line == "~").count() == 27
        });
        window.press(&["O", "typed in vi", "Escape", ":wq", "Enter"]);
        window.wait_for("outer$");
        window.assert_back();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("typed in vi\nthe first line\n"), "{text}");
        let cast = fs::read_to_string(window.dir.join("cast")).unwrap();
        assert!(cast.contains("\"r\", \"100x30\""), "{cast}");
    });
}

#[test]
fn a_pager_works_within_a_recording() {
    with_each_backend(|backend| {
        let Some(window) = Window::open(&["less"]) else {
            return;
        };
        let path = window.dir.file("text");
        let lines: String = (1..=500).map(|i| format!("line {i} of it\n")).collect();
        fs::write(&path, lines).unwrap();
        window.record(backend, &format!("less {path}"));
        window.wait_until("the first page", |screen| {
            screen.starts_with("line 1 of it\n")
        });
        window.press(&["G"]);
        window.wait_for("line 500 of it");
        window.press(&["/line 42 ", "Enter"]);
        window.press(&["g"]);
        window.wait_for("line 1 of it");
        window.press(&["q"]);
        window.wait_for("outer$");
        window.assert_back();
    });
}

#[test]
fn a_program_that_redraws_itself_works_within_a_recording() {
    with_each_backend(|backend| {
        let Some(window) = Window::open(&["top"]) else {
            return;
        };
        window.record(backend, "top -d 0.2");
        window.wait_for("load average");
        window.press(&["q"]);
        window.wait_for("outer$");
        window.assert_back();
    });
}

#[test]
fn a_shell_has_job_control_within_a_recording() {
    with_each_backend(|backend| {
        let Some(window) = Window::open(&[]) else {
            return;
        };
        // Typed text is on the screen too, so it differs from the output that is waited for.
        window.record(backend, "env PS1='in''ner$ ' ENV= sh -i");
        window.wait_for("inner$");
        let job = "sh -c \"echo it sl''eeps; exec sleep 1000\"";
        window.press(&[job, "Enter"]);
        window.wait_for("it sleeps");
        window.press(&["C-z"]);
        window.wait_for("Stopped");
        window.press(&["clear; jobs", "Enter"]);
        window.wait_for("sleep 1000");
        window.press(&["clear; fg", "Enter"]);
        window.wait_until("the job goes on", |screen| {
            screen.contains("sleep 1000") && !screen.contains("Stopped")
        });
        window.press(&["C-c"]);
        window.wait_for("inner$");
        window.press(&["clear; echo the number $((40 + 2))", "Enter"]);
        window.wait_for("the number 42");
        window.press(&["clear; jobs; echo no \"\"jobs", "Enter"]);
        let screen = window.wait_for("no jobs");
        assert!(!screen.contains("sleep"), "{screen}");
        window.press(&["exit 5", "Enter"]);
        window.wait_for("outer$");
        window.press(&["echo code $?", "Enter"]);
        window.wait_for("code 5");
        window.assert_back();
    });
}
