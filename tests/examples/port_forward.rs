//! The forwarder, run as a program, with clients and servers that are not ours:
//! Python's sockets and its `http.server`, and curl and nc where there are any.

// A test that cannot go on should say so and fail; these helpers are part of one.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::TempDir;
use crate::common::programs::{
    ANY_PORT, HTTP_SERVER, Program, assert_grew_at_most, directory_to_serve, exists, python,
    server, with_each_backend,
};
use fdloop::Backend;

/// Runs a Python program that is both the remote and the client: `remote` listens,
/// and `client()` and `server()` give the two ends of a new connection through the
/// forwarder.
#[track_caller]
fn through_forwarder(backend: Backend, listen: &str, remote: &str, script: &str) {
    let setup = r#"
remote = listen(sys.argv[1], rcvbuf=65536)
forwarder = hear()
def client():
    return connect(forwarder)
def server():
    return accept(remote)
def send_until_stalled(s, data):
    'How much of it was sent before nothing went any more.'
    patience, sent = s.gettimeout(), 0
    s.settimeout(2)
    try:
        while sent < len(data):
            sent += s.send(data[sent:sent + 65536])
    except TimeoutError:
        pass
    s.settimeout(patience)
    return sent
"#;
    let mut both = Program::python(&format!("{setup}\n{script}"), &[remote]);
    let remote = both.address();
    let (forwarder, address) = server("port_forward", backend, &[listen, &remote]);
    let before = forwarder.peak_memory();
    both.tell(&address);
    both.succeed();
    assert_grew_at_most(3 << 10, before, forwarder.peak_memory());
    forwarder.end_with("TERM");
}

#[track_caller]
fn through_forwarder_on_ipv4(script: &str) {
    with_each_backend(|backend| through_forwarder(backend, ANY_PORT, ANY_PORT, script));
}

#[test]
fn port_forward_carries_both_directions_at_once_in_little_memory() {
    // One side at a time is slow: it reads nothing until it has sent everything.
    let script = r#"
up, down = noise(10 << 20, 3), noise(10 << 20, 4)
def talk(s, sends, gets, slow):
    send = lambda: (s.sendall(sends), s.shutdown(socket.SHUT_WR))
    sending = background(send)
    if slow:
        sending()
    check(read_all(s), gets, 'the stream')
    sending()
for slow in 'client', 'server':
    c = client(); s = server()
    there = background(talk, s, down, up, slow == 'server')
    talk(c, up, down, slow == 'client')
    there()
"#;
    through_forwarder_on_ipv4(script);
    let directory = TempDir::new();
    let (listen, remote) = (directory.file("listen"), directory.file("remote"));
    through_forwarder(Backend::default(), &listen, &remote, script);
}

