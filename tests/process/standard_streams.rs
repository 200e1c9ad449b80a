//! Channels over the standard streams. No test of this binary
//! uses these otherwise: they are the whole process's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::common::{Probe, fd_flags, settle, with_every_loop};
use fdloop::FileDispatcher;

#[test]
fn a_channel_over_a_standard_stream_leaves_it_as_it_was() {
    let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
    let streams: [BorrowedFd<'_>; 3] = [input.as_fd(), output.as_fd(), errors.as_fd()];
    let before = streams.map(fd_flags);
    with_every_loop(|event_loop| {
        for stream in streams {
            let (probe, seen) = Probe::new();
            seen.wants_read.set(false);
            let id = event_loop
                .add(FileDispatcher::new(stream, probe).unwrap())
                .unwrap();
            assert!(id.fd() > 2, "a duplicate");
            settle(event_loop);
            assert!(seen.events().is_empty());
        }
        event_loop.close_all(false).unwrap();
        assert_eq!(streams.map(fd_flags), before);
    });
}
