//! The number of system calls of coroutines: a message takes a send, a wait and a receive, and a
//! wake takes none.

use crate::common::{this_test, traced_on_every_backend};
use fdloop::{Async, Backend, EventLoop, Socket};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

const ROUNDS: usize = 500;

/// Larger than a message, as a server's buffer is.
const BUFFER: usize = 1024;

const MESSAGE: &[u8] = b"a message of 26 characters";

/// Two tasks send a message to and fro, and wake each other through their descriptors; a third wakes
/// the first.
fn play(backend: Backend) {
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let handle = event_loop.handle();
    let (one, two) = Socket::pair().unwrap();
    event_loop
        .block_on(async {
            let (mut one, mut two) = (Async::new(&handle, one)?, Async::new(&handle, two)?);
            let echo = handle.spawn(async move {
                let mut buf = [0; BUFFER];
                while let Ok(n @ 1..) = two.read(&mut buf).await {
                    two.write_all(&buf[..n]).await.unwrap();
                }
            });
            let mut buf = [0; BUFFER];
            for _ in 0..ROUNDS {
                one.write_all(MESSAGE).await?;
                assert_eq!(one.read(&mut buf).await?, MESSAGE.len());
                handle.spawn(async {}).await;
            }
            drop(one);
            echo.await;
            Ok::<_, fdloop::Error>(())
        })
        .unwrap()
        .unwrap();
}

#[test]
fn a_message_between_coroutines_takes_three_system_calls_and_a_wake_none() {
    // Not every system has all of these.
    let calls = "sendto,recvfrom,read,write,?select,?pselect6,?poll,?ppoll,?epoll_wait,?epoll_pwait,\
                 ?epoll_pwait2,?epoll_ctl";
    traced_on_every_backend(this_test!(), calls, play, |trace| {
        let count = |name: &str| trace.lines().filter(|call| call.contains(name)).count();
        let messages = 2 * ROUNDS;
        for name in ["sendto(", "recvfrom("] {
            let calls = count(name);
            assert!((messages..messages + 10).contains(&calls), "{calls} {name}");
        }
        // The descriptor that wakes the loop, and the test's own output.
        assert!(count("write(") < 20, "{} writes", count("write("));
        // A task that is woken by another one is polled in a pass of its own.
        let waits = count("poll(") + count("select") + count("epoll_");
        assert!(waits <= 3 * ROUNDS + 20, "{waits} waits");
    });
}
