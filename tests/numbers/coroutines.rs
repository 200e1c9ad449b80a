//! Cancelled and dropped coroutines leave no descriptor open, and numbers are used again.

use std::future::pending;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fdloop::{Async, EventLoop, Handle, Socket};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::alone;
use crate::common::with_every_loop;
use crate::leaks::{nothing_leaks, open_descriptors};

/// The states in which a task that owns descriptors may be cancelled.
async fn reach(state: u32, handle: &Handle, sockets: (Socket, Socket)) {
    let (one, two) = sockets;
    if state == 0 {
        return pending().await;
    }
    let (mut one, mut two) = (
        Async::new(handle, one).unwrap(),
        Async::new(handle, two).unwrap(),
    );
    match state {
        1 => drop(one.read(&mut [0]).await),
        2 => drop(one.readable().await),
        3 => drop(one.write_all(&vec![0; 8 << 20]).await),
        4 => drop(two.writable().await),
        5 => handle.sleep(Duration::from_secs(3600)).await,
        6 => {
            let listener = handle.listen("127.0.0.1:0").unwrap();
            drop(listener.accept().await);
        }
        _ => {
            let inner = handle.spawn(async move { two.read(&mut [0]).await });
            drop(inner.await);
        }
    }
}

#[test]
fn a_task_that_is_cancelled_in_any_state_closes_its_descriptors() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        let before = open_descriptors();
        for state in 0..=7 {
            for polls in 0..3 {
                let (sockets, inner) = (Socket::pair().unwrap(), handle.clone());
                let task = event_loop.spawn(async move { reach(state, &inner, sockets).await });
                for _ in 0..polls {
                    event_loop.turn(Some(Duration::ZERO)).unwrap();
                }
                drop(task);
                event_loop.turn(Some(Duration::ZERO)).unwrap();
                event_loop.turn(Some(Duration::ZERO)).unwrap();
                assert_eq!(
                    open_descriptors(),
                    before,
                    "state {state} after {polls} polls"
                );
                assert!(event_loop.is_empty());
            }
        }
    });
}

#[test]
fn a_loop_that_is_dropped_with_its_tasks_closes_their_descriptors() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        for state in 0..=7 {
            let (sockets, inner) = (Socket::pair().unwrap(), handle.clone());
            let task = event_loop.spawn(async move { reach(state, &inner, sockets).await });
            task.detach();
        }
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    });
}

#[test]
fn a_descriptor_that_other_code_has_closed_fails_its_task_and_closes_no_other() {
    nothing_leaks(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let handle = event_loop.handle();
        let (ours, _theirs) = Socket::pair().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&ours);
        let task = event_loop.spawn(async move {
            let mut ours = Async::new(&handle, ours).unwrap();
            ours.read(&mut [0]).await.unwrap_err().kind()
        });
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        nix::unistd::close(number).unwrap();
        let kind = event_loop.block_on(task).unwrap();
        assert_eq!(kind, ErrorKind::NotConnected);
    });
}

#[test]
fn a_descriptor_can_leave_the_loop_and_another_can_use_its_number_at_once() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let used = event_loop.block_on(async move {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let [one, mut two] = [ours, theirs].map(|end| Async::new(&handle, end).unwrap());
            let mut socket = one.into_inner();
            socket.write_all(b"out of the loop").unwrap();
            two.read_exact(&mut [0; 15]).await.unwrap();
            let mut one = Async::new(&handle, socket).unwrap();
            let number = one.as_raw_fd();
            AsyncWriteExt::write_all(&mut one, b"x").await.unwrap();
            two.read_exact(&mut [0]).await.unwrap();
            drop(one);
            let again = Async::new(&handle, UnixStream::pair().unwrap().0).unwrap();
            assert_eq!(again.as_raw_fd(), number, "the lowest free one");
        });
        used.unwrap();
    });
}
