//! `login`, to a program that asks as a system does.

use std::process::{Command, Output, Stdio};

use crate::common::programs::{example, with_each_backend};
use fdloop::Backend;

/// The program that is logged in to.
const SYSTEM: &str = r#"
printf 'login: '; read name
stty -echo; printf 'Password for %s: ' "$name"; read password; stty echo; echo
[ "$name:$password" = guido:monty ] || { echo 'Permission denied.'; exit 1; }
echo "Last login: today"
printf '%s@here$ ' "$name"
while read line; do eval "$line"; printf '%s@here$ ' "$name"; done
"#;

fn log_in(backend: Backend, user: &str, password: Option<&str>, run: &str) -> Output {
    let mut command = Command::new(example("login"));
    command.args(["--backend", &backend.to_string(), "--run", run]);
    if !user.is_empty() {
        command.args(["--user", user]);
    }
    command.args(["--", "sh", "-c", SYSTEM]);
    match password {
        Some(password) => command.env("LOGIN_PASSWORD", password),
        None => command.env_remove("LOGIN_PASSWORD"),
    };
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn it_logs_in_and_shows_what_a_command_says() {
    with_each_backend(|backend| {
        let run = "echo one; echo $((40 + 2))";
        let ended = log_in(backend, "guido", Some("monty"), run);
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stdout), "one\n42\n");
    });
}

#[test]
fn what_keeps_it_out_is_said() {
    with_each_backend(|backend| {
        for (user, password, said) in [
            (
                "guido",
                Some("python"),
                "the name or the password is refused",
            ),
            ("guido", None, "set LOGIN_PASSWORD"),
            ("", Some("monty"), "--user is missing"),
        ] {
            let ended = log_in(backend, user, password, "true");
            assert_eq!(ended.status.code(), Some(1), "{ended:?}");
            let complaint = String::from_utf8_lossy(&ended.stderr);
            assert!(complaint.contains(said), "{complaint}");
        }
    });
}
