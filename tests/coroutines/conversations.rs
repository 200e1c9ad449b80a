//! A protocol as one function: `Conversation`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use fdloop::{Conversation, Error, Handle, Part};
use futures_lite::future;

use crate::common::{pattern, with_every_loop};
use crate::yield_now;

/// Runs a test with a conversation and its peer, on every backend.
#[track_caller]
fn converse(test: impl AsyncFn(Handle, Conversation, UnixStream)) {
    with_every_loop(|event_loop| {
        let handle = event_loop.handle();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let clone = handle.clone();
        let future = async {
            let chat = Conversation::new(&clone, ours).unwrap();
            test(clone, chat, theirs).await;
        };
        event_loop.block_on(future).unwrap();
        event_loop.run().unwrap();
        assert!(event_loop.is_empty(), "the chat is left");
    });
}

#[test]
fn pieces_are_found_whatever_the_chunks_and_terminators_may_change() {
    converse(async |handle, mut chat, mut theirs| {
        let input = b"one\r\n\r\n5 bytestail\0end";
        let writer = handle.spawn(async move {
            for byte in input {
                theirs.write_all(&[*byte]).unwrap();
                yield_now().await;
            }
        });
        assert_eq!(chat.read_until("\r\n").await.unwrap().unwrap(), b"one");
        assert_eq!(chat.read_until("\r\n").await.unwrap().unwrap(), b"");
        assert_eq!(chat.read_exact(0).await.unwrap(), b"");
        assert_eq!(chat.read_exact(7).await.unwrap(), b"5 bytes");
        assert_eq!(chat.read_until("\0").await.unwrap().unwrap(), b"tail");
        let error = chat.read_until("\n").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(chat.take_input(), b"end");
        assert_eq!(chat.read_until("\n").await.unwrap(), None);
        let error = chat.read_exact(1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        writer.await;
    });
}

#[test]
fn pipelined_pieces_wait_until_they_are_asked_for() {
    converse(async |_, mut chat, mut theirs| {
        theirs.write_all(b"DATA\r\nbody\r\n.\r\nQUIT\r\n").unwrap();
        assert_eq!(chat.read_until("\r\n").await.unwrap().unwrap(), b"DATA");
        assert_eq!(
            chat.read_until("\r\n.\r\n").await.unwrap().unwrap(),
            b"body"
        );
        assert_eq!(chat.read_until("\r\n").await.unwrap().unwrap(), b"QUIT");
    });
}

#[test]
fn a_read_that_is_dropped_halfway_loses_no_input() {
    converse(async |_, mut chat, mut theirs| {
        for piece in ["fir", "st\nsec", "ond\n"] {
            theirs.write_all(piece.as_bytes()).unwrap();
            assert!(future::poll_once(chat.read_exact(100)).await.is_none());
            yield_now().await;
            yield_now().await;
        }
        assert_eq!(chat.read_until("\n").await.unwrap().unwrap(), b"first");
        assert_eq!(chat.read_until("\n").await.unwrap().unwrap(), b"second");
    });
}

#[test]
fn a_piece_that_is_too_long_is_an_error_and_can_be_read_in_parts() {
    converse(async |handle, mut chat, mut theirs| {
        let long = pattern(300_000)
            .iter()
            .map(|byte| byte | 0x80)
            .collect::<Vec<_>>();
        let output = long.clone();
        let writer = std::thread::spawn(move || {
            theirs.write_all(&output).unwrap();
            theirs.write_all(b"\r\nnext\r\n").unwrap();
        });
        chat.set_limit(1_000);
        let error = chat.read_until("\r\n").await.unwrap_err();
        assert!(matches!(error, Error::LineTooLong(1_000)), "{error}");
        let mut piece = Vec::new();
        loop {
            let Part { data, is_last } = chat.read_part("\r\n").await.unwrap().unwrap();
            piece.extend(data);
            if is_last {
                break;
            }
        }
        assert!(piece == long);
        assert_eq!(chat.read_until("\r\n").await.unwrap().unwrap(), b"next");
        writer.join().unwrap();
        drop(handle);
    });
}

#[test]
fn a_piece_that_is_too_long_is_found_again_with_what_follows_it() {
    converse(async |_, mut chat, mut theirs| {
        theirs.write_all(b"far too long\r\nnext\r\n").unwrap();
        chat.set_limit(5);
        for _ in 0..2 {
            let error = chat.read_until("\r\n").await.unwrap_err();
            assert!(matches!(error, Error::LineTooLong(5)), "{error}");
        }
        let part = chat.read_part("\r\n").await.unwrap().unwrap();
        assert_eq!((&part.data[..], part.is_last), (&b"far too long"[..], true));
        assert_eq!(chat.read_until("\r\n").await.unwrap().unwrap(), b"next");
    });
}

#[test]
fn pushes_leave_together_and_flush_waits_for_a_slow_reader() {
    converse(async |handle, mut chat, mut theirs| {
        for word in ["a ", "few ", "words"] {
            chat.push(word).unwrap();
        }
        chat.flush().await.unwrap();
        let mut buf = [0; 64];
        let n = theirs.read(&mut buf).unwrap();
        assert_eq!(&buf[..n], b"a few words");

        let data = pattern(4 << 20);
        chat.push(data.clone()).unwrap();
        let flush = handle.spawn(async move {
            chat.flush().await.unwrap();
            chat
        });
        yield_now().await;
        yield_now().await;
        assert!(!flush.is_finished());
        let reader = std::thread::spawn(move || {
            let mut received = vec![0; 4 << 20];
            theirs.read_exact(&mut received).unwrap();
            received
        });
        let _chat = flush.await;
        assert!(reader.join().unwrap() == data);
    });
}

#[test]
fn what_was_pushed_before_it_is_dropped_is_sent() {
    converse(async |_, mut chat, mut theirs| {
        chat.push("goodbye").unwrap();
        drop(chat);
        yield_now().await;
        yield_now().await;
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, "goodbye");
    });
}

#[test]
fn a_peer_that_sends_more_than_is_read_waits() {
    converse(async |_, chat, mut theirs| {
        theirs.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let mut stalled = 0;
        while stalled < 10 {
            match theirs.write(&[0; 65536]) {
                Ok(n) => (sent, stalled) = (sent + n, 0),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    stalled += 1;
                    yield_now().await;
                }
            }
            assert!(sent < 64 << 20, "it takes everything");
        }
        drop(chat);
    });
}

#[test]
fn misuse_and_lost_connections_are_errors() {
    converse(async |handle, mut chat, theirs| {
        let error = chat.read_until("").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        drop(theirs);
        chat.push("nobody reads this").unwrap();
        assert!(!matches!(chat.read_until("\n").await, Ok(Some(_))));
        let mut tries = 0;
        while chat.push("x").is_ok() && tries < 100 {
            tries += 1;
            yield_now().await;
        }
        assert!(tries < 100, "it is never found out");
        handle.with(|_| ()).unwrap();
    });
}
