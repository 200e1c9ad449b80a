//! The mail sink, run as a program, with clients that are not ours: Python's
//! smtplib and sockets, and curl where there is one.

// A test that cannot go on should say so and fail; these helpers are part of one.
// Shown only where a test fails: with which backend.
#![allow(clippy::print_stdout)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::common::TempDir;
use crate::common::programs::{ANY_PORT, Program, example};
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

    /// Ends it, and looks that it leaves nothing half done.
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

/// Does the same with each sink on each backend, and ends that.
#[track_caller]
fn with_each_sink(options: &[&str], test: impl Fn(&mut Sink)) {
    for (backend, signal) in Backend::ALL.iter().zip(["TERM", "INT"]) {
        for name in sinks() {
            println!("{name} with {backend}:");
            let mut sink = Sink::start(name, *backend, options);
            test(&mut sink);
            sink.end(signal);
        }
    }
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
fn a_thousand_messages_over_fifty_connections_arrive_byte_for_byte() {
    // Every file that can be seen must be complete at once.
    let script = r#"
import base64, smtplib
host, port = address.rsplit(':', 1)
attachment = base64.encodebytes(noise(5 << 20, 1)).replace(b'\n', b'\r\n')
expected = set()

def message(connection, number):
    lines = random.Random(connection * 100 + number)
    text = b'Subject: %d of %d\r\n\r\n' % (number, connection)
    for _ in range(lines.randrange(40)):
        text += lines.choice([b'', b'.', b'..', b'.a line', b'a line', b'x' * 500]) + b'\r\n'
    if number == 0 and connection % 9 == 0:
        text += attachment
    return text

def client(connection):
    with smtplib.SMTP(host, int(port), timeout=100) as smtp:
        for number in range(20):
            text = message(connection, number)
            expected.add(text)
            smtp.sendmail('from@example.org', ['to@example.org', 'cc@example.org'], text)

arrived = {}
def watch():
    while True:
        over = done.is_set()
        for name in names('new'):
            if name not in arrived:
                with open(os.path.join(maildir, 'new', name), 'rb') as file:
                    arrived[name] = file.read()
                assert arrived[name] in expected, 'half a message, or a wrong one'
        if over:
            return
        time.sleep(0.02)

done = threading.Event()
watching = background(watch)
clients = [background(client, connection) for connection in range(50)]
for join in clients:
    join()
done.set()
watching()
assert len(expected) == 1000
assert set(arrived.values()) == expected and len(arrived) == 1000
assert not names('tmp')
"#;
    with_each_sink(&[], |sink| {
        let arguments = [sink.address.as_str(), &sink.maildir()];
        let client = Program::python(&format!("{CLIENT}\n{script}"), &arguments);
        thread::scope(|scope| {
            scope.spawn(|| client.succeed());
            // More lines than a pipe holds, so the test has to read them.
            for number in 1..=1000 {
                let line = sink.program.line();
                assert!(line.starts_with(&format!("message {number}: ")), "{line}");
                assert!(line.ends_with(" for 2 recipients"), "{line}");
            }
        });
    });
}

#[test]
fn pipelined_commands_are_answered_in_order_however_they_are_chopped() {
    let script = r#"
transaction = b'MAIL FROM:<a@b.c> BODY=8BITMIME\r\nRCPT TO:<d@e.f>\r\nRCPT TO:<g@h.i>\r\nDATA\r\n'
codes = [250, 250, 250, 354, 250]
# Pipelining as it is meant to be: up to DATA, then the message with the next.
client = Client()
for number in range(20):
    client.send(transaction)
    assert [client.reply() for _ in range(4)] == codes[:4]
    client.send(b'message %d\r\n.\r\nNOOP\r\n' % number)
    assert [client.reply() for _ in range(2)] == [250, 250]
# And all of it at once, which no client may do; at its end the half of a close.
whole = transaction + b'all at once\r\n.\r\n'
client.send(whole * 20 + b'QUIT\r\nNOOP\r\n')
assert client.all_replies() == codes * 20 + [221]
# Byte by byte.
client = Client()
client.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for byte in whole + b'QUIT\r\n':
    client.send(bytes([byte]))
assert client.all_replies() == codes + [221]
assert mails() == [b'message %d\r\n' % n for n in range(20)] + [b'all at once\r\n'] * 21
"#;
    with_client(script);
}

#[test]
fn fifty_connections_that_pipeline_have_their_messages_stored_byte_for_byte() {
    // smtplib waits for each reply; these clients for none, not even that to DATA,
    // and read apart from that.
    let script = r#"
MESSAGES = 20

def message(connection, number):
    lines = random.Random(connection * 100 + number)
    text = b'Subject: %d of %d\r\n\r\n' % (number, connection)
    bare = noise(700, number).replace(b'\r', b'').replace(b'\n', b'')
    for _ in range(lines.randrange(60)):
        text += lines.choice([b'', b'.', b'..', b'.a line', b'a.\r.\n', bare]) + b'\r\n'
    return text

def client(connection):
    pieces = random.Random(connection)
    client = Client()
    everything = b''
    for number in range(MESSAGES):
        everything += b'RSET\r\nNOOP\r\nMAIL FROM:<%d@a.b> BODY=8BITMIME\r\n' % connection
        everything += b'RCPT TO:<c@d.e>\r\nRCPT TO:<nonsense>\r\nRCPT TO:<f@g.h>\r\nDATA\r\n'
        text = message(connection, number)
        everything += (b'\r\n' + text).replace(b'\r\n.', b'\r\n..')[2:] + b'.\r\n'
    everything += b'QUIT\r\n'
    def write():
        at = 0
        while at < len(everything):
            size = pieces.choice([1, 7, 100, 1000, 20000])
            client.send(everything[at:at + size])
            at += size
    writing = background(write)
    expected = [250, 250, 250, 250, 501, 250, 354, 250] * MESSAGES + [221]
    replies = [client.reply() for _ in expected]
    assert replies == expected, replies
    assert client.replies.read() == b''
    writing()

for join in [background(client, connection) for connection in range(50)]:
    join()
expected = [message(connection, number) for connection in range(50) for number in range(MESSAGES)]
assert sorted(mails()) == sorted(expected)
assert not names('tmp')
"#;
    with_client(script);
}

#[test]
fn a_message_is_what_was_sent_but_for_the_dots() {
    let script = r#"
cases = [
    (b'.\r\n', b''),
    (b'\r\n.\r\n', b'\r\n'),
    (b'..\r\n.\r\n', b'.\r\n'),
    (b'...\r\n....\r\n.\r\n', b'..\r\n...\r\n'),
    (b'..a line\r\n.\r\n', b'.a line\r\n'),
    # A dot that should have been doubled.
    (b'.a line\r\n.\r\n', b'a line\r\n'),
    (b'a.\r\n.\r\n', b'a.\r\n'),
    (b'a\r\n\r\n\r\n.\r\n', b'a\r\n\r\n\r\n'),
    # What other servers take for an end, and nobody should.
    (b'a\n.\nb\n.\r\n.\r\n', b'a\n.\nb\n.\r\n'),
    (b'a\r.\rb\r.\r\n.\r\n', b'a\r.\rb\r.\r\n'),
    (b'.\r.\r\n.\r\n', b'\r.\r\n'),
    (b'\r\r\n.\r\n', b'\r\r\n'),
    (bytes(range(256)) + b'\r\n.\r\n', bytes(range(256)) + b'\r\n'),
    (bytes(1000) + b'\r\n.\r\n', bytes(1000) + b'\r\n'),
    (b'..' + b'x' * (1 << 20) + b'\r\n.\r\n', b'.' + b'x' * (1 << 20) + b'\r\n'),
]
client = Client()
for sent, _ in cases:
    assert client.mail(sent) == 250, sent[:80]
assert len(mails()) == len(cases)
for (sent, expected), got in zip(cases, mails()):
    assert got == expected, (sent[:80], got[:80])
# The same byte by byte.
client.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for sent, _ in cases[:12]:
    client.envelope()
    assert client('DATA') == 354
    for byte in sent:
        client.send(bytes([byte]))
    assert client.reply() == 250, sent
assert mails()[len(cases):] == [expected for _, expected in cases[:12]]
"#;
    with_client(script);
}

#[test]
fn every_command_has_its_reply() {
    let script = r#"
client = Client(greet=False)
def say(*dialogue):
    for command, code in dialogue:
        assert client(command) == code, (command, client.text)
def refuse(code, *commands):
    say(*((command, code) for command in commands))
mail, rcpt = 'MAIL FROM:<a@b.c>', 'RCPT TO:<a@b.c>'

# Out of order.
say((mail, 503), (rcpt, 503), ('DATA', 503), ('RSET', 250), ('NOOP', 250), ('HELP', 214))
say(('VRFY someone', 252), ('HELO client', 250), (rcpt, 503), ('DATA', 503))
say((mail, 250), (mail, 503), ('DATA', 554), (rcpt, 250), ('RSET', 250), (rcpt, 503))
say((mail, 250), (rcpt, 250), ('EHLO client', 250), (rcpt, 503))
assert client('EHLO [127.0.0.1]') == 250
assert client.text[1:] == ['SIZE 33554432', 'PIPELINING', '8BITMIME', 'HELP'], client.text

# Unknown, and known but not implemented.
refuse(500, '', ' ', 'HULLO', 'EHLOclient', 'MAILFROM:<a@b.c>', 'ÄÖÜ', '\x7f')
refuse(502, 'EXPN list', 'TURN', 'STARTTLS', 'AUTH PLAIN AGEAYg==', 'BDAT 5 LAST')
refuse(501, 'EHLO', 'HELO ', 'VRFY', 'RSET now', 'QUIT now', 'DATA now')
say(('NOOP with something', 250), ('HELP me', 214), ('nOoP', 250), ('NOOP  ', 250))

# Addresses.
for start in 'MAIL FROM:', 'RCPT TO:':
    if start.startswith('RCPT'):
        say((mail, 250), (start + '<>', 501), (start + '<Postmaster>', 250))
    else:
        say((start + '<>', 250), ('RSET', 250))
    for wrong in ('', 'a@b.c', '<a@b.c', 'a@b.c>', '<a>', '<@b.c>', '<a@>', '<a b@c.d>', '<a@b c>',
                  '<a@b@c.d>', '<a@b.c>x', '<"a@b.c>', '<@x.y a@b.c>', '<<a@b.c>>',
                  '<a@b..c>', '<a@.b>', '<a@b.>', '<a@-b.c>', '<a@b-.c>', '<a@%s.c>' % ('b' * 64),
                  '<.a@b.c>', '<a.@b.c>', '<a..b@c.d>', '<.@a.b>', '<a(b)@c.d>', '<a\\b@c.d>'):
        refuse(501, start + wrong)
    for right in ('<a@b.c>', ' <a@b.c>', '<"a > b"@c.d>', '<"a\\" >"@c.d>', '<@x.y,@z:a@b.c>',
                  '<a.b+c=d@[127.0.0.1]>', '<a@b>', '<a@x-1.y_z.%s>' % ('b' * 63), '<a@b.c> '):
        say((start + right, 250))
        if start.startswith('MAIL'):
            say(('RSET', 250))
refuse(501, 'MAIL', 'MAIL TO:<a@b.c>', 'MAIL FROM', 'RCPT', 'RCPT FROM:<a@b.c>')
say(('RSET', 250), ('mail from:<a@b.c>', 250), ('rcpt to:<a@b.c>', 250), ('RSET', 250))

# Parameters.
for twice in 'SIZE=1 SIZE=1', 'SIZE=1 size=2', 'BODY=7BIT BODY=7BIT', 'BODY=7BIT SIZE=1 body=7bit':
    refuse(501, mail + ' ' + twice)
refuse(501, mail + ' SIZE', mail + ' SIZE=', mail + ' SIZE=x', mail + ' SIZE=-1', mail + ' BODY')
refuse(504, mail + ' BODY=BINARYMIME')
refuse(555, mail + ' SMTPUTF8', mail + ' X=Y', mail + ' SIZE=1 X')
refuse(552, mail + ' SIZE=33554433', mail + ' SIZE=' + '9' * 30)
for right in ' SIZE=33554432', ' body=7bit', ' SIZE=1 BODY=8BITMIME', ' BODY=8BITMIME SIZE=1':
    say((mail + right, 250), ('RSET', 250))
say((mail, 250), (rcpt + ' NOTIFY=NEVER', 555))

# A hundred recipients are enough.
for _ in range(100):
    say((rcpt, 250))
say((rcpt, 452), (rcpt, 452), ('DATA', 354), ('to a hundred\r\n.', 250))

# An envelope is for one message.
say((rcpt, 503), ('DATA', 503), ('QUIT', 221))
assert client.s.recv(1) == b''
assert mails() == [b'to a hundred\r\n']
"#;
    with_client(script);
}

#[test]
fn lines_that_are_too_long_or_broken_are_refused_once_and_the_session_goes_on() {
    let script = r#"
client = Client()
# With its CR LF, a command has 512 bytes at most.
assert client('NOOP ' + 'x' * 505) == 250
assert client('NOOP ' + 'x' * 506) == 500
assert client('NOOP ' + 'x' * 600) == 500
# But MAIL may have what its parameters add.
mail = 'MAIL FROM:<%s@example.org>' % ('x' * 474)
assert len(mail) + 2 == 500
assert client(mail + ' SIZE=1 BODY=8BITMIME') == 250
assert client('RSET') == 250
assert client('x' * (1 << 20)) == 500
assert client('NOOP') == 250
# In one packet with what comes behind.
client.send('x' * 1000 + '\r\nNOOP\r\n' + 'y' * 600 + '\r\nHELP\r\n')
assert [client.reply() for _ in range(4)] == [500, 250, 500, 214]
# The end of a line is CR LF and nothing else.
for broken in b'NOOP\nNOOP', b'NOOP\rNOOP', b'NOOP\r', b'\nNOOP', b'NO\0OP', b'\0', b'NOOP \0':
    assert client(broken) == 500, broken
assert client(b'\0' * (1 << 20)) == 500
assert client.mail(b'still here\r\n.\r\n') == 250
# After a message the limit is back.
assert client('x' * 1000) == 500
assert client('QUIT') == 221
assert mails() == [b'still here\r\n']

# Who never ends a line gets one reply.
client = Client()
client.send(b'x' * (3 << 20))
assert client.all_replies() == [500]
"#;
    with_client(script);
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_end_and_leaves_nothing() {
    let script = r#"
client = Client()
assert 'SIZE 1000' in (client('EHLO client'), client.text)[1]
assert client('MAIL FROM:<a@b.c> SIZE=1001') == 552
line = b'x' * 98 + b'\r\n'
assert client.mail(line * 10 + b'.\r\n') == 250
# The dots that are only there for the way do not count.
assert client.mail(b'.' + b'.' * 98 + b'\r\n' + line * 9 + b'.\r\n') == 250
assert client.mail(line * 10 + b'\r\n.\r\n') == 552
assert client('RCPT TO:<a@b.c>') == 503
assert client.mail(b'x' * 1000 + b'\r\n.\r\n') == 552
assert client.mail(b'small\r\n.\r\n') == 250
assert [len(mail) for mail in mails()] == [1000, 1000, 7]

# The file is gone before the rest has come.
client.envelope()
assert client('DATA') == 354
client.send(line * 20)
until('the draft is gone', lambda: not names('tmp'))
client.send(line * 20 + b'.\r\nQUIT\r\n')
assert client.all_replies() == [552, 221]
assert len(names('new')) == 3
"#;
    with_each_sink(&["--size-limit", "1000"], |sink| sink.with_client(script));
}

#[test]
fn large_messages_are_not_held_in_memory() {
    with_each_sink(&[], |sink| {
        let before = sink.program.peak_memory();
        sink.with_client(
            r#"
text = noise(20 << 20, 2).replace(b'\n', b'\r\n') + b'\r\n'
sent = (b'\r\n' + text).replace(b'\r\n.', b'\r\n..')[2:]
line = b'x' * 65536
client = Client()
assert client.mail(sent + b'.\r\n') == 250
check(mails()[0], text, 'the message')
# One that is refused: twice what is allowed, in one line.
client.envelope()
assert client('DATA') == 354
for _ in range(1024):
    client.send(line)
client.send(b'\r\n.\r\n')
assert client.reply() == 552
assert not names('tmp')
"#,
        );
        if let (Some(before), Some(after)) = (before, sink.program.peak_memory()) {
            assert!(after - before < 3 << 10, "{} KiB", after - before);
        }
    });
}

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
# An end that lacks its last byte is none.
client = begin(); client.send(b'.\r'); client.s.shutdown(socket.SHUT_WR); gone()
assert client.s.recv(1) == b''
# Half a command is none either.
client = Client(); client.send(b'NOOP'); assert client.all_replies() == []
# Who connects and leaves, in every way.
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

#[test]
fn without_a_maildir_a_line_tells_of_each_message() {
    for &backend in Backend::ALL {
        let mut sink = Program::example("smtp_sink", backend, &[ANY_PORT]);
        let address = sink.address();
        let script = r#"
client = Client()
assert client.mail(b'hello\r\n.\r\n') == 250
assert client('MAIL FROM:<>') == 250
for _ in range(3):
    assert client('RCPT TO:<a@b.c>') == 250
assert client('DATA') == 354
assert client('.') == 250
# A quoted sender may have a control character in it, which a terminal would obey.
assert client('MAIL FROM:<"a\tb"@c.d>') == 250
assert client('RCPT TO:<a@b.c>') == 250
assert client('DATA') == 354
assert client('.') == 250
assert client('QUIT') == 221
"#;
        Program::python(&format!("{CLIENT}\n{script}"), &[&address, ""]).succeed();
        sink.signal("TERM");
        let ended = sink.succeed();
        assert_eq!(
            String::from_utf8_lossy(&ended.stdout),
            "message 1: 7 bytes from <from@example.org> for 1 recipient\n\
             message 2: 0 bytes from <> for 3 recipients\n\
             message 3: 0 bytes from <\"a\\tb\"@c.d> for 1 recipient\n"
        );
    }
}

/// Asserts that the sink announces the name in `sys.argv[2]`.
const NAMED: &str = r#"
client = Client(greet=False)
name = sys.argv[2]
def announces(command, code):
    assert client(command) == code
    assert client.text[0].split()[0] == name, (command, client.text, name)
client.text = client.greeting
assert client.text[0].split()[0] == name, (client.text, name)
announces('HELO client', 250)
announces('EHLO client', 250)
announces('QUIT', 221)
"#;

#[test]
fn the_sink_announces_a_domain_name() {
    let script = r#"
import re
host = socket.gethostname()
domain = re.fullmatch(r'(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*', host)
sys.argv[2] = host if domain and not host.split('.')[-1].isdigit() else 'localhost'
"#;
    with_each_sink(&[], |sink| sink.with_client(&format!("{script}\n{NAMED}")));
}

#[test]
#[cfg(target_os = "linux")]
fn a_host_name_that_is_not_a_domain_name_is_not_announced() {
    let python = crate::common::programs::interpreter();
    let own = ["--user", "--map-root-user", "--uts", python, "-c"];
    let script = r#"
import os, socket, sys
socket.sethostname(sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
"#;
    let allowed = Command::new("unshare").args(own).arg("").output();
    if !allowed.is_ok_and(|ended| ended.status.success()) {
        return;
    }
    let sink = example("smtp_sink");
    let sink = sink.to_str().expect("a path in UTF-8");
    for &backend in Backend::ALL {
        for (host, name) in [
            ("mail.example.org", "mail.example.org"),
            ("a_b", "localhost"),
            ("-a", "localhost"),
            ("a..b", "localhost"),
            ("127.0.0.1", "localhost"),
            ("a\x1b[31m", "localhost"),
        ] {
            let mut command = Command::new("unshare");
            command.args(own).arg(script);
            command.args([host, sink, "--backend", &backend.to_string(), ANY_PORT]);
            let mut sink = Program::start("unshare", command);
            let address = sink.address();
            Program::python(&format!("{CLIENT}\n{NAMED}"), &[&address, name]).succeed();
        }
    }
}

#[test]
fn curl_sends_mail() {
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    with_each_sink(&[], |sink| {
        let mail = sink.directory.file("a mail");
        let text = "Subject: dots\r\n\r\n.\r\n..\r\n.a\r\nb\r\n".repeat(10_000);
        fs::write(&mail, &text).unwrap();
        let mut curl = Command::new("curl");
        let url = format!("smtp://{}", sink.address);
        curl.args(["-sS", "--noproxy", "*", &url, "-T", &mail]);
        curl.args(["--mail-from", "me@example.org"]);
        curl.args(["--mail-rcpt", "you@example.org"]);
        Program::start("curl", curl).succeed();
        let new = fs::read_dir(sink.directory.file("mail/new")).unwrap();
        let files: Vec<_> = new.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        assert!(fs::read(&files[0]).unwrap() == text.as_bytes());
    });
}

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
