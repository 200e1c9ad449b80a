//! Fairness: no task, descriptor or channel starves.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use fdloop::{Async, Dispatcher, Handler, Io, Result, Socket};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::common::with_every_loop;
use crate::yield_now;

#[test]
fn a_task_that_wakes_itself_does_not_keep_descriptors_waiting() {
    with_every_loop(|event_loop| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let handle = event_loop.handle();
        let spinning = event_loop.spawn_background(async {
            loop {
                yield_now().await;
            }
        });
        event_loop
            .block_on(async {
                let mut ours = Async::new(&handle, ours).unwrap();
                ours.readable().await.unwrap();
                ours.read_exact(&mut [0]).await.unwrap();
            })
            .unwrap();
        drop(spinning);
    });
}

#[test]
fn a_channel_that_is_always_ready_does_not_keep_tasks_waiting() {
    struct Busy;
    impl Handler for Busy {
        fn writable(&self, _: &fdloop::View<'_>) -> bool {
            true
        }
    }
    with_every_loop(|event_loop| {
        let (ours, _theirs) = Socket::pair().unwrap();
        event_loop
            .add(Dispatcher::new(ours, Busy).unwrap())
            .unwrap();
        event_loop
            .block_on(async {
                for _ in 0..1_000 {
                    yield_now().await;
                }
            })
            .unwrap();
    });
}

#[test]
fn a_task_whose_descriptors_never_block_lets_other_tasks_and_channels_run() {
    struct Flag(Rc<Cell<bool>>);
    impl Handler for Flag {
        fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
            io.recv(&mut [0]).map(drop)
        }
        fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
            self.0.set(true);
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let flag = Rc::new(Cell::new(false));
        let (ours, theirs) = Socket::pair().unwrap();
        let channel = Dispatcher::new(ours, Flag(Rc::clone(&flag))).unwrap();
        event_loop.add(channel).unwrap();
        drop(theirs);
        let polled = Rc::new(Cell::new(false));
        let other = Rc::clone(&polled);
        event_loop
            .block_on(async {
                let firehose = std::fs::File::open("/dev/zero").unwrap();
                let sink = std::fs::OpenOptions::new()
                    .write(true)
                    .open("/dev/null")
                    .unwrap();
                let mut firehose = Async::new(&handle, firehose).unwrap();
                let mut sink = Async::new(&handle, sink).unwrap();
                let task = handle.spawn(async move { other.set(true) });
                let mut buf = [0; 64];
                while !(polled.get() && flag.get()) {
                    firehose.read_exact(&mut buf).await.unwrap();
                    sink.write_all(&buf).await.unwrap();
                }
                task.await;
            })
            .unwrap();
    });
}
