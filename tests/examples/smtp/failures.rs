//! Clients, maildirs and signals that end a message early.

use std::fs;

use super::{CLIENT, Sink, with_client, with_each_sink};
use crate::common::programs::Program;
use fdloop::Backend;

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let script = r#"
def begin():
    client = Client()
    client.envelope()
    assert client('DATA') == 354
    client.send(b'the beginning of a message\r\n' * 1000)
    until('there is a draft', lambda: len(names('tmp')) == 1)
    return client

def gone():
    until('the draft is gone', lambda: not names('tmp'))

client = begin(); client.s.shutdown(socket.SHUT_RDWR); gone()
client = begin(); client.replies.close(); reset(client.s); gone()
# An end of a message without its last byte does not end it.
client = begin(); client.send(b'.\r'); client.s.shutdown(socket.SHUT_WR); gone()
assert client.s.recv(1) == b''
# Half a command is not a command.
client = Client(); client.send(b'NOOP'); assert client.all_replies() == []
# Clients that connect and leave, in every way.
for leave in socket.socket.close, reset:
    for _ in range(20):
        leave(connect(address))
assert not names('new')
assert Client().mail(b'still here\r\n.\r\n') == 250
assert mails() == [b'still here\r\n']
"#;
    with_client(script);
}

#[test]
fn a_client_that_reads_no_replies_is_not_read_either() {
    with_each_sink(&[], |sink| {
        let before = sink.program.peak_memory();
        sink.with_client(
            r#"
client = Client()
client.s.settimeout(0.5)
command = b'HELP me with ' + b'x' * 81 + b'\r\n'
commands = command * 1000
sent = 0
try:
    while sent < 1 << 28:
        sent += client.s.send(commands[sent % len(commands):])
except TimeoutError:
    pass
assert sent < 1 << 28, 'it reads on and on'
assert Client().mail(b'others are served\r\n.\r\n') == 250
# When the replies are read, it goes on, and every command has its own.
client.s.settimeout(100)
count = sent // len(command) + 1
finishing = background(client.send, command[sent % len(command):] + b'QUIT\r\n')
for _ in range(count):
    assert client.reply() == 214
assert client.reply() == 221
finishing()
"#,
        );
        if let (Some(before), Some(after)) = (before, sink.program.peak_memory()) {
            assert!(after - before < 8 << 10, "{} KiB", after - before);
        }
    });
}

#[test]
fn a_maildir_that_fails_is_a_reply_and_not_the_end() {
    let script = r#"
client = Client()
os.rename(maildir, maildir + '.away')
client.envelope()
assert client('DATA') == 451
os.rename(maildir + '.away', maildir)
assert client('DATA') == 354
os.rename(os.path.join(maildir, 'new'), os.path.join(maildir, 'away'))
assert client('lost\r\n.') == 451
os.rename(os.path.join(maildir, 'away'), os.path.join(maildir, 'new'))
assert client.mail(b'kept\r\n.\r\n') == 250
assert mails() == [b'kept\r\n']
"#;
    with_client(script);
}

#[test]
fn a_signal_in_the_middle_of_a_message_removes_what_there_is_of_it() {
    for &backend in Backend::ALL {
        for signal in ["TERM", "INT"] {
            let sink = Sink::start("smtp_sink", backend, &[]);
            let script = r#"
client = Client()
client.envelope()
assert client('DATA') == 354
client.send(b'the beginning of a message\r\n' * 1000)
until('there is a draft', lambda: len(names('tmp')) == 1)
say('begun')
assert hear() == 'ended'
assert client.replies.read() == b''
assert not names('new')
"#;
            let arguments = [sink.address.as_str(), &sink.maildir()];
            let mut client = Program::python(&format!("{CLIENT}\n{script}"), &arguments);
            assert_eq!(client.line(), "begun");
            let directory = sink.directory;
            sink.program.end_with(signal);
            let drafts = fs::read_dir(directory.file("mail/tmp")).unwrap();
            assert_eq!(drafts.count(), 0, "drafts are left");
            client.tell("ended");
            client.succeed();
        }
    }
}
