//! Messages arrive as they were sent.

use std::fs;
use std::process::Command;
use std::thread;

use super::{CLIENT, with_client, with_each_sink};
use crate::common::programs::{ANY_PORT, Program, with_each_backend};

#[test]
fn a_thousand_messages_over_fifty_connections_arrive_byte_for_byte() {
    // Every file that can be seen must be complete at once.
    let script = r#"
import base64, random, smtplib
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
fn fifty_connections_that_pipeline_have_their_messages_stored_byte_for_byte() {
    // smtplib waits for each reply. These clients wait for none, not even that to DATA, and read
    // the replies independently.
    let script = r#"
import random
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
    # Bytes that other servers mistake for the end of a message.
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
# A message that is refused: twice the limit, in one line.
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
fn without_a_maildir_a_line_tells_of_each_message() {
    with_each_backend(|backend| {
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
    });
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