#[test]
fn port_forward_holds_back_a_side_that_is_faster_than_the_other() {
    through_forwarder_on_ipv4(
        r#"
data = noise(64 << 20, 5)
for fast, slow in (0, 1), (1, 0):
    ends = [client(), server()]
    fast, slow = ends[fast], ends[slow]
    sent = send_until_stalled(fast, data)
    assert sent < len(data), 'it took everything'
    # The other direction is not affected.
    slow.sendall(b'hello')
    assert read_exactly(fast, 5) == b'hello'
    fast.close()
    check(read_all(slow), data[:sent], 'what was held back')
"#,
    );
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux tells what it holds")]
fn port_forward_holds_at_most_256_kib_a_direction() {
    // What was sent and is in none of the kernel's queues is in the forwarder. A byte
    // that was received and not yet acknowledged is in two of them; there is none when
    // nothing moves any more.
    let script = r#"
import time
def in_queues(up_links):
    'The bytes that wait in the sockets on the way up and on the way down.'
    up = down = 0
    with open('/proc/net/tcp') as table:
        next(table)
        for line in table:
            _, local, remote, _, queues = line.split()[:5]
            local, remote = (int(end.split(':')[1], 16) for end in (local, remote))
            output, input = (int(queue, 16) for queue in queues.split(':'))
            if (local, remote) in up_links:
                up, down = up + output, down + input
            elif (remote, local) in up_links:
                up, down = up + input, down + output
    return up, down

def in_queues_at_rest(up_links):
    before = None
    while (now := in_queues(up_links)) != before:
        before = now
        time.sleep(0.3)
    return now

sent, data = {}, bytes(64 << 20)
def fill(direction, s):
    sent[direction] = send_until_stalled(s, data)
c = client(); s = server()
up = background(fill, 'up', c)
fill('down', s)
up()
# The ports of both connections, from the client's side to the server's. One port does
# not tell a connection: the kernel gives it to others that lead elsewhere.
up_links = {
    (c.getsockname()[1], c.getpeername()[1]),
    (s.getpeername()[1], s.getsockname()[1]),
}
for direction, queued in zip(('up', 'down'), in_queues_at_rest(up_links)):
    held = sent[direction] - queued
    # It reads on while there is room for one more piece.
    what = '%d of %d bytes are held on the way %s' % (held, sent[direction], direction)
    assert (256 - 64) << 10 < held <= 256 << 10, what
"#;
    through_forwarder_on_ipv4(script);
}

#[test]
fn port_forward_passes_half_closes_on() {
    through_forwarder_on_ipv4(
        r#"
for first, second in (0, 1), (1, 0):
    ends = [client(), server()]
    first, second = ends[first], ends[second]
    first.sendall(b'a question')
    first.shutdown(socket.SHUT_WR)
    assert read_all(second) == b'a question'
    # The first can still listen.
    second.sendall(b'an answer')
    assert read_exactly(first, 9) == b'an answer'
    second.shutdown(socket.SHUT_WR)
    assert first.recv(1) == b''
"#,
    );
}

#[test]
fn port_forward_delivers_all_that_was_sent_before_a_close() {
    through_forwarder_on_ipv4(
        r#"
data = noise(3 << 20, 6)
for first, second in (0, 1), (1, 0):
    ends = [client(), server()]
    first, second = ends[first], ends[second]
    first.sendall(data)
    first.close()
    check(read_all(second), data, 'what was sent before the close')
    # The second talks to nobody any more, and learns it at last.
    try:
        while True:
            second.sendall(bytes(65536))
    except (BrokenPipeError, ConnectionResetError):
        pass
"#,
    );
}

#[test]
fn port_forward_delivers_what_it_received_before_a_reset() {
    // A Unix socket that is closed with something unread resets the connection, but
    // nothing that it sent is lost.
    let script = r#"
data = noise(4 << 20, 7)
c = client(); s = server()
s.sendall(b'unread')
assert c.recv(1, socket.MSG_PEEK) == b'u'
sent = send_until_stalled(c, data)
c.close()
check(read_all(s), data[:sent], 'what was sent before the reset')
"#;
    with_each_backend(|backend| {
        let directory = TempDir::new();
        let (listen, remote) = (directory.file("listen"), directory.file("remote"));
        through_forwarder(backend, &listen, &remote, script);
    });
}

#[test]
fn port_forward_passes_resets_on() {
    through_forwarder_on_ipv4(
        r#"
for first, second in (0, 1), (1, 0):
    ends = [client(), server()]
    first, second = ends[first], ends[second]
    first.sendall(b'hello')
    assert read_exactly(second, 5) == b'hello'
    reset(first)
    try:
        got = second.recv(1)
        raise AssertionError('no reset, but %r' % got)
    except ConnectionResetError:
        pass
"#,
    );
}

#[test]
fn port_forward_ends_a_connection_when_a_side_that_closed_answers_with_a_reset() {
    let script = r#"
remote = listen(sys.argv[1])
forwarder = hear()
seconds = []
for number in range(40):
    ends = [connect(forwarder), accept(remote)]
    first, second = ends if number % 2 else reversed(ends)
    first.sendall(b'hello')
    first.close()
    assert read_all(second) == b'hello'
    seconds.append(second)
say('closed')
while hear() == 'talk':
    for second in seconds:
        try:
            second.send(b'.')
        except (BrokenPipeError, ConnectionResetError):
            pass
    say('talked')
"#;
    with_each_backend(|backend| {
        let mut both = Program::python(script, &[ANY_PORT]);
        let remote = both.address();
        let (forwarder, address) = server("port_forward", backend, &[ANY_PORT, &remote]);
        let before = forwarder.descriptors();
        both.tell(&address);
        assert_eq!(both.line(), "closed");
        // The peer sends a reset for the first byte, which the next send finds.
        wait_until("the connections have ended", || {
            both.tell("talk");
            assert_eq!(both.line(), "talked");
            forwarder.descriptors() == before
        });
        both.tell("enough");
        both.succeed();
        forwarder.end_with("TERM");
    });
}

#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "only Linux tells what is open, and has POLLRDHUP"
)]
fn port_forward_ends_a_connection_when_a_side_that_half_closed_is_reset() {
    // Half of the sides that are reset are clients, and half are the remote's.
    let script = r#"
import select
remote = listen(sys.argv[1], rcvbuf=65536)
forwarder = hear()
data = noise(20000, 8)
def wait_for_the_end_behind_the_data(s):
    poll = select.poll()
    poll.register(s, select.POLLRDHUP)
    assert poll.poll(100000)

pairs = []
for number in range(60):
    ends = [connect(forwarder), accept(remote)]
    pairs.append(ends if number % 2 else ends[::-1])
for first, second in pairs:
    first.sendall(data)
    first.shutdown(socket.SHUT_WR)
    wait_for_the_end_behind_the_data(second)
say('half-closed')
hear()
for first, _ in pairs:
    reset(first)
say('reset')
# The others are silent, and have read nothing yet.
hear()
for _, second in pairs:
    check(read_all(second), data, 'what was sent before the reset')
    try:
        while True:
            second.sendall(b'to a side that is gone')
    except (BrokenPipeError, ConnectionResetError):
        pass
# A half-close alone ends nothing.
c = connect(forwarder); s = accept(remote)
c.shutdown(socket.SHUT_WR)
assert read_all(s) == b''
s.sendall(data)
s.close()
check(read_all(c), data, 'the answer')
"#;
    with_each_backend(|backend| {
        let mut both = Program::python(script, &[ANY_PORT]);
        let remote = both.address();
        let (forwarder, address) = server("port_forward", backend, &[ANY_PORT, &remote]);
        let before = forwarder.descriptors();
        both.tell(&address);
        assert_eq!(both.line(), "half-closed");
        let open = before.map(|before| before + 2 * 60);
        assert_eq!(forwarder.descriptors(), open, "a half-close ends nothing");
        both.tell("reset");
        assert_eq!(both.line(), "reset");
        wait_until("the connections have ended", || {
            forwarder.descriptors() == before
        });
        both.tell("go on");
        both.succeed();
        forwarder.end_with("TERM");
    });
}

