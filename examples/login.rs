//! Logs in where a program asks for a name and a password, runs a command there, and shows its
//! output.
//!
//! The program is one that asks on its terminal: `ssh` (for the password), `su`, `telnet`, a serial
//! console. It runs on a pseudo-terminal, so it asks as it would ask a user.
//!
//! Try it:
//!
//! ```text
//! LOGIN_PASSWORD=secret cargo run --features expect --example login -- \
//!     --user guest --run 'uname -a' -- ssh guest@localhost
//! ```

mod common;

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::{Arguments, Failure};
use fdloop::{Expect, Pattern, WindowSize};

const USAGE: &str = "\
usage: login [--user NAME] [--run LINE] [--timeout SECONDS] [--interact]
             [--backend select|poll|epoll] [--] PROGRAM …
  starts PROGRAM, and types NAME or $LOGIN_PASSWORD where it asks for a name or a password
  --run LINE   the line to type at the prompt; its output is shown
  --interact   leave the program to the user then, until Ctrl-]
  SECONDS is the time to wait for each output of PROGRAM; 30 by default";

/// The questions and messages of a program. The last pattern is the prompt of a shell.
const ASKED: [&str; 5] = [
    r"(?i)(login|username): *$",
    r"(?i)(password|passphrase)[^\n]*: *$",
    r"(?i)(yes/no[^\n]*)\? *$",
    r"(?i)(incorrect|denied|failure|failed)",
    r"[$#%>] *$",
];

fn main() -> ExitCode {
    let options = ["--backend", "--user", "--run", "--timeout"];
    common::main_with_flags(USAGE, &options, &["--interact"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let timeout = arguments.timeout()?;
    let text = |value: OsString| {
        let text = value.into_string();
        text.map_err(|value| Failure::usage(format!("{:?} is not UTF-8", common::shown(&value))))
    };
    let user = arguments.value("--user").map(text).transpose()?;
    let line = arguments.value("--run").map(text).transpose()?;
    let interacts = arguments.flag("--interact");
    let mut words = arguments.rest();
    arguments.finish()?;
    if words.is_empty() {
        return Err(Failure::usage("PROGRAM is missing"));
    }
    let mut command = Command::new(words.remove(0));
    command.args(words);

    let mut session = Expect::spawn_with(backend, WindowSize::new(24, 80), &mut command)?;
    session.set_timeout(timeout.or(Some(Duration::from_secs(30))));
    log_in(&mut session, user.as_deref())?;
    if let Some(line) = line {
        session.send_line(&line)?;
        // The terminal's echo.
        session.expect("\n")?;
        let shown = session.expect(Pattern::regex(r"(^|\n)[^\n]*[$#%>] *$")?)?;
        let text = String::from_utf8_lossy(shown.before()).replace('\r', "");
        common::print(&format!("{}\n", text.trim_end()))?;
    }
    if interacts {
        session.interact(Some(0x1d))?;
    }
    Ok(())
}

/// Types the name and the password where the program asks for them, until it shows a prompt.
fn log_in(session: &mut Expect, user: Option<&str>) -> Result<(), Failure> {
    let patterns = ASKED.map(Pattern::regex);
    let patterns: Vec<Pattern> = patterns.into_iter().collect::<Result<_, _>>()?;
    let password = std::env::var("LOGIN_PASSWORD");
    loop {
        let asked = session.expect_any(patterns.clone())?;
        match asked.index() {
            0 => match user {
                Some(user) => session.send_line(user)?,
                None => {
                    return Err(Failure::operation(
                        "the program asks for a name: --user is missing",
                    ));
                }
            },
            1 => match &password {
                Ok(password) => session.send_line(password)?,
                Err(_) => {
                    let message = "the program asks for a password: set LOGIN_PASSWORD";
                    return Err(Failure::operation(message));
                }
            },
            2 => {
                let question = common::escaped(asked.group(0).unwrap_or_default());
                let message =
                    format!("the program asks for a decision, so log in by hand first: {question}");
                return Err(Failure::operation(message));
            }
            3 => return Err(Failure::operation("the name or the password is refused")),
            _ => return Ok(()),
        }
    }
}
