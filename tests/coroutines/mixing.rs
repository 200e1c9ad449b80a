//! Channels and coroutines that feed each other; signals and children.

use std::cell::Cell;
use std::future::Future;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use fdloop::{
    AsyncChat, ChatHandler, ChatIo, Dispatcher, Handler, Io, QueueSender, Result, View, queue,
    unbounded_queue,
};

use crate::common::{pattern, with_every_loop};
use crate::yield_now;

/// Feeds a queue, and notes how many values it held at most.
struct Feeder {
    queue: QueueSender<Vec<u8>>,
    refused: Rc<Cell<u32>>,
}

impl Handler for Feeder {
    fn readable(&self, _: &View<'_>) -> bool {
        !self.queue.is_full()
    }

    fn writable(&self, _: &View<'_>) -> bool {
        false
    }

    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 1_000];
        let n = io.recv(&mut buf)?;
        if n > 0 && self.queue.push(buf[..n].to_vec()).is_err() {
            self.refused.set(self.refused.get() + 1);
        }
        Ok(())
    }
}

#[test]
fn a_full_queue_makes_the_peer_of_the_channel_wait_and_loses_nothing() {
    with_every_loop(|event_loop| {
        let data = pattern(2 << 20);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let output = data.clone();
        let writer = std::thread::spawn(move || theirs.write_all(&output).unwrap());
        let (queue, mut receiver) = queue(3);
        let refused = Rc::new(Cell::new(0));
        let feeder = Feeder {
            queue,
            refused: Rc::clone(&refused),
        };
        event_loop
            .add(Dispatcher::new(ours, feeder).unwrap())
            .unwrap();
        let received = event_loop.block_on(async move {
            let mut received = Vec::new();
            while let Some(piece) = receiver.next().await {
                received.extend(piece);
                if received.len() % 3 == 0 {
                    yield_now().await;
                }
            }
            received
        });
        assert!(received.unwrap() == data);
        assert_eq!(refused.get(), 0);
        writer.join().unwrap();
    });
}

#[test]
fn senders_wait_for_room_and_end_with_the_receiver() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        event_loop
            .block_on(async {
                let (sender, mut receiver) = queue(1);
                let tasks: Vec<_> = (0..3)
                    .map(|number| {
                        let sender = sender.clone();
                        handle.spawn(async move { sender.send(number).await })
                    })
                    .collect();
                yield_now().await;
                yield_now().await;
                assert!(sender.is_full() && sender.push(9) == Err(9));
                assert_eq!(receiver.next().await, Some(0));
                assert_eq!(receiver.next().await, Some(1));
                drop(receiver);
                let mut results = Vec::new();
                for task in tasks {
                    results.push(task.await);
                }
                // The third value is in a queue without a reader, or is returned.
                assert_eq!(results[..2], [Ok(()), Ok(())]);
                assert!(sender.is_closed() && sender.send(7).await == Err(7));
            })
            .unwrap();
    });
}

#[test]
fn a_sender_that_is_polled_again_and_again_is_woken_once() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (sender, mut receiver) = queue(1);
    sender.push(1).unwrap();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mut sends = pin!(sender.send(2));
    for round in 1..=3 {
        for _ in 0..100 {
            assert!(sends.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(Arc::strong_count(&count), 3);
        assert!(receiver.try_next().is_some());
        assert_eq!(count.0.load(Ordering::SeqCst), round);
        // Another sender is faster.
        sender.push(1).unwrap();
    }
    receiver.try_next();
    assert_eq!(sends.poll(&mut cx), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_next(), Some(2));
}

#[test]
fn an_unbounded_queue_ends_after_its_last_sender() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        event_loop
            .block_on(async {
                let (sender, mut receiver) = unbounded_queue();
                let other = sender.clone();
                let task = handle.spawn(async move {
                    for number in 0..1_000 {
                        other.push(number).unwrap();
                    }
                });
                drop(sender);
                task.await;
                let mut sum = 0;
                while let Some(number) = receiver.next().await {
                    sum += number;
                }
                assert_eq!(sum, 499_500);
            })
            .unwrap();
    });
}

#[test]
fn a_coroutine_pushes_to_a_chat() {
    struct Silent;
    impl ChatHandler for Silent {
        fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
            Ok(())
        }
    }
    with_every_loop(|event_loop| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let chat = AsyncChat::new(ours, Silent).unwrap();
        let id = event_loop.add(chat).unwrap();
        let handle = event_loop.handle();
        let task = event_loop.spawn(async move {
            for line in ["one\n", "two\n"] {
                yield_now().await;
                let pushed =
                    handle.with(|event_loop| event_loop.with(id, |chat, _| chat.push(line)));
                pushed.unwrap().unwrap();
            }
            handle
                .with(|event_loop| {
                    event_loop.with(id, |chat, _| {
                        chat.close_when_done();
                        Ok(())
                    })
                })
                .unwrap()
                .unwrap();
        });
        event_loop.run().unwrap();
        assert!(task.is_finished());
        assert_eq!(std::io::read_to_string(theirs).unwrap(), "one\ntwo\n");
    });
}

#[cfg(feature = "children")]
#[test]
fn coroutines_wait_for_children_side_by_side() {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let codes = event_loop.block_on(async {
            let tasks: Vec<_> = (0..8)
                .map(|code| {
                    let script = format!("exit {code}");
                    let child = std::process::Command::new("sh")
                        .args(["-c", &script])
                        .spawn();
                    let waiter = handle.clone();
                    handle.spawn(async move { waiter.child_exit(child.unwrap()).await })
                })
                .collect();
            let mut codes = Vec::new();
            for task in tasks {
                codes.push(task.await.unwrap().code().unwrap());
            }
            codes
        });
        assert_eq!(codes.unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    });
}