/// Repeats a check until it succeeds.
#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn port_forward_survives_a_remote_that_refuses() {
    let script = r#"
remote = listen(sys.argv[1])
address = show(remote.getsockname())
forwarder = hear()
remote.close()
for _ in range(3):
    assert connect(forwarder).recv(1) == b''
remote = listen(address)
c = connect(forwarder); s = accept(remote)
c.sendall(b'hello')
assert read_exactly(s, 5) == b'hello'
"#;
    with_each_backend(|backend| {
        let directory = TempDir::new();
        for kind in ["tcp", "unix"] {
            // A path that the second `listen` binds must be free: it is another.
            let script = match kind {
                "tcp" => script.to_owned(),
                _ => script.replace("remote.close()", "remote.close(); os.unlink(address)"),
            };
            let remote = match kind {
                "tcp" => ANY_PORT.to_owned(),
                _ => directory.file("remote"),
            };
            let script = script.replace("remote = listen(sys.argv[1])", REUSING_LISTENER);
            let mut both = Program::python(&script, &[&remote]);
            let remote = both.address();
            let (forwarder, address) = server("port_forward", backend, &[ANY_PORT, &remote]);
            both.tell(&address);
            both.succeed();
            forwarder.signal("TERM");
            let ended = forwarder.succeed();
            let complaints: Vec<_> = ended.stderr.lines().collect();
            assert_eq!(complaints.len(), 3, "{complaints:?}");
            assert!(complaints[0].contains(&remote), "{complaints:?}");
        }
    });
}

#[test]
fn the_path_of_a_peer_is_shown_escaped() {
    let script = r#"
family, address = split(sys.argv[1])
s = socket.socket(family)
s.settimeout(100)
s.bind(sys.argv[2] + '\x1b[31m\xff')
s.connect(address)
assert s.recv(1) == b''
"#;
    with_each_backend(|backend| {
        let directory = TempDir::new();
        let (listen, remote) = (directory.file("listen"), directory.file("none"));
        let (forwarder, address) = server("port_forward", backend, &[&listen, &remote]);
        let client = directory.file("client");
        python(script, &[&address, &client]);
        forwarder.signal("TERM");
        let stderr = forwarder.succeed().stderr;
        assert!(
            stderr.contains(&format!("{client}\\x1b[31mÿ")),
            "{stderr:?}"
        );
        assert!(!stderr.contains('\x1b'), "{stderr:?}");
    });
}

/// A listener whose port can be listened on again at once.
const REUSING_LISTENER: &str = r#"
plain = socket.socket
class Reusing(plain):
    def bind(self, address):
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        super().bind(address)
socket.socket = Reusing
remote = listen(sys.argv[1])
"#;

#[test]
fn curl_and_nc_talk_through_port_forward() {
    let (files, content) = directory_to_serve();
    with_each_backend(|backend| {
        if exists("curl", "--version") {
            let mut remote = Program::python(HTTP_SERVER, &[ANY_PORT, &files.file("")]);
            let (forwarder, address) =
                server("port_forward", backend, &[ANY_PORT, &remote.address()]);
            let mut command = Command::new("curl");
            command.args(["-sS", "--noproxy", "*", &format!("http://{address}/large")]);
            let ended = Program::start("curl", command).succeed();
            assert!(ended.stdout == content, "{} bytes", ended.stdout.len());
            forwarder.end_with("INT");
        }
        // Netcats differ in how they end, so it is the remote that ends this.
        if exists("nc", "-h") {
            let script = "l = listen('127.0.0.1:0'); s = accept(l); \
                          assert read_exactly(s, 6) == b'hello\\n'; s.sendall(b'goodbye\\n')";
            let mut remote = Program::python(script, &[]);
            let (forwarder, address) =
                server("port_forward", backend, &[ANY_PORT, &remote.address()]);
            let (host, port) = address.rsplit_once(':').expect("a port");
            let mut command = Command::new("nc");
            command.args([host, port]);
            let mut nc = Program::start("nc", command);
            nc.tell("hello");
            assert_eq!(nc.line(), "goodbye");
            remote.succeed();
            forwarder.end_with("INT");
        }
    });
}
