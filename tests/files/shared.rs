//! Several wrappers of one file, which share its open file description where the system
//! gives them none of their own: none of them ever blocks, whichever is closed first.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use crate::common::{Probe, at_once, fd_flags, raw_pty, settle, turn_until, with_every_loop};
use fdloop::{FileDispatcher, FileWrapper};

/// Checks whether the open file description of `file` blocks.
#[track_caller]
fn blocks(file: impl AsFd) -> bool {
    !fd_flags(file).1
}

/// Writes until there is no room.
#[track_caller]
fn fill(wrapper: FileWrapper) -> FileWrapper {
    at_once(move || {
        let mut wrapper = wrapper;
        loop {
            match wrapper.write(&[b'x'; 16_384]) {
                Ok(n) => assert_ne!(n, 0),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    return wrapper;
                }
            }
        }
    })
}

/// Reads until nothing is left.
#[track_caller]
fn drain(wrapper: FileWrapper) -> FileWrapper {
    at_once(move || {
        let mut wrapper = wrapper;
        loop {
            match wrapper.read(&mut [0; 16_384]) {
                Ok(n) => assert_ne!(n, 0),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    return wrapper;
                }
            }
        }
    })
}

/// Wraps both ends twice, and closes the first wrapper of each: the second must fill and
/// drain them without waiting.
#[track_caller]
fn assert_the_second_never_blocks(
    wrap: fn(BorrowedFd<'_>) -> fdloop::Result<FileWrapper>,
    reader: &OwnedFd,
    writer: &OwnedFd,
) {
    for end in [reader, writer] {
        assert!(blocks(end));
    }
    let wrap_twice = |end: &OwnedFd| [wrap(end.as_fd()).unwrap(), wrap(end.as_fd()).unwrap()];
    let [mut first_reader, reads] = wrap_twice(reader);
    let [mut first_writer, writes] = wrap_twice(writer);
    first_reader.close().unwrap();
    first_writer.close().unwrap();
    let reads = drain(reads);
    let writes = fill(writes);
    let reads = drain(reads);
    drop((reads, writes));
    for end in [reader, writer] {
        assert!(blocks(end), "the last one puts the flag back");
    }
}

#[track_caller]
fn assert_none_ever_blocks(reader: &OwnedFd, writer: &OwnedFd) {
    assert_the_second_never_blocks(|end| FileWrapper::new(end), reader, writer);
    assert_the_second_never_blocks(|end| FileWrapper::leave_blocking(end), reader, writer);
}

#[test]
fn wrappers_of_one_pipe_never_block() {
    let (reader, writer) = os_pipe::pipe().unwrap();
    assert_none_ever_blocks(&reader.into(), &writer.into());
}

#[test]
fn wrappers_of_one_socket_never_block() {
    let (reader, writer) = UnixStream::pair().unwrap();
    assert_none_ever_blocks(&reader.into(), &writer.into());
}

#[test]
fn wrappers_of_one_pseudo_terminal_never_block() {
    let (master, terminal) = raw_pty();
    let (master, terminal) = (master.into(), terminal.into());
    assert_none_ever_blocks(&terminal, &master);
    assert_none_ever_blocks(&master, &terminal);
}

#[test]
fn a_terminal_with_little_room_left_does_not_block_either() {
    // It is writable with room for less than PIPE_BUF bytes.
    for before in [1, 100, 300, 777, 2_000, 3_333] {
        let (mut master, _terminal) = raw_pty();
        master.write_all(&vec![b'x'; before]).unwrap();
        fill(FileWrapper::leave_blocking(&master).unwrap());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn wrappers_of_a_pipe_that_cannot_be_opened_anew_never_block() {
    // In packet mode, which a new description would lose.
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_DIRECT).unwrap();
    assert_none_ever_blocks(&reader, &writer);
}

#[test]
fn wrappers_of_one_terminal_look_after_each_other() {
    // As standard input and output of a program in a terminal.
    let (mut master, terminal) = raw_pty();
    let mut input = FileWrapper::new(&terminal).unwrap();
    let mut output = FileWrapper::new(&terminal).unwrap();
    input.close().unwrap();
    let (mut output, error) = at_once(move || {
        let error = output.read(&mut [0; 16]).unwrap_err();
        (output, error)
    });
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(output.write(b"still here").unwrap(), 10);
    let mut shown = [0; 10];
    master.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"still here");
    drop(output);
    assert!(blocks(&terminal));
}

#[test]
fn leave_blocking_reads_once_for_each_time_that_there_is_something() {
    let (master, mut terminal) = raw_pty();
    let wrapper = FileWrapper::leave_blocking(&master).unwrap();
    terminal.write_all(b"shown").unwrap();
    let wrapper = at_once(move || {
        let mut wrapper = wrapper;
        let mut shown = [0; 3];
        assert_eq!(wrapper.read(&mut shown).unwrap(), 3);
        assert_eq!(wrapper.read(&mut shown).unwrap(), 2);
        let error = wrapper.read(&mut shown).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        wrapper
    });
    drop(terminal);
    at_once(move || {
        let mut wrapper = wrapper;
        assert_eq!(wrapper.read(&mut [0; 3]).unwrap(), 0, "the end");
    });
}

#[test]
fn a_channel_that_leaves_the_flags_alone_carries_what_others_do() {
    with_every_loop(|event_loop| {
        let (master, terminal) = raw_pty();
        let (probe, seen) = Probe::new();
        let emulator = FileWrapper::leave_blocking(&master).unwrap();
        event_loop
            .add(FileDispatcher::over(emulator, probe))
            .unwrap();
        settle(event_loop);
        assert!(blocks(&master));
        let data: Vec<u8> = (0..200_000_u32).map(|i| (i / 7) as u8).collect();
        let shown = data.clone();
        let program = thread::spawn(move || {
            let mut terminal = terminal;
            terminal.write_all(&shown).unwrap();
        });
        turn_until(event_loop, "all is shown", || {
            seen.received_len() == data.len()
        });
        assert!(seen.received() == data);
        program.join().unwrap();
        assert!(blocks(&master));
    });
}

/// A program's `println!` to the terminal on which it has a channel must neither fail with
/// EAGAIN nor lose anything.
#[test]
fn blocking_writes_to_a_terminal_that_is_a_channel_lose_nothing() {
    const LINE: &[u8] = b"a line of output to the very terminal that is read\n";
    with_every_loop(|event_loop| {
        let (master, terminal) = raw_pty();
        let (probe, typed) = Probe::new();
        event_loop
            .add(FileDispatcher::with_send(&terminal, probe).unwrap())
            .unwrap();
        settle(event_loop);
        let lines = (1 << 20) / LINE.len();
        let emulator = slow_emulator(&master, lines * LINE.len());
        let printer = thread::spawn(move || {
            let mut terminal = &terminal;
            for _ in 0..lines {
                terminal.write_all(LINE).unwrap();
            }
        });
        let mut keyboard = &master;
        keyboard.write_all(b"typed").unwrap();
        turn_until(event_loop, "it came", || typed.received() == b"typed");
        printer.join().unwrap();
        let shown = emulator.join().unwrap();
        assert!(shown.chunks(LINE.len()).all(|line| line == LINE));
    });
}

/// Reads `most` bytes from a master, in pieces, so that the terminal is full at times.
fn slow_emulator(master: &File, most: usize) -> thread::JoinHandle<Vec<u8>> {
    let mut master = master.try_clone().unwrap();
    thread::spawn(move || {
        let mut shown = vec![0; most];
        for piece in shown.chunks_mut(1_000) {
            master.read_exact(piece).unwrap();
        }
        shown
    })
}
