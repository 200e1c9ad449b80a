//! The size of a terminal's window.

use std::io;
use std::process::Command;

use crate::common::{on_every_backend, this_test};
use crate::on_a_terminal::{OnATerminal, part, say};
use fdloop::{Backend, EventLoop, Pty, WindowSize, is_tty};

#[test]
fn both_sides_of_a_pseudo_terminal_have_one_size() {
    let pty = Pty::open().unwrap();
    assert_eq!(WindowSize::of(pty.master()).unwrap(), WindowSize::default());
    for (rows, columns) in [(24, 80), (1, 1), (u16::MAX, u16::MAX), (0, 0), (50, 0)] {
        for (one, other) in [
            (pty.master(), pty.terminal()),
            (pty.terminal(), pty.master()),
        ] {
            let size = WindowSize {
                pixel_width: 7,
                pixel_height: 9,
                ..WindowSize::new(rows, columns)
            };
            size.set(one).unwrap();
            assert_eq!(WindowSize::of(other).unwrap(), size);
        }
    }
}

#[test]
fn a_program_finds_the_size_that_its_terminal_was_opened_with() {
    let pty = Pty::with_size(WindowSize::new(33, 101)).unwrap();
    let (mut child, master) = pty.spawn(Command::new("stty").arg("size")).unwrap();
    let shown = std::io::read_to_string(std::fs::File::from(master));
    // On Linux, the end of a terminal is an error, after the text.
    let shown = shown.unwrap_or_else(|error| format!("33 101 {error}"));
    assert!(shown.starts_with("33 101"), "{shown}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_size_of_zero_is_passed_on() {
    let mut program = OnATerminal::start(Command::new("stty").arg("size"));
    program.wait_for("0 0");
    assert!(program.wait().success());
}

/// Says each new size of its window, until one has no columns.
fn follow(backend: Backend) {
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let hold = event_loop.keep(Some(event_loop.hold()));
    event_loop
        .on_resize(io::stdin(), move |event_loop, size| {
            say(&format!("{} x {}", size.rows, size.columns));
            if size.columns == 0 {
                event_loop.state_mut(hold).unwrap().take();
            }
            Ok(())
        })
        .unwrap();
    say("it follows");
    event_loop.run().unwrap();
}

#[test]
fn a_program_follows_the_size_to_the_last() {
    if let Some(part) = part() {
        return follow(part.parse().unwrap());
    }
    let test = this_test!();
    on_every_backend(|backend| {
        let mut program = OnATerminal::test(test, &backend.to_string());
        program.wait_for("it follows");
        for storm in 1..=5 {
            for columns in 1..=200 {
                program.resize(WindowSize::new(storm, columns));
            }
            program.wait_for(&format!("{storm} x 200"));
        }
        program.resize(WindowSize::new(7, 0));
        program.wait_for("7 x 0");
        assert!(program.wait().success(), "{}", program.shown());
    });
}

#[test]
fn what_is_not_a_terminal_has_no_size() {
    let (reader, _writer) = os_pipe::pipe().unwrap();
    assert!(!is_tty(&reader));
    for error in [
        WindowSize::of(&reader).unwrap_err(),
        WindowSize::new(24, 80).set(&reader).unwrap_err(),
        EventLoop::new()
            .unwrap()
            .on_resize(&reader, |_, _| Ok(()))
            .unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        assert!(error.to_string().contains("size of the window (fd "));
        assert!(error.to_string().contains("is_tty"), "{error}");
    }
}

#[test]
fn a_terminal_that_has_hung_up_is_not_one_any_more() {
    let (master, terminal) = Pty::open().unwrap().into_parts();
    assert!(is_tty(&terminal));
    drop(master);
    assert!(!is_tty(&terminal));
    let error = WindowSize::of(&terminal).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
}
