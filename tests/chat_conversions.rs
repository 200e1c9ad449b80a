//! What may be pushed, and what may be a terminator.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod chat_support;
mod common;

use std::borrow::Cow;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;

use chat_support::{Recorder, chat};
use common::{turn_once, turn_until_empty, with_every_loop};
use fdloop::Terminator;

#[test]
fn bytes_and_text_owned_and_borrowed_can_be_pushed() {
    with_every_loop(|event_loop| {
        let (id, mut peer) = chat(event_loop, Recorder::silent(), "\n");
        let (text, bytes) = (String::from("a &String, "), b"a &Vec<u8>, ".to_vec());
        let shared = Arc::<[u8]>::from(&b"an &Arc<[u8]>."[..]);
        let chat = event_loop.get_mut(id).unwrap();
        chat.push("a &str, ").unwrap();
        chat.push(b"a &[u8; N], ").unwrap();
        chat.push(&b"a &[u8], "[..]).unwrap();
        chat.push(String::from("a String, ")).unwrap();
        chat.push(&text).unwrap();
        chat.push(b"a Vec<u8>, ".to_vec()).unwrap();
        chat.push(&bytes).unwrap();
        chat.push(Box::<[u8]>::from(&b"a Box<[u8]>, "[..])).unwrap();
        chat.push(Cow::from(&b"a Cow<[u8]>, "[..])).unwrap();
        chat.push(*b"a [u8; N], ").unwrap();
        chat.push(Box::<str>::from("a Box<str>, ")).unwrap();
        chat.push(Cow::from("a Cow<str>, ")).unwrap();
        chat.push(Cow::from(String::from("an owned one, ")))
            .unwrap();
        chat.push(Rc::<[u8]>::from(&b"an Rc<[u8]>, "[..])).unwrap();
        chat.push(Arc::<[u8]>::from(&b"an Arc<[u8]>, "[..]))
            .unwrap();
        chat.push(Rc::<str>::from("an Rc<str>, ")).unwrap();
        chat.push(&shared).unwrap();
        chat.close_when_done();
        let heard = String::from_utf8(peer.hear_to_end(event_loop)).unwrap();
        assert_eq!(
            heard,
            "a &str, a &[u8; N], a &[u8], a String, a &String, a Vec<u8>, a &Vec<u8>, \
             a Box<[u8]>, a Cow<[u8]>, a [u8; N], a Box<str>, a Cow<str>, an owned one, \
             an Rc<[u8]>, an Arc<[u8]>, an Rc<str>, an &Arc<[u8]>."
        );
    });
}

#[test]
fn a_count_may_be_a_number_of_any_type() {
    let five = Terminator::count(5);
    for same in [
        Terminator::from(5),
        5_u16.into(),
        5_u32.into(),
        5_u64.into(),
        5_usize.into(),
        5_i32.into(),
        5_i64.into(),
        5_isize.into(),
        Some(5).into(),
    ] {
        assert_eq!(same, five);
    }
    assert_eq!(Terminator::from(*b"five"), Terminator::bytes("five"));
    assert_eq!(Terminator::from(0).as_count(), Some(0));
    assert_ne!(Terminator::from(0), Terminator::none());
    with_every_loop(|event_loop| {
        let (recorder, records) = Recorder::new();
        let recorder = recorder.on_found(|io, piece| {
            io.set_terminator(piece.len() + 1);
            Ok(())
        });
        let (id, mut peer) = chat(event_loop, recorder, 1);
        peer.say("abbccc");
        turn_once(event_loop);
        assert_eq!(records.pieces(), ["a", "bb", "ccc"]);
        event_loop.close(id).unwrap();
    });
}

#[test]
fn a_negative_count_ends_the_chat_and_says_why() {
    with_every_loop(|event_loop| {
        for from_outside in [false, true] {
            let (recorder, records) = Recorder::new();
            let recorder = recorder
                .on_found(|io, _| {
                    io.set_terminator(-1);
                    Ok(())
                })
                .on_close(|io| {
                    let reason = io.reason().unwrap();
                    assert_eq!(reason.kind(), ErrorKind::InvalidInput);
                    assert!(reason.to_string().starts_with("a piece of -1 bytes"));
                    Ok(())
                });
            let (id, mut peer) = chat(event_loop, recorder, "\n");
            if from_outside {
                event_loop.get_mut(id).unwrap().set_terminator(-1_i64);
            } else {
                peer.say("-1\nnever heard\n");
            }
            turn_until_empty(event_loop);
            let events = [&["\"-1\""][usize::from(from_outside)..], &["close"]].concat();
            assert_eq!(records.events(), events);
        }
    });
}
