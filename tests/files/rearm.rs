//! The input of a FIFO or a terminal that goes on after an end of file.

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{
    Counting, Heard, Probe, Seen, TempDir, on_every_backend, raw_pty, settle, turn_until,
    turn_until_empty, with_every_loop,
};
use fdloop::{Backend, EventLoop, FileDispatcher};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

/// A probe that re-arms its input at each end.
fn rearming() -> (Probe, Rc<Seen>) {
    let (probe, seen) = Probe::new();
    let probe = probe.on_eof(|io| {
        assert!(io.input_ended());
        io.rearm_input()?;
        assert!(!io.input_ended());
        Ok(())
    });
    (probe, seen)
}

/// A loop whose waits are counted.
fn counted(backend: Backend) -> (EventLoop, Rc<Heard>) {
    let (poller, heard) = Counting::new(backend);
    (EventLoop::with_poller(poller), heard)
}

/// Nothing is ready: a wait lasts as long as its timeout, and there is no other.
#[track_caller]
fn assert_sleeps(event_loop: &mut EventLoop, heard: &Heard) {
    for _ in 0..3 {
        heard.waits.set(0);
        let begin = Instant::now();
        let timeout = Duration::from_millis(10);
        assert_eq!(event_loop.turn(Some(timeout)).unwrap(), 0);
        assert!(begin.elapsed() >= timeout);
        assert_eq!(heard.waits.get(), 1);
    }
}

/// A terminal in line mode, in which Ctrl-D ends the input; without an echo.
fn line_mode_pty() -> (File, File) {
    let (master, terminal) = raw_pty();
    let mut modes = tcgetattr(&terminal).unwrap();
    modes.local_flags |= LocalFlags::ICANON;
    tcsetattr(&terminal, SetArg::TCSANOW, &modes).unwrap();
    (master, terminal)
}

#[test]
fn a_terminal_that_is_rearmed_reads_on_after_ctrl_d() {
    on_every_backend(|backend| {
        let (mut master, terminal) = line_mode_pty();
        let (probe, seen) = rearming();
        let (mut event_loop, heard) = counted(backend);
        event_loop
            .add(FileDispatcher::new(&terminal, probe).unwrap())
            .unwrap();
        for round in 1..=3 {
            master.write_all(b"typed\n\x04").unwrap();
            turn_until(&mut event_loop, "Ctrl-D", || seen.count("eof") == round);
            assert_eq!(seen.received_len(), 6 * round);
            assert_sleeps(&mut event_loop, &heard);
        }
        assert!(!seen.heard("close"));
    });
}

#[test]
fn a_terminal_that_has_hung_up_is_not_rearmed_and_ends_once() {
    with_every_loop(|event_loop| {
        // Each side, whose other side goes.
        for swapped in [false, true] {
            let (master, terminal) = line_mode_pty();
            let (ours, theirs) = if swapped {
                (master, terminal)
            } else {
                (terminal, master)
            };
            let (probe, seen) = Probe::new();
            let refused = Rc::new(RefCell::new(None));
            let kind = Rc::clone(&refused);
            let probe = probe.on_eof(move |io| {
                let result = io.rearm_input();
                kind.replace(result.as_ref().err().map(|error| error.kind()));
                result
            });
            event_loop
                .add(FileDispatcher::new(&ours, probe).unwrap())
                .unwrap();
            settle(event_loop);
            drop(theirs);
            turn_until_empty(event_loop);
            assert_eq!(*refused.borrow(), Some(ErrorKind::BrokenPipe));
            assert_eq!(seen.events(), ["read", "eof", "close"]);
            let (_, reason) = seen.reason().unwrap();
            assert!(reason.contains("hung up"), "{reason}");
        }
    });
}

#[test]
fn what_cannot_be_rearmed_says_why() {
    let dir = TempDir::new();
    let regular = File::create_new(dir.join("file")).unwrap();
    let regular_reader = File::open(dir.join("file")).unwrap();
    drop(regular);
    let cases: [(OwnedFd, &str); 4] = [
        (regular_reader.into(), "always ready"),
        (File::open("/dev/null").unwrap().into(), ""),
        (os_pipe::pipe().unwrap().0.into(), "without a name"),
        (UnixStream::pair().unwrap().0.into(), "FIFOs and terminals"),
    ];
    for (file, why) in cases {
        with_every_loop(|event_loop| {
            let (probe, seen) = rearming();
            event_loop
                .add(FileDispatcher::new(&file, probe).unwrap())
                .unwrap();
            turn_until_empty(event_loop);
            assert_eq!(seen.events(), ["read", "eof", "error", "close"]);
            let text = &seen.errors()[0];
            assert!(text.contains("cannot re-arm the input of fd "), "{text}");
            assert!(text.contains(why), "{text}");
        });
    }
}

