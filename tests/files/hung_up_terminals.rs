//! A terminal whose other side is gone while output waits: what came in is read to
//! its end, and then the channel ends, although nothing may say that the output can
//! never be written.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;

use crate::common::{Probe, settle, turn_until_empty, with_every_loop};
use fdloop::{EventLoop, FileDispatcher};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

/// More than any terminal takes at once.
const MUCH: usize = 1 << 20;
const INPUT: [u8; 3_000] = [b'y'; 3_000];

/// One side of a terminal with output that waits, whose other side has written the
/// input and is gone.
fn hung_up(probe: Probe) -> FileDispatcher<Probe> {
    let pty = openpty(None, None).unwrap();
    // As it comes, without an echo.
    let mut settings = tcgetattr(&pty.slave).unwrap();
    cfmakeraw(&mut settings);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &settings).unwrap();
    let mut ours = FileDispatcher::with_send(pty.master, probe).unwrap();
    ours.send(&[b'z'; MUCH]).unwrap();
    assert!(ours.pending() > 0);
    let mut theirs = File::from(pty.slave);
    theirs.write_all(&INPUT).unwrap();
    ours
}

#[test]
fn the_input_is_read_to_its_end_and_the_output_given_up() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        event_loop.add(hung_up(probe)).unwrap();
        turn_until_empty(event_loop);
        assert!(seen.received() == INPUT);
        assert_eq!(seen.events()[seen.events().len() - 2..], ["eof", "close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::EPIPE));
    });
}

#[test]
fn input_that_is_left_for_a_while_is_read_when_it_is_wanted() {
    with_every_loop(|event_loop| {
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let mut ours = hung_up(probe);
        ours.set_keep_unread(true);
        event_loop.add(ours).unwrap();
        settle(event_loop);
        assert!(!seen.heard("close"));
        seen.wants_read.set(true);
        turn_until_empty(event_loop);
        assert!(seen.received() == INPUT);
        assert_eq!(seen.events()[seen.events().len() - 2..], ["eof", "close"]);
    });
}

#[test]
fn a_socket_that_is_used_as_a_file_is_read_to_its_end_though_the_answers_fail() {
    with_every_loop(|event_loop: &mut EventLoop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&INPUT).unwrap();
        drop(theirs);
        let (probe, seen) = Probe::new();
        let probe = probe.on_read({
            let seen = std::rc::Rc::clone(&seen);
            move |io| {
                let mut buf = [0; 500];
                let n = io.recv(&mut buf)?;
                seen.receive(&buf[..n]);
                io.send(b"answer")?;
                Ok(())
            }
        });
        event_loop
            .add(FileDispatcher::with_send(ours, probe).unwrap())
            .unwrap();
        turn_until_empty(event_loop);
        assert!(seen.received() == INPUT);
        assert_eq!(seen.count("close"), 1);
    });
}
