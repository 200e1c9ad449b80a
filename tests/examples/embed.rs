//! The example `embed`: the loop inside another one.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use crate::common::PATIENCE;
use crate::common::programs::{Program, example};

#[test]
fn both_loops_go_on() {
    let mut command = Command::new(example("embed"));
    command.arg("127.0.0.1:0");
    let mut program = Program::start("embed", command);
    let address = program.address();
    let mut streams: Vec<_> = (0..3)
        .map(|_| {
            let stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
        .collect();
    for round in 0..3 {
        for stream in &mut streams {
            // More than a socket holds, so that the server waits to write as well.
            let data = vec![b'a' + round; 3 << 20];
            let mut writer = stream.try_clone().unwrap();
            let sent = data.clone();
            let thread = std::thread::spawn(move || writer.write_all(&sent));
            let mut heard = vec![0; data.len()];
            stream.read_exact(&mut heard).unwrap();
            thread.join().unwrap().unwrap();
            assert!(heard == data);
        }
        program.tell("count");
        assert_eq!(program.line(), "3 connections");
    }
    let mut last = streams.pop().unwrap();
    last.shutdown(Shutdown::Write).unwrap();
    assert_eq!(last.read_to_end(&mut Vec::new()).unwrap(), 0);
    program.tell("count");
    assert_eq!(program.line(), "2 connections");
    program.tell("quit");
    program.succeed();
}
