//! A file that is a channel works for other programs and for `println!` as if it were not one.

use std::io::{self, Write};

use crate::common::{Probe, settle, this_test, with_every_loop};
use crate::on_a_terminal::{OnATerminal, part};
use fdloop::{Backend, EventLoop, FileDispatcher};

const LINE: &str = "a line of output to the very terminal that is a channel";
const LINES: usize = (1 << 20) / (LINE.len() + 2);

/// Prints a mebibyte to the terminal while it is a channel, in the way of a program that does
/// not know about that.
#[allow(clippy::print_stdout, reason = "it is the program's output")]
fn print_a_lot() {
    with_every_loop(|event_loop| {
        let keyboard = FileDispatcher::reader(io::stdin(), Probe::silent()).unwrap();
        let screen = FileDispatcher::writer(io::stdout(), Probe::silent()).unwrap();
        event_loop.add(keyboard).unwrap();
        let screen = event_loop.add(screen).unwrap();
        settle(event_loop);
        // After what the harness has begun to say.
        println!();
        for _ in 0..LINES {
            println!("{LINE}");
        }
        let screen = event_loop.get_mut(screen).unwrap();
        screen.send(b"and the last one\n").unwrap();
        settle(event_loop);
    });
}

#[test]
fn a_program_prints_a_mebibyte_to_the_terminal_that_is_its_channel() {
    if part().is_some() {
        return print_a_lot();
    }
    let mut program = OnATerminal::test(this_test!(), "print");
    assert!(program.wait().success(), "{}", program.shown());
    program.wait_for("test result");
    let shown = program.shown();
    let rounds = Backend::ALL.len();
    let count = |line: &str| shown.lines().filter(|shown| *shown == line).count();
    assert_eq!(count(LINE), rounds * LINES);
    assert_eq!(count("and the last one"), rounds);
}

/// A key that is typed while the program ends is the shell's: the channel has read nothing ahead.
#[test]
fn keys_that_were_not_read_are_left_to_the_next_program() {
    if part().is_some() {
        let mut event_loop = EventLoop::new().unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| {
            io.recv(&mut [0; 3])?;
            io.close();
            Ok(())
        });
        let keyboard = FileDispatcher::reader(io::stdin(), probe).unwrap();
        event_loop.add(keyboard).unwrap();
        io::stdout().write_all(b"type now\n").unwrap();
        event_loop.run().unwrap();
        assert!(seen.heard("read"));
        return;
    }
    let script = "\"$@\"; read line; echo \"the shell got [$line]\"";
    let mut program = OnATerminal::shell(script, this_test!(), "keys");
    program.wait_for("type now");
    program.type_in("ab\nfor the shell\n");
    program.wait_for("the shell got [for the shell]");
    assert!(program.wait().success());
    program.assert_as_before();
}
