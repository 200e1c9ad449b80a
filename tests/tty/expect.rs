//! Scripts that talk to programs.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{on_every_backend, this_test};
use crate::on_a_terminal::{OnATerminal, part};
use fdloop::{Backend, Error, Expect, Pattern, WindowSize};

fn sh(backend: Backend, script: &str) -> Expect {
    let size = WindowSize::new(24, 80);
    Expect::spawn_with(backend, size, Command::new("sh").args(["-c", script])).unwrap()
}

/// A login as programs do it: the password is not echoed, and three failures are enough.
const LOGIN: &str = r#"
for attempt in 1 2 3; do
    printf 'login: '; read name
    stty -echo; printf 'Password: '; read password; stty echo; echo
    if [ "$name:$password" = guido:monty ]; then
        echo "Welcome, $name"
        printf '$ '
        while read line; do eval "$line"; printf '$ '; done
        exit
    fi
    echo 'Login incorrect'
done
exit 1
"#;

#[test]
fn a_script_logs_in() {
    on_every_backend(|backend| {
        let mut session = sh(backend, LOGIN);
        for (password, outcome) in [("python", 0), ("monty", 1)] {
            session.expect("login: ").unwrap();
            session.send_line("guido").unwrap();
            let asked = session.expect(Pattern::regex("(?i)password: ").unwrap());
            assert_eq!(asked.unwrap().before(), b"guido\r\n", "the echo");
            session.send_line(password).unwrap();
            let found = session
                .expect_any([
                    "Login incorrect".into(),
                    Pattern::regex(r"Welcome, (\w+)").unwrap(),
                ])
                .unwrap();
            assert_eq!(found.index(), outcome);
            assert_eq!(found.group(1), (outcome == 1).then_some(&b"guido"[..]));
            assert!(!found.before().windows(5).any(|part| part == b"monty"));
        }
        session.expect("$ ").unwrap();
        session.send_line("echo $((6 * 7)); exit 3").unwrap();
        session.expect("\r\n42\r\n").unwrap();
        assert_eq!(session.wait().unwrap().code(), Some(3));
    });
}

#[test]
fn the_earliest_match_counts_and_the_rest_is_left() {
    on_every_backend(|backend| {
        let mut session = sh(backend, "echo one two three; read line");
        session.expect("three").unwrap();
        let mut session = sh(backend, "echo one two three two; read line");
        let found = session
            .expect_any(["three".into(), "two".into(), "tw".into()])
            .unwrap();
        assert_eq!((found.index(), found.before()), (1, &b"one "[..]));
        assert_eq!(found.group(0), Some(&b"two"[..]));
        let found = session.expect("two").unwrap();
        assert_eq!(found.before(), b" three ");
        assert_eq!(found.group(1), None);
    });
}

#[test]
fn matches_are_found_across_pieces_and_in_much_output() {
    on_every_backend(|backend| {
        let mut session = sh(backend, "printf 'se'; sleep 0.05; printf 'cret'; read line");
        session.expect("secret").unwrap();
        let mut session = sh(backend, "head -c 900000 /dev/zero | tr '\\0' x; echo end");
        let found = session.expect("xend\r\n").unwrap();
        assert_eq!(found.before().len(), 899_999);
        assert!(session.wait().unwrap().success());
    });
}

#[track_caller]
fn assert_error(error: &Error, kind: ErrorKind, said: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    let message = error.to_string();
    for said in said {
        assert!(message.contains(said), "{said:?} in {message}");
    }
}

#[test]
fn what_never_comes_is_an_error_that_shows_what_came() {
    on_every_backend(|backend| {
        let mut session = sh(backend, "printf 'a\\033b'; read line");
        session.expect("a").unwrap();
        session.set_timeout(Some(Duration::from_millis(50)));
        let started = Instant::now();
        let error = session.expect("login: ").unwrap_err();
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert_error(&error, ErrorKind::TimedOut, &["\"login: \"", "\\x1bb"]);
        // What was shown is not taken.
        session.expect("b").unwrap();
        session.send_line("").unwrap();
        session.set_timeout(None);
        let error = session.expect(Pattern::regex("no|t").unwrap()).unwrap_err();
        assert_error(&error, ErrorKind::UnexpectedEof, &["ended before /no|t/"]);

        let mut session = sh(backend, "exec yes");
        let error = session.expect("no").unwrap_err();
        assert_error(
            &error,
            ErrorKind::InvalidData,
            &["without \"no\"", "y\\r\\n"],
        );
    });
}

#[test]
fn what_cannot_be_done_is_refused() {
    let error = Expect::spawn(&mut Command::new("no-such-program")).unwrap_err();
    assert_error(&error, ErrorKind::NotFound, &["no-such-program"]);
    let error = Pattern::regex("(unclosed").unwrap_err();
    assert_error(
        &error,
        ErrorKind::InvalidInput,
        &["not a regular expression"],
    );
    let mut program = Expect::spawn(Command::new("sh").args(["-c", "read line"])).unwrap();
    program.set_timeout(None);
    let error = program.expect_any([]).unwrap_err();
    assert_error(&error, ErrorKind::InvalidInput, &["no pattern"]);
    program.send_line("").unwrap();
    assert!(program.wait().unwrap().success());
}

#[test]
fn the_signal_that_ended_the_program_is_told() {
    on_every_backend(|backend| {
        let session = sh(backend, "echo much; kill -s TERM $$");
        assert_eq!(session.wait().unwrap().signal(), Some(15));
    });
}

#[test]
fn the_user_takes_over_and_comes_back() {
    if let Some(part) = part() {
        let mut session = sh(
            part.parse().unwrap(),
            "echo ready; while read line; do echo \"got $line\"; done",
        );
        session.expect("rea").unwrap();
        session.interact(Some(0x1d)).unwrap();
        session.send_line("from the script").unwrap();
        session.expect("got from the script").unwrap();
        return;
    }
    let test = this_test!();
    on_every_backend(|backend| {
        let mut program = OnATerminal::test(test, &backend.to_string());
        program.wait_for("dy\r\n");
        program.wait_until_raw(true);
        program.type_in("from the user\r");
        program.wait_for("got from the user");
        program.type_in("\x1d");
        assert!(program.wait().success(), "{}", program.shown());
        program.assert_as_before();
    });
}
