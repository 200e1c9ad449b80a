//! The chat room, run as a program, with Python's sockets as its members.

// A test that cannot go on should say so and fail; these helpers are part of one.

use std::process::Command;

use crate::common::TempDir;
use crate::common::programs::{
    ANY_PORT, Program, ending_signal, example, server, with_each_backend,
};

/// The beginning of the members' programs.
const MEMBERS: &str = r#"
address = sys.argv[1]

class Someone:
    'Who is connected, but not in the room yet.'
    def __init__(self, rcvbuf=None):
        family, where = split(address)
        self.s = socket.socket(family)
        if rcvbuf:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.s.settimeout(100)
        self.s.connect(where)
        self.lines = self.s.makefile('rb')
        self.hears('* welcome; what is your nickname?')

    def says(self, *lines):
        # At once: what stands behind a /quit must not find the connection gone.
        self.s.sendall(b''.join(line.encode() + b'\n' for line in lines))
        return self

    def hears(self, *expected):
        for line in expected:
            heard = self.lines.readline().decode()
            assert heard == line + '\n', 'heard %r, not %r' % (heard, line)
        return self

    def hears_the_end(self):
        rest = self.lines.read()
        assert rest == b'', rest

    def leaves(self):
        self.lines.close()
        self.s.close()

HELP = '* /who lists the members, /nick NAME changes your name, /quit leaves'
NICKNAME = '* a nickname has up to 16 letters, digits, - and _; '
ASKED = 'what is your nickname?'

def member(nick, *others, **options):
    'Somebody in the room, in which all others know it.'
    someone = Someone(**options).says(nick)
    if others:
        names = ', '.join(other.nick for other in others)
        someone.hears('* hello %s, here are %s' % (nick, names), HELP)
    else:
        someone.hears('* hello %s, you are alone here' % nick, HELP)
    for other in others:
        other.hears('* %s has joined' % nick)
    someone.nick = nick
    return someone

def everybody_hears(members, line):
    for member in members:
        member.hears(line)
"#;

/// Runs the members, which must succeed, with a server on each backend, which must
/// end in order.
#[track_caller]
fn with_members(script: &str) {
    with_each_backend(|backend| {
        let (server, address) = server("chat_server", backend, &[ANY_PORT]);
        Program::python(&format!("{MEMBERS}\n{script}"), &[&address]).succeed();
        server.end_with(ending_signal(backend));
    });
}

#[test]
fn what_one_says_the_others_hear() {
    with_members(
        r#"
ann = member('ann')
bob = member('bob', ann)
cleo = member('cleo', ann, bob)
ann.says('hello')
everybody_hears([bob, cleo], 'ann: hello')
bob.says('hello ann', '', '   ', 'and cleo')
everybody_hears([ann, cleo], 'bob: hello ann')
everybody_hears([ann, cleo], 'bob: and cleo')
# Nobody hears oneself, and who is not in the room hears nothing.
stranger = Someone()
cleo.says('one').says('/who').hears('* here are ann, bob, cleo')
everybody_hears([ann, bob], 'cleo: one')
stranger.says('dan').hears('* hello dan, here are ann, bob, cleo', HELP)
everybody_hears([ann, bob, cleo], '* dan has joined')
"#,
    );
}

#[test]
fn nicknames_are_valid_and_unique() {
    with_members(
        r#"
ann = member('ann')
someone = Someone()
for clash in 'ann', 'ANN', ' Ann ', 'ann\r':
    someone.says(clash)
    someone.hears('* there is a %s already; what is your nickname?' % clash.strip())
for wrong in '', ' ', 'a b', 'x' * 17, '/who', '/quit', 'ännchen', 'a:', 'a\0/b', '*':
    someone.says(wrong).hears(NICKNAME + ASKED)
someone.says('x' * 16).hears('* hello %s, here are ann' % ('x' * 16), HELP)
ann.hears('* %s has joined' % ('x' * 16))
# Renaming.
someone.says('/nick ann').hears('* there is a ann already; say /nick NAME')
someone.says('/nick').hears(NICKNAME + 'say /nick NAME')
someone.says('/nick a b').hears(NICKNAME + 'say /nick NAME')
someone.says('/nick bob').hears('* you are bob now')
ann.hears('* %s is bob now' % ('x' * 16))
someone.says('/nick Bob').hears('* you are Bob now')
ann.hears('* bob is Bob now').says('/who').hears('* here are ann, Bob')
someone.says('hello')
ann.hears('Bob: hello')
# A name is free again when who had it is called differently, or is gone.
third = Someone().says('x' * 16).hears('* hello %s, here are ann, Bob' % ('x' * 16), HELP)
everybody_hears([ann, someone], '* %s has joined' % ('x' * 16))
third.leaves()
everybody_hears([ann, someone], '* %s has left' % ('x' * 16))
third = Someone().says('x' * 16).hears('* hello %s, here are ann, Bob' % ('x' * 16), HELP)
"#,
    );
}

#[test]
fn leaving_is_announced_however_one_leaves() {
    with_members(
        r#"
ann = member('ann')
bob = member('bob', ann)
# In one piece: after the first line there may be nobody to send to.
bob.says('/quit\nnever heard\n/who').hears('* goodbye').hears_the_end()
ann.hears('* bob has left')
bob = member('bob', ann)
bob.leaves()
ann.hears('* bob has left')
bob = member('bob', ann)
bob.lines.close(); reset(bob.s)
ann.hears('* bob has lost the connection')
# Last words without the end of their line.
bob = member('bob', ann)
bob.s.sendall(b'good'); bob.s.sendall(b'bye')
bob.s.shutdown(socket.SHUT_WR)
ann.hears('bob: goodbye', '* bob has left')
bob.hears_the_end()
# Who never had a name is not missed.
Someone().leaves()
someone = Someone(); someone.s.sendall(b'dan'); someone.leaves()
ann.hears('* dan has joined', '* dan has left').says('/who').hears('* here are ann')
"#,
    );
}

