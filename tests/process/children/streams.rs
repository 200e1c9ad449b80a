//! The standard streams of children.

use std::process::{Command, Stdio};

use super::ways::in_each_way;
use super::{End, Exits};
use crate::common::{pattern, this_test, with_every_loop};
use fdloop::{FileDispatcher, Handler, Io, Result};

#[test]
fn streams_that_were_not_taken_block_no_child() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            // It reads to the end of its input.
            let mut reader = Command::new("cat");
            reader.stdin(Stdio::piped()).stdout(Stdio::null());
            // It writes more than a pipe holds.
            let mut writer = Command::new("yes");
            writer
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            for (name, mut command) in [("cat", reader), ("yes", writer)] {
                let child = command.spawn().unwrap();
                event_loop
                    .on_child_exit(child, exits.recorder(name))
                    .unwrap();
            }
            event_loop.run().unwrap();
            exits.check(&[("cat", End::Code(0)), ("yes", End::Signal(libc::SIGPIPE))]);
        });
    });
}

struct Input;
impl Handler for Input {}

struct Output(Vec<u8>);
impl Handler for Output {
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        let mut buf = [0; 4096];
        let n = io.recv(&mut buf)?;
        self.0.extend_from_slice(&buf[..n]);
        Ok(())
    }
}

#[test]
fn a_filter_gets_all_its_input_and_all_its_output_arrives() {
    in_each_way(this_test!(), || {
        with_every_loop(|event_loop| {
            let exits = Exits::default();
            let mut command = Command::new("cat");
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let stdin = child.stdin.take().unwrap();
            let stdout = child.stdout.take().unwrap();
            let data = pattern(1_000_000);
            let mut input = FileDispatcher::writer(stdin, Input).unwrap();
            input.send(&data).unwrap();
            input.close_when_done();
            event_loop.add(input).unwrap();
            let output = FileDispatcher::reader(stdout, Output(Vec::new())).unwrap();
            let output = event_loop.add(output).unwrap();
            event_loop
                .on_child_exit(child, exits.recorder("cat"))
                .unwrap();
            let output = event_loop.run_until_closed(output).unwrap().unwrap();
            event_loop.run().unwrap();
            assert!(output.handler().0 == data);
            exits.check(&[("cat", End::Code(0))]);
        });
    });
}
