//! The mail sink, run as a program, with clients that are not ours: Python's
//! smtplib and sockets, and curl where there is one.

// A test that cannot go on should say so and fail; these helpers are part of one.
// Shown only where a test fails: with which backend.
#![allow(clippy::print_stdout)]

mod delivery;
mod failures;
mod names;
mod replies;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::TempDir;
use crate::common::programs::{ANY_PORT, Program, ending_signal, example, with_each_backend};
use fdloop::Backend;

/// A sink that runs, with a maildir.
struct Sink {
    program: Program,
    address: String,
    directory: TempDir,
}

impl Sink {
    #[track_caller]
    fn start(name: &str, backend: Backend, options: &[&str]) -> Self {
        let directory = TempDir::new();
        let maildir = directory.file("mail");
        let arguments = [&["--maildir", &maildir, ANY_PORT][..], options].concat();
        let mut program = Program::example(name, backend, &arguments);
        let address = program.address();
        Self {
            program,
            address,
            directory,
        }
    }

    fn maildir(&self) -> String {
        self.directory.file("mail")
    }

    /// Runs a client, which must succeed. It gets the address and the maildir.
    #[track_caller]
    fn with_client(&self, script: &str) {
        let arguments = [self.address.as_str(), &self.maildir()];
        Program::python(&format!("{CLIENT}\n{script}"), &arguments).succeed();
    }

    /// Ends the sink, and checks that it leaves no draft.
    #[track_caller]
    fn end(self, signal: &str) {
        self.program.end_with(signal);
        let drafts = fs::read_dir(Path::new(&self.directory.file("mail/tmp"))).unwrap();
        assert_eq!(drafts.count(), 0, "drafts are left");
    }
}

/// The sink, and the one that is written with coroutines.
fn sinks() -> impl Iterator<Item = &'static str> {
    let coroutines = cfg!(feature = "coroutines").then_some("coroutine_smtp");
    ["smtp_sink"].into_iter().chain(coroutines)
}

/// Runs `test` with each sink on each backend, and ends the sink.
#[track_caller]
fn with_each_sink(options: &[&str], test: impl Fn(&mut Sink) + Sync) {
    with_each_backend(|backend| {
        for name in sinks() {
            println!("{name}:");
            let mut sink = Sink::start(name, backend, options);
            test(&mut sink);
            sink.end(ending_signal(backend));
        }
    });
}

#[track_caller]
fn with_client(script: &str) {
    with_each_sink(&[], |sink| sink.with_client(script));
}

/// The beginning of the clients' programs.
const CLIENT: &str = r#"
import time
address, maildir = sys.argv[1:3]

def names(directory):
    return sorted(os.listdir(os.path.join(maildir, directory)))

def mails():
    'The messages in the maildir, in the order of their arrival.'
    def read(name):
        with open(os.path.join(maildir, 'new', name), 'rb') as file:
            return file.read()
    number = lambda name: int(name.split('Q')[1].split('R')[0])
    return [read(name) for name in sorted(names('new'), key=number)]

def until(what, done):
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, 'waited in vain until ' + what
        time.sleep(0.01)

class Client:
    def __init__(self, greet=True):
        self.s = connect(address)
        self.replies = self.s.makefile('rb')
        assert self.reply() == 220
        self.greeting = self.text
        if greet:
            assert self('EHLO client') == 250

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else data.encode())

    def reply(self):
        'The code of the next reply; the text is kept.'
        self.text = []
        while True:
            line = self.replies.readline()
            assert line.endswith(b'\r\n'), line
            assert line[:3].isdigit() and line[3:4] in b'- ', line
            self.text.append(line[4:-2].decode())
            if line[3:4] == b' ':
                return int(line[:3])

    def __call__(self, command):
        self.send((command if isinstance(command, bytes) else command.encode()) + b'\r\n')
        return self.reply()

    def all_replies(self):
        self.s.shutdown(socket.SHUT_WR)
        return [int(line[:3]) for line in self.replies if line[3:4] == b' ']

    def envelope(self):
        assert self('MAIL FROM:<from@example.org>') == 250
        assert self('RCPT TO:<to@example.org>') == 250

    def mail(self, data):
        'Sends a message as it is, with its end. Answers the reply.'
        self.envelope()
        assert self('DATA') == 354
        self.send(data)
        return self.reply()
"#;

#[test]
fn nonsense_arguments_are_refused_with_the_usage() {
    for (arguments, said) in [
        (&["nonsense"][..], "nonsense"),
        (&[ANY_PORT, "surplus"], "surplus"),
        (&["--unknown"], "--unknown"),
        (&["--backend", "kqueue"], "kqueue"),
        (&["--maildir"], "--maildir needs a value"),
        (&["--size-limit", "0"], "--size-limit"),
        (&["--size-limit", "much"], "--size-limit"),
    ] {
        let mut command = Command::new(example("smtp_sink"));
        command.args(arguments);
        let ended = Program::start("smtp_sink", command).finish();
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("usage: "), "{ended:?}");
        assert!(ended.stderr.contains(said), "{said:?} in {ended:?}");
    }
    // A maildir that cannot be is an error of its own.
    let mut command = Command::new(example("smtp_sink"));
    command.args(["--maildir", "/dev/null/mail", ANY_PORT]);
    let ended = Program::start("smtp_sink", command).finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("/dev/null/mail"), "{ended:?}");
}
