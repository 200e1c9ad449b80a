//! The number of system calls for a thousand small pushes over a real socket. The
//! system is asked, by way of strace; where that cannot be had, nothing is shown
//! here.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use crate::common::{PATIENCE, this_test, traced_on_every_backend};
use fdloop::{AsyncChat, Backend, ChatHandler, ChatIo, EventLoop, Result};

const PUSHES: usize = 1_000;

/// So that its calls can be told from others in a trace.
const LINE: &str = "a line that stands in the trace\r\n";

struct Quiet;

impl ChatHandler for Quiet {
    fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {
        Ok(())
    }
}

/// Sends a thousand lines to itself.
fn push(backend: Backend) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    let mut event_loop = EventLoop::with_backend(backend).unwrap();
    let id = event_loop
        .add(AsyncChat::new(ours, Quiet).unwrap())
        .unwrap();
    let chat = event_loop.get_mut(id).unwrap();
    for _ in 0..PUSHES {
        chat.push(LINE).unwrap();
    }
    chat.close_when_done();
    // They leave before the wait, and the close comes with it.
    while !event_loop.is_empty() {
        event_loop.turn(Some(PATIENCE)).unwrap();
    }
    let mut received = String::new();
    theirs.read_to_string(&mut received).unwrap();
    assert!(received == LINE.repeat(PUSHES));
}

#[test]
fn a_thousand_small_pushes_make_at_most_four_system_calls() {
    let calls = "write,writev,pwritev,sendto,sendmsg,sendmmsg";
    traced_on_every_backend(this_test!(), calls, push, |trace| {
        // A trace shows the beginning of what is written: nearly a line, wherever
        // it begins, and so one of these words.
        let is_ours = |call: &&str| call.contains("line") || call.contains("trace");
        let writes = trace.lines().filter(is_ours).count();
        assert!((1..=4).contains(&writes), "{writes} calls: {trace}");
    });
}
