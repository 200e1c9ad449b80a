//! The types that can be pushed, and those that can be a terminator.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use crate::common::chat::{Recorder, chat};
use crate::common::{turn_once, with_every_loop};
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
fn a_count_is_a_usize_and_so_is_a_literal() {
    let five = Terminator::count(5);
    for same in [Terminator::from(5), 5_usize.into(), Some(5).into()] {
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
fn a_terminator_can_be_sent_to_and_shared_with_another_thread() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Terminator>();
    let terminator = Terminator::from("\r\n");
    let copy = terminator.clone();
    let sent = std::thread::spawn(move || copy).join().unwrap();
    assert_eq!(sent, terminator);
}
