//! Tasks that are cancelled in any state free their memory. Runs in a process of its own,
//! whose peak of memory it reads.

use std::future::pending;
use std::time::Duration;

use crate::chat_memory::peak_memory;
use crate::common::{in_own_process, this_test};
use fdloop::{Async, Backend, Conversation, EventLoop, Handle, Socket, queue};
use futures_lite::{AsyncReadExt, FutureExt};

/// The memory that each task owns.
const OWNED: usize = 4096;

#[test]
fn tasks_that_are_cancelled_in_any_state_leave_no_memory() {
    in_own_process(this_test!(), || {
        for &backend in Backend::ALL {
            cancel_many(backend, 2_000);
            let before = peak_memory();
            // Twenty megabytes if a tenth of a task remained.
            cancel_many(backend, 50_000);
            if let (Some(before), Some(after)) = (before, peak_memory()) {
                let grown = after - before;
                assert!(grown < 2 << 10, "{backend}: {grown} KiB");
            }
        }
    });
}

fn cancel_many(backend: Backend, tasks: usize) {
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let handle = event_loop.handle();
    let (ours, theirs) = Socket::pair().unwrap();
    let shared = handle.clone();
    let stream = event_loop.block_on(async move { Async::new(&shared, ours).unwrap() });
    let stream = std::rc::Rc::new(stream.unwrap());
    for number in 0..tasks {
        let (inner, stream) = (handle.clone(), std::rc::Rc::clone(&stream));
        let task = event_loop.spawn(async move {
            let owned = vec![1_u8; OWNED];
            reach(number % 7, &inner, &stream).await;
            drop(owned);
        });
        if number % 2 == 0 {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        drop(task);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
    drop(theirs);
}

/// Waits in one of several states.
async fn reach(state: usize, handle: &Handle, stream: &Async<Socket>) {
    let hour = Duration::from_secs(3600);
    match state {
        0 => pending().await,
        1 => handle.sleep(hour).await,
        2 => drop(stream.readable().await),
        3 => {
            let mut stream = stream;
            drop(stream.read(&mut [0]).await);
        }
        4 => {
            let (sender, mut receiver) = queue::<u8>(1);
            let _ = receiver
                .next()
                .or(async { Some(u8::from(sender.is_full())) })
                .await;
            pending().await
        }
        5 => {
            let inner = handle.clone();
            handle.spawn(async move { inner.sleep(hour).await }).await;
        }
        _ => {
            let (ours, _theirs) = Socket::pair().unwrap();
            let mut chat = Conversation::new(handle, ours).unwrap();
            drop(chat.read_until("\n").await);
        }
    }
}
