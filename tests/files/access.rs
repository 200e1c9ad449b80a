//! Files that are open for reading only, or for writing only.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};

use crate::common::{Probe, TempDir, settle, turn_until_empty, with_every_loop};
use fdloop::{Error, FileDispatcher, FileWrapper};

#[track_caller]
fn assert_refused(error: &Error, fd: i32, why: &str) {
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(error.raw_os_error(), None, "{error}");
    assert!(!error.is_disconnected());
    let text = error.to_string();
    assert!(text.contains(&format!("fd {fd}: ")), "{text}");
    assert!(text.contains(why), "{text}");
}

/// Something that is open for reading only, and for writing only.
fn files() -> (TempDir, [(File, File); 2]) {
    let dir = TempDir::new();
    let path = dir.join("file");
    let written = File::create(&path).unwrap();
    let (reader, writer) = os_pipe::pipe().unwrap();
    let pipe = [reader.as_fd(), writer.as_fd()].map(|end| end.try_clone_to_owned().unwrap());
    let [reader, writer] = pipe.map(File::from);
    (
        dir,
        [(reader, writer), (File::open(&path).unwrap(), written)],
    )
}

#[test]
fn writing_to_what_is_open_for_reading_only_says_so() {
    let (_dir, files) = files();
    for (reader, _writer) in &files {
        for wrap in [FileWrapper::new, FileWrapper::leave_blocking] {
            let mut wrapper = wrap(reader).unwrap();
            let error = wrapper.write(b"x").unwrap_err();
            assert_refused(&error, wrapper.as_raw_fd(), "is open for reading only");
        }
        for make in [FileDispatcher::new, FileDispatcher::with_send] {
            let mut channel = make(reader, Probe::silent()).unwrap();
            let error = channel.send(b"x").unwrap_err();
            assert_refused(&error, channel.as_raw_fd(), "is open for reading only");
        }
    }
}

#[test]
fn reading_what_is_open_for_writing_only_says_so() {
    let (_dir, files) = files();
    for (_reader, writer) in &files {
        let mut wrapper = FileWrapper::new(writer).unwrap();
        let error = wrapper.read(&mut [0; 16]).unwrap_err();
        assert_refused(&error, wrapper.as_raw_fd(), "is open for writing only");
    }
}

#[test]
fn a_handler_that_sends_to_the_read_end_gets_the_error() {
    with_every_loop(|event_loop| {
        let (reader, mut writer) = os_pipe::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let (probe, seen) = Probe::new();
        let probe = probe.on_read(|io| io.send(b"an answer").map(drop));
        event_loop
            .add(FileDispatcher::new(&reader, probe).unwrap())
            .unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["read", "error", "close"]);
        let text = &seen.errors()[0];
        assert!(text.contains("is open for reading only"), "{text}");
    });
}

#[test]
fn a_pipe_whose_reader_leaves_ends_with_epipe_though_readable_is_not_overridden() {
    with_every_loop(|event_loop| {
        let (reader, writer) = os_pipe::pipe().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(FileDispatcher::with_send(&writer, probe).unwrap())
            .unwrap();
        drop(writer);
        settle(event_loop);
        assert!(seen.events().is_empty());
        drop(reader);
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["read", "close"]);
        assert_eq!(seen.reason().unwrap().0, Some(libc::EPIPE));
    });
}

#[test]
fn a_channel_that_reads_what_is_open_for_writing_only_is_told_what_to_do() {
    with_every_loop(|event_loop| {
        let dir = TempDir::new();
        let file = File::create(dir.join("file")).unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(FileDispatcher::with_send(&file, probe).unwrap())
            .unwrap();
        turn_until_empty(event_loop);
        assert_eq!(seen.events(), ["read", "error", "close"]);
        let text = &seen.errors()[0];
        assert!(text.contains("return false from readable"), "{text}");
    });
}
