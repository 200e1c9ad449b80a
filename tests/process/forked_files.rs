//! A child made by fork(2) that drops the loop it has inherited: the files of the parent
//! stay as they are. Runs in a process of its own, which has one thread when it forks.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::forks::in_a_child;
use crate::common::{
    Probe, at_once, in_own_process, on_every_backend, raw_pty, settle, status_flags, this_test,
};
use fdloop::{EventLoop, FileDispatcher, FileWrapper};
use nix::fcntl::OFlag;

/// What a parent may have as a channel: the master has its flags set and put back, the
/// others are left alone.
fn files() -> (Vec<OwnedFd>, impl Sized) {
    let (master, terminal) = raw_pty();
    let (reader, writer) = os_pipe::pipe().unwrap();
    let (socket, peer) = UnixStream::pair().unwrap();
    let files = vec![
        master.into(),
        terminal.try_clone().unwrap().into(),
        reader.into(),
        socket.into(),
    ];
    (files, (terminal, writer, peer))
}

#[test]
fn a_child_that_drops_the_loop_leaves_the_files_of_its_parent_alone() {
    in_own_process(this_test!(), fork_and_drop);
}

fn fork_and_drop() {
    on_every_backend(|backend| {
        let (files, _others) = files();
        let before: Vec<OFlag> = files.iter().map(status_flags).collect();
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        for file in &files {
            let channel = FileDispatcher::new(file, Probe::silent()).unwrap();
            event_loop.add(channel).unwrap();
        }
        settle(&mut event_loop);
        let during: Vec<OFlag> = files.iter().map(status_flags).collect();
        let mut event_loop = Some(event_loop);
        in_a_child(|| drop(event_loop.take()));
        let after: Vec<OFlag> = files.iter().map(status_flags).collect();
        assert_eq!(after, during, "the child changed something");
        drop(event_loop);
        let afterwards: Vec<OFlag> = files.iter().map(status_flags).collect();
        assert_eq!(afterwards, before, "the parent did not put it back");
    });

    // The same with wrappers, which must not block in the parent either.
    let (files, _others) = files();
    for file in &files {
        let before = status_flags(file);
        let mut wrapper = Some(FileWrapper::new(file).unwrap());
        in_a_child(|| wrapper.take().unwrap().close().unwrap());
        let mut wrapper = wrapper.unwrap();
        let wrapper = at_once(move || {
            let error = wrapper.read(&mut [0; 16]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            wrapper
        });
        drop(wrapper);
        assert_eq!(status_flags(file), before);
    }
}
