//! Channels over what is not a socket: pipes, FIFOs, regular files, devices and
//! pseudo-terminals.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use crate::common::{
    Probe, Seen, TempDir, raw_pty, settle, turn_once, turn_until, turn_until_empty, with_every_loop,
};
use fdloop::{ChannelId, EventLoop, FileDispatcher};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

fn add(
    event_loop: &mut EventLoop,
    file: impl AsFd,
    probe: Probe,
) -> ChannelId<FileDispatcher<Probe>> {
    let channel = FileDispatcher::new(file, probe).unwrap();
    event_loop.add(channel).unwrap()
}

/// It was read to its end, and ended once.
#[track_caller]
fn assert_one_end(seen: &Seen) {
    assert_eq!((seen.count("eof"), seen.count("close")), (1, 1));
    assert_eq!(seen.events().last(), Some(&"close"));
    assert_eq!(seen.count("error"), 0, "{:?}", seen.errors());
    assert_eq!(seen.reason(), None);
}

#[test]
fn a_pipe_is_read_as_it_is_written() {
    with_every_loop(|event_loop| {
        let (reader, mut writer) = os_pipe::pipe().unwrap();
        let (probe, seen) = Probe::new();
        add(event_loop, &reader, probe);
        drop(reader);
        for i in 1..=3 {
            writer.write_all(b"line\n").unwrap();
            turn_once(event_loop);
            assert_eq!(seen.received_len(), 5 * i);
        }
        drop(writer);
        turn_until_empty(event_loop);
        assert_one_end(&seen);
    });
}

#[test]
fn a_pipe_is_written_with_a_buffer_however_slow_its_reader_is() {
    with_every_loop(|event_loop| {
        let (mut reader, writer) = os_pipe::pipe().unwrap();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let mut channel = FileDispatcher::with_send(&writer, probe).unwrap();
        drop(writer);
        let data = vec![b'p'; 1 << 20];
        assert_eq!(channel.send(&data).unwrap(), data.len());
        channel.close_when_done();
        assert!(channel.pending() > 0);
        event_loop.add(channel).unwrap();
        settle(event_loop);
        assert_eq!(event_loop.len(), 1);
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).map(|_| got)
        });
        turn_until_empty(event_loop);
        assert!(reader.join().unwrap().unwrap() == data);
        assert_eq!(seen.count("close"), 1);
    });
}

#[test]
fn a_fifo_is_read_when_a_writer_comes_and_ends_when_it_goes() {
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        let path = dir.join("fifo");
        nix::unistd::mkfifo(&path, Mode::from_bits_retain(0o600)).unwrap();
        let reader: OwnedFd =
            nix::fcntl::open(&path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()).unwrap();
        let (probe, seen) = Probe::new();
        // Nobody has the other end yet, which some systems show as a hang-up.
        seen.wants_read.set(false);
        add(event_loop, &reader, probe);
        drop(reader);
        settle(event_loop);
        let mut writer = File::options().write(true).open(&path).unwrap();
        seen.wants_read.set(true);
        writer.write_all(b"through the fifo").unwrap();
        turn_until(event_loop, "it came", || seen.received_len() == 16);
        drop(writer);
        turn_until_empty(event_loop);
        assert_one_end(&seen);
    });
}

#[test]
fn a_regular_file_is_read_to_its_end() {
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        let data: Vec<u8> = (0..100_000_u32).map(|i| (i / 7) as u8).collect();
        fs::write(dir.join("file"), &data).unwrap();
        let (probe, seen) = Probe::new();
        add(event_loop, File::open(dir.join("file")).unwrap(), probe);
        turn_until_empty(event_loop);
        assert!(seen.received() == data);
        assert_eq!(seen.count("read"), data.len().div_ceil(4096) + 1);
        assert_one_end(&seen);
    });
}