#[test]
fn an_input_that_has_not_ended_needs_no_rearming() {
    let (reader, _writer) = os_pipe::pipe().unwrap();
    let mut channel = FileDispatcher::new(&reader, Probe::silent()).unwrap();
    channel.rearm_input().unwrap();
    channel.close();
    let error = channel.rearm_input().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}

/// A FIFO is opened again through /proc.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod fifos {
    use super::*;
    use crate::common::fd_flags;
    use fdloop::{AsyncChat, ChatHandler, ChatIo, FileWrapper, Result, Transport};
    use nix::sys::stat::Mode;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::PathBuf;

    /// A FIFO in a directory of its own.
    struct Fifo {
        _dir: TempDir,
        path: PathBuf,
    }

    impl Fifo {
        fn new() -> Self {
            let dir = TempDir::new();
            let path = dir.join("fifo");
            nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
            Self { _dir: dir, path }
        }

        /// Opens it for reading, without waiting for a writer.
        fn reader(&self) -> File {
            File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&self.path)
                .unwrap()
        }

        /// Opens it for writing; fails without a reader rather than wait for one.
        fn writer(&self) -> File {
            File::options()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&self.path)
                .unwrap()
        }
    }

    #[test]
    fn a_fifo_that_is_rearmed_waits_for_its_next_writer() {
        on_every_backend(|backend| {
            for leave_blocking in [false, true] {
                let fifo = Fifo::new();
                let (probe, seen) = rearming();
                let (mut event_loop, heard) = counted(backend);
                let file = if leave_blocking {
                    FileWrapper::leave_blocking(fifo.reader())
                } else {
                    FileWrapper::new(fifo.reader())
                };
                let id = event_loop
                    .add(FileDispatcher::over(file.unwrap(), probe))
                    .unwrap();
                assert_sleeps(&mut event_loop, &heard);
                for round in 1..=5 {
                    let mut writer = fifo.writer();
                    assert_sleeps(&mut event_loop, &heard);
                    writer.write_all(b"hello").unwrap();
                    turn_until(&mut event_loop, "it came", || {
                        seen.received_len() == 5 * round
                    });
                    drop(writer);
                    turn_until(&mut event_loop, "it left", || seen.count("eof") == round);
                    assert!(!event_loop.get(id).unwrap().input_ended());
                    assert_sleeps(&mut event_loop, &heard);
                }
                assert!(!seen.heard("close") && !seen.heard("error"));
                assert_eq!(seen.count("read"), 10, "no read event was in vain");
            }
        });
    }

    #[test]
    fn what_a_writer_left_between_the_end_and_the_rearming_is_read() {
        with_every_loop(|event_loop| {
            let fifo = Rc::new(Fifo::new());
            let (probe, seen) = Probe::new();
            let next = Rc::clone(&fifo);
            let mut ends = 0;
            let probe = probe.on_eof(move |io| {
                ends += 1;
                if ends == 1 {
                    next.writer().write_all(b" and gone").unwrap();
                }
                io.rearm_input()
            });
            event_loop
                .add(FileDispatcher::new(fifo.reader(), probe).unwrap())
                .unwrap();
            fifo.writer().write_all(b"here").unwrap();
            turn_until(event_loop, "all came", || {
                seen.received() == b"here and gone"
            });
            settle(event_loop);
            assert_eq!(seen.count("eof"), 1);
        });
    }

    #[test]
    fn a_writer_that_came_before_the_rearming_is_read_to_its_end() {
        with_every_loop(|event_loop| {
            let fifo = Rc::new(Fifo::new());
            let (probe, seen) = Probe::new();
            let kept = Rc::new(RefCell::new(None));
            let (next, writer) = (Rc::clone(&fifo), Rc::clone(&kept));
            let probe = probe.on_eof(move |io| {
                writer.borrow_mut().get_or_insert_with(|| next.writer());
                io.rearm_input()
            });
            event_loop
                .add(FileDispatcher::new(fifo.reader(), probe).unwrap())
                .unwrap();
            fifo.writer().write_all(b"first").unwrap();
            turn_until(event_loop, "its end", || seen.count("eof") == 1);
            let mut second = kept.borrow().as_ref().unwrap().try_clone().unwrap();
            second.write_all(b" second").unwrap();
            drop(second);
            turn_until(event_loop, "it came", || seen.received() == b"first second");
            assert_eq!(seen.count("eof"), 1);
            kept.replace(Some(File::open("/dev/null").unwrap()));
            turn_until(event_loop, "its end", || seen.count("eof") == 2);
        });
    }

    #[test]
    fn the_end_of_a_fifo_whose_writers_have_left_already_is_reported() {
        // A description of the wrapper's own would wait for the next writer.
        with_every_loop(|event_loop| {
            let fifo = Fifo::new();
            let reader = fifo.reader();
            fifo.writer().write_all(b"gone").unwrap();
            let (probe, seen) = Probe::new();
            event_loop
                .add(FileDispatcher::new(&reader, probe).unwrap())
                .unwrap();
            turn_until_empty(event_loop);
            assert_eq!(seen.received(), b"gone");
            assert_eq!(seen.events(), ["read", "read", "eof", "close"]);
        });
    }

    #[test]
    fn the_flags_of_a_fifo_that_could_not_be_opened_anew_are_put_back_when_it_is_rearmed() {
        let fifo = Fifo::new();
        // With a writer there, opening it to block does not wait.
        let both = File::options().read(true).write(true).open(&fifo.path);
        let reader = File::open(&fifo.path).unwrap();
        drop(both);
        let mut wrapper = FileWrapper::new(&reader).unwrap();
        assert!(fd_flags(&reader).1, "a new description would miss the end");
        assert_eq!(wrapper.read(&mut [0; 16]).unwrap(), 0);
        let number = wrapper.as_raw_fd();
        wrapper.rearm().unwrap();
        assert_eq!(wrapper.as_raw_fd(), number);
        assert_eq!(fd_flags(wrapper.as_fd().unwrap()), (true, true));
        assert!(!fd_flags(&reader).1, "put back");
    }

    #[test]
    fn a_channel_that_was_not_reading_when_its_writer_left_can_be_rearmed() {
        with_every_loop(|event_loop| {
            // One that wants to write hears of the hang-up under poll.
            for wants_write in [false, true] {
                let fifo = Fifo::new();
                let (probe, seen) = rearming();
                event_loop
                    .add(FileDispatcher::new(fifo.reader(), probe).unwrap())
                    .unwrap();
                seen.wants_read.set(false);
                seen.wants_write.set(wants_write);
                fifo.writer().write_all(b"kept").unwrap();
                settle(event_loop);
                assert!(seen.events().is_empty());
                seen.wants_read.set(true);
                turn_until(event_loop, "its end", || seen.heard("eof"));
                fifo.writer().write_all(b" and more").unwrap();
                turn_until(event_loop, "more", || seen.received() == b"kept and more");
                assert!(!seen.heard("close"));
            }
        });
    }

    #[test]
    fn a_chat_over_a_fifo_gets_the_tail_of_each_writer() {
        struct Lines(Rc<RefCell<Vec<String>>>);
        impl ChatHandler for Lines {
            fn found_terminator(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
                let line = String::from_utf8(io.take_data()).unwrap();
                self.0.borrow_mut().push(line);
                Ok(())
            }
            fn handle_eof(&mut self, io: &mut ChatIo<'_>) -> Result<()> {
                let tail = String::from_utf8(io.take_data()).unwrap();
                self.0.borrow_mut().push(format!("{tail} (end)"));
                io.rearm_input()
            }
        }
        with_every_loop(|event_loop| {
            let fifo = Fifo::new();
            let lines = Rc::default();
            let file = FileWrapper::new(fifo.reader()).unwrap();
            let mut chat = AsyncChat::over(file, Lines(Rc::clone(&lines)));
            chat.set_terminator("\n");
            event_loop.add(chat).unwrap();
            for round in 1..=3 {
                fifo.writer().write_all(b"one\ntwo\nthr").unwrap();
                turn_until(event_loop, "its end", || lines.borrow().len() == 3 * round);
            }
            assert_eq!(*lines.borrow(), ["one", "two", "thr (end)"].repeat(3));
        });
    }
}
