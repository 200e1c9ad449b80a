//! Commands and their replies.

use super::{with_client, with_each_sink};

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
# Everything at once, which clients must not do, and then a half-close.
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
# In one packet with the commands after it.
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

# A client that never ends a line gets one reply.
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
# The dots that are doubled for the transfer do not count.
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