#[test]
fn an_empty_file_and_dev_null_are_at_their_end() {
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        File::create(dir.join("empty")).unwrap();
        for path in [dir.join("empty"), "/dev/null".into()] {
            let (probe, seen) = Probe::new();
            add(event_loop, File::open(path).unwrap(), probe);
            turn_until_empty(event_loop);
            assert_eq!(seen.events(), ["read", "eof", "close"]);
            assert_one_end(&seen);
        }
    });
}

#[test]
fn dev_null_and_regular_files_take_output() {
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        for path in [dir.join("file"), "/dev/null".into()] {
            let file = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .unwrap();
            let (probe, seen) = Probe::new();
            seen.wants_read.set(false);
            let mut channel = FileDispatcher::with_send(&file, probe).unwrap();
            for piece in ["one, ", "two, ", "three"] {
                assert_eq!(channel.send(piece.as_bytes()).unwrap(), piece.len());
            }
            channel.close_when_done();
            event_loop.add(channel).unwrap();
            turn_until_empty(event_loop);
            assert_eq!(seen.count("close"), 1);
            assert_eq!(seen.reason(), None);
        }
        assert_eq!(fs::read(dir.join("file")).unwrap(), b"one, two, three");
    });
}

#[test]
fn a_file_dispatcher_is_independent_of_the_file_it_was_made_from() {
    with_every_loop(|event_loop| {
        let (reader, mut writer) = os_pipe::pipe().unwrap();
        let (first, first_seen) = Probe::new();
        let (second, second_seen) = Probe::new();
        let first = add(event_loop, &reader, first);
        let second = add(event_loop, &reader, second);
        assert_ne!(first.fd(), second.fd(), "each has a number of its own");
        drop(reader);
        assert!(event_loop.close(first).unwrap());
        writer.write_all(b"x").unwrap();
        turn_until(event_loop, "the other reads", || second_seen.heard("read"));
        assert!(first_seen.events().is_empty());
    });
}

#[test]
fn a_pseudo_terminal_carries_bytes_both_ways() {
    with_every_loop(|event_loop| {
        let (master, slave) = raw_pty();
        let (probe, terminal) = Probe::new();
        let echo = probe.on_read(|io| {
            let mut buf = [0; 100];
            let n = io.recv(&mut buf)?;
            io.send(&buf[..n].to_ascii_uppercase()).map(drop)
        });
        let channel = FileDispatcher::with_send(&slave, echo).unwrap();
        event_loop.add(channel).unwrap();
        let (probe, emulator) = Probe::new();
        let mut channel = FileDispatcher::with_send(&master, probe).unwrap();
        channel.send(b"typed").unwrap();
        event_loop.add(channel).unwrap();
        turn_until(event_loop, "the answer", || emulator.received() == b"TYPED");
        assert_eq!(terminal.count("error"), 0);
    });
}

#[test]
fn a_pseudo_terminal_whose_program_is_gone_is_read_to_its_end() {
    with_every_loop(|event_loop| {
        let (master, mut slave) = raw_pty();
        let data = vec![b'o'; 3_000];
        slave.write_all(&data).unwrap();
        drop(slave);
        let (probe, seen) = Probe::new();
        // In small pieces, so that the hang-up is there long before the end.
        let kept = std::rc::Rc::new(std::cell::Cell::new(0));
        let count = std::rc::Rc::clone(&kept);
        let probe = probe.on_read(move |io| {
            let n = io.recv(&mut [0; 100])?;
            count.set(count.get() + n);
            Ok(())
        });
        add(event_loop, &master, probe);
        drop(master);
        turn_until_empty(event_loop);
        assert_eq!(kept.get(), data.len());
        assert_one_end(&seen);
    });
}

#[test]
fn a_terminal_whose_emulator_is_gone_ends() {
    with_every_loop(|event_loop| {
        let (master, slave) = raw_pty();
        let (probe, seen) = Probe::new();
        add(event_loop, &slave, probe);
        settle(event_loop);
        assert!(seen.events().is_empty());
        drop(master);
        turn_until_empty(event_loop);
        assert_one_end(&seen);
    });
}
