//! Raw mode of a program that is stopped and continued, under a shell with job control.

use std::io;

use crate::common::this_test;
use crate::on_a_terminal::{OnATerminal, part, say, wait_for_the_end};
use fdloop::RawMode;

/// Runs the program in the foreground, and when it has stopped, waits for a line and continues
/// it. (dash and bash both do this without a terminal's prompt.)
const SHELL: &str = r#"
set -m
"$@"
echo "shell: stopped"
read line
fg >/dev/null
echo "shell: code $?"
"#;

fn play() -> ! {
    let _raw = RawMode::new(io::stdin()).unwrap();
    say("in raw mode");
    wait_for_the_end()
}

/// Does it twice.
const TWICE: &str = r#"
set -m
"$@"
echo "shell: stopped"
read line
fg >/dev/null
echo "shell: stopped again"
read line
fg >/dev/null
echo "shell: code $?"
"#;

#[test]
fn raw_mode_is_left_while_the_program_is_stopped() {
    if part().is_some() {
        play();
    }
    let mut program = OnATerminal::shell(TWICE, this_test!(), "job");
    program.wait_for("in raw mode");
    for said in ["shell: stopped", "shell: stopped again"] {
        program.signal("TSTP");
        program.wait_for(said);
        program.assert_as_before();
        program.type_in("go on\n");
        program.wait_until_raw(true);
    }
    program.signal("TERM");
    program.wait_for("shell: code 143");
    assert!(program.wait().success());
    program.assert_as_before();
}

#[test]
fn raw_mode_is_set_again_after_a_stop_that_cannot_be_handled() {
    if part().is_some() {
        play();
    }
    let mut program = OnATerminal::shell(SHELL, this_test!(), "job");
    program.wait_for("in raw mode");
    program.signal("STOP");
    program.wait_for("shell: stopped");
    // It is in raw mode still, unless the shell has put it back, as interactive ones do.
    program.type_in("go on\n");
    program.wait_until_raw(true);
    program.signal("TERM");
    program.wait_for("shell: code 143");
    program.assert_as_before();
}

#[test]
fn a_signal_that_came_during_a_stop_ends_the_program_with_the_terminal_as_before() {
    if part().is_some() {
        play();
    }
    // It is delivered together with the one that continues the program, in another thread perhaps.
    for stop in ["STOP", "TSTP"].repeat(10) {
        let mut program = OnATerminal::shell(SHELL, this_test!(), "job");
        program.wait_for("in raw mode");
        program.signal(stop);
        program.wait_for("shell: stopped");
        program.signal("TERM");
        program.type_in("go on\n");
        program.wait_for("shell: code 143");
        program.assert_as_before();
    }
}

/// Continues the program in the background, where the terminal belongs to the shell.
const BACKGROUND: &str = r#"
set -m
"$@"
echo "shell: stopped"
read line
bg >/dev/null
kill -s TERM %1
wait %1
echo "shell: code $?"
"#;

#[test]
fn the_terminal_is_left_alone_in_the_background() {
    if part().is_some() {
        play();
    }
    let mut program = OnATerminal::shell(BACKGROUND, this_test!(), "job");
    program.wait_for("in raw mode");
    program.signal("TSTP");
    program.wait_for("shell: stopped");
    program.type_in("go on\n");
    program.wait_for("shell: code 143");
    assert!(program.wait().success());
    program.assert_as_before();
}
