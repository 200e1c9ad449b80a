//! A loop at work starts no thread, and leaves the process's signals alone. Runs
//! in a process of its own, so that no other test does either meanwhile.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::{in_own_process, this_test, turn_until_empty, with_every_loop};
use fdloop::{Address, Dispatcher, DispatcherWithSend, EventLoop, Handler, Io, Result, Socket};

/// What the kernel says of the process's threads, and of the signals of this one. (The main
/// thread blocks signals for a moment while it starts another.)
fn threads_and_signals() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let names = ["Threads:", "SigBlk:", "SigIgn:", "SigCgt:"];
    let of_interest = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let lines: Vec<_> = status
        .lines()
        .filter(of_interest)
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), names.len(), "{status}");
    lines
}

struct Echo;

impl Handler for Echo {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 64];
        let n = io.recv(&mut buf)?;
        io.send(&buf[..n]).map(drop)
    }
}

/// Serves one client.
struct Server;

impl Handler for Server {
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        io.event_loop()
            .add(DispatcherWithSend::new(socket, Echo)?)?;
        io.close();
        Ok(())
    }
}

fn serve_one(event_loop: &mut EventLoop) {
    let server = Dispatcher::listen("localhost:0", Server).unwrap();
    let port = server.local_addr().unwrap().port().unwrap();
    event_loop.add(server).unwrap();
    let mut client = TcpStream::connect(("localhost", port)).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    turn_until_empty(event_loop);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello");
}

#[test]
fn a_loop_starts_no_thread_and_leaves_signals_alone() {
    in_own_process(this_test!(), compare_threads_and_signals);
}

fn compare_threads_and_signals() {
    let before = threads_and_signals();
    with_every_loop(|event_loop| {
        serve_one(event_loop);
        assert_eq!(threads_and_signals(), before);
    });
    assert_eq!(threads_and_signals(), before);
}
