//! Whatever the input, its terminators and the chunks it arrives in: the pieces of
//! a chat are those of a split of the whole.
//!
//! ```text
//! cargo install cargo-fuzz
//! cargo +nightly fuzz run chat_pieces
//! ```
#![no_main]

#[path = "../../tests/common/chat/model.rs"]
mod model;

use std::cell::RefCell;

use fdloop::{EventLoop, Terminator};
use libfuzzer_sys::fuzz_target;
use model::Case;

/// How long the input of a case may be: far longer than its terminators, and the
/// socket takes it at once.
const LONGEST: usize = 4096;

thread_local! {
    static EVENT_LOOP: RefCell<EventLoop> =
        RefCell::new(EventLoop::new().expect("a loop can be made"));
}

fuzz_target!(|data: &[u8]| {
    let Some(case) = case(&mut { data }) else {
        return;
    };
    let heard = EVENT_LOOP.with_borrow_mut(|event_loop| case.heard(event_loop));
    let heard = heard.expect("sockets can be made");
    assert_eq!(heard, case.expected(), "{case:?}");
});

/// Reads a case from what the fuzzer made up; `None` if that is too short or too
/// long for one.
fn case(data: &mut &[u8]) -> Option<Case> {
    if data.len() > LONGEST {
        return None;
    }
    let in_buffer_size = 1 + usize::from(byte(data)?);
    let count = 1 + byte(data)? % 4;
    let terminators = (0..count)
        .map(|_| terminator(data))
        .collect::<Option<_>>()?;
    let mut input = vec![(Some(terminator(data)?), bytes(data)?)];
    while !data.is_empty() {
        // One chunk in four comes with a change of the terminator.
        let change = match byte(data)? % 4 {
            0 => Some(terminator(data)?),
            _ => None,
        };
        input.push((change, bytes(data)?));
    }
    input.retain(|(_, data)| !data.is_empty());
    Some(Case {
        input,
        terminators,
        in_buffer_size,
    })
}

fn terminator(data: &mut &[u8]) -> Option<Terminator> {
    match byte(data)? % 8 {
        0 => Some(Terminator::none()),
        1 => Some(Terminator::count(byte(data)?.into())),
        _ => bytes(data).map(Terminator::bytes),
    }
}

/// Takes a length of one byte, and as many bytes.
fn bytes(data: &mut &[u8]) -> Option<Vec<u8>> {
    let len = usize::from(byte(data)?);
    let (bytes, rest) = data.split_at(len.min(data.len()));
    *data = rest;
    Some(bytes.to_vec())
}

fn byte(data: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = data.split_first()?;
    *data = rest;
    Some(*byte)
}