#[test]
fn lines_that_are_too_long_are_refused_and_the_rest_is_heard() {
    with_members(
        r#"
ann = member('ann')
bob = member('bob', ann)
too_long = '* a line has up to 1024 bytes'
ann.says('x' * 1024)
bob.hears('ann: ' + 'x' * 1024)
ann.says('x' * 1025, 'short', 'y' * 5000, 'z' * (1 << 20), 'and sweet')
ann.hears(too_long, too_long, too_long)
bob.hears('ann: short', 'ann: and sweet')
# Nameless ones too.
someone = Someone().says('x' * 2000).hears(too_long).says('dan')
someone.hears('* hello dan, here are ann, bob', HELP)
"#,
    );
}

#[test]
fn what_a_terminal_would_obey_is_escaped() {
    with_members(
        r#"
ann = member('ann')
bob = member('bob', ann)
ann.s.sendall(b'\x1b[31mred\x07\x00\ttab\r\n' + b'\xff\xfe caf\xc3\xa9 \xc2\x9b1m\n')
bob.hears(r'ann: \x1b[31mred\x07\x00 tab', r'ann: \xff\xfe café \u{9b}1m')
ann.says(r'C:\new \x1b', 'a\u202eb')
bob.hears(r'ann: C:\new \x1b', r'ann: a\u{202e}b')
# Nor does it get into a name.
bob.says('/nick b\x1b[31m').hears(NICKNAME + 'say /nick NAME').says('/who').hears('* here are ann, bob')
"#,
    );
}

#[test]
fn a_slow_reader_is_dropped_and_the_others_go_on() {
    with_members(
        r#"
ann = member('ann')
bob = member('bob', ann)
slow = member('slow', ann, bob, rcvbuf=4096)
line = 'x' * 1000
said = 0
dropped = b'* slow was dropped: does not read\n'
# As much as it takes; bob reads along, and gets all of it.
while True:
    for _ in range(100):
        ann.says(line)
    said += 100
    assert said < 50000, 'it is never dropped'
    heard = 0
    while heard < 100:
        got = bob.lines.readline()
        if got == dropped:
            break
        assert got == ('ann: %s\n' % line).encode(), got
        heard += 1
    if heard < 100:
        break
ann.hears(dropped.decode().strip())
for _ in range(100 - heard):
    bob.hears('ann: ' + line)
bob.says('/who').hears('* here are ann, bob')
# What it was sent before can still be read, and then it ends.
try:
    for got in slow.lines:
        assert got == ('ann: %s\n' % line).encode() or not got.endswith(b'\n'), got
except ConnectionResetError:
    pass
slow = member('slow', ann, bob)
"#,
    );
}

#[test]
fn who_asks_and_never_reads_is_dropped_too() {
    with_members(
        r#"
ann = member('ann')
rude = member('rude', ann, rcvbuf=4096)
asking = b'/who\n' * 10000
try:
    while True:
        rude.s.sendall(asking)
except (BrokenPipeError, ConnectionResetError):
    pass
ann.hears('* rude was dropped: does not read').says('/who').hears('* here are ann')
"#,
    );
}

#[test]
fn a_crowd_receives_everything_and_a_burst_drops_no_member() {
    // Every one says as much at once as fits, and reads only then.
    with_members(
        r#"
crowd = []
for number in range(25):
    crowd.append(member('m%d' % number, *crowd))
for one in crowd:
    one.s.sendall(b''.join(b'%d\n' % n for n in range(50)))
for one in crowd:
    heard = {}
    for _ in range(50 * 24):
        who, what = one.lines.readline().decode().strip().split(': ')
        heard.setdefault(who, []).append(int(what))
    assert len(heard) == 24 and one.nick not in heard
    assert all(said == list(range(50)) for said in heard.values())
"#,
    );
}

#[test]
fn the_room_is_on_unix_sockets_too_and_ends_while_it_is_full() {
    with_each_backend(|backend| {
        for signal in ["TERM", "INT"] {
            let directory = TempDir::new();
            let path = directory.file("room");
            let mut server = Program::example("chat_server", backend, &[&path]);
            assert_eq!(server.address(), path);
            let script = r#"
ann = member('ann')
bob = member('bob', ann)
say('here')
ann.hears_the_end()
bob.hears_the_end()
"#;
            let mut members = Program::python(&format!("{MEMBERS}\n{script}"), &[&path]);
            assert_eq!(members.line(), "here");
            server.end_with(signal);
            members.succeed();
            assert!(directory.names().is_empty(), "the socket is removed");
        }
    });
}

#[test]
fn nonsense_arguments_are_refused_with_the_usage() {
    for (arguments, said) in [
        (&["nonsense"][..], "nonsense"),
        (&[ANY_PORT, "surplus"], "surplus"),
        (&["--unknown"], "--unknown"),
        (&["--backend", "kqueue"], "kqueue"),
    ] {
        let mut command = Command::new(example("chat_server"));
        command.args(arguments);
        let ended = Program::start("chat_server", command).finish();
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("usage: "), "{ended:?}");
        assert!(ended.stderr.contains(said), "{said:?} in {ended:?}");
    }
}
