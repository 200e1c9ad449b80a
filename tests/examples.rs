//! The four classic examples, run as programs, with clients and servers that are
//! not ours: Python's sockets and its `http.server`, and curl and nc where there
//! are any.

// A test that cannot go on should say so and fail; these helpers are part of one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Shown only where a test fails: with which backend.
#![allow(clippy::print_stdout)]

#[path = "support/example_directory.rs"]
mod directory;
#[path = "support/example_program.rs"]
mod program;

use std::fs;
use std::process::Command;

use directory::Directory;
use fdloop::Backend;
use program::{Ended, Program, example};

const ANY_PORT: &str = "127.0.0.1:0";

/// Does the same with each backend.
#[track_caller]
fn with_each_backend(test: impl Fn(Backend)) {
    for backend in Backend::ALL {
        println!("with {backend}:");
        test(*backend);
    }
}

/// Starts a server where it likes, and gives its address too.
#[track_caller]
fn server(name: &str, backend: Backend, arguments: &[&str]) -> (Program, String) {
    let mut server = Program::example(name, backend, arguments);
    let address = server.address();
    (server, address)
}

/// Runs a Python program that must succeed.
#[track_caller]
fn python(script: &str, arguments: &[&str]) -> Ended {
    Program::python(script, arguments).succeed()
}

/// Runs an example that ends by itself.
#[track_caller]
fn run(name: &str, backend: Backend, arguments: &[&str]) -> Ended {
    Program::example(name, backend, arguments).finish()
}

/// Whether there is such a program.
fn exists(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok()
}

// --- all of them -----------------------------------------------------------------

#[track_caller]
fn assert_usage(name: &str, arguments: &[&str], said: &str) {
    let mut command = Command::new(example(name));
    command.args(arguments);
    let ended = Program::start(name, command).finish();
    assert_eq!(ended.code, Some(2), "{name} {arguments:?}: {ended:?}");
    assert!(ended.stderr.contains("usage: "), "{ended:?}");
    assert!(ended.stderr.contains(said), "{said:?} in {ended:?}");
}

#[test]
fn nonsense_arguments_are_refused_with_the_usage() {
    for name in ["echo_server", "refuse"] {
        assert_usage(name, &["nonsense"], "nonsense");
        assert_usage(name, &["127.0.0.1:99999"], "127.0.0.1:99999");
        assert_usage(name, &["127.0.0.1:0", "surplus"], "surplus");
        assert_usage(name, &["--unknown"], "--unknown");
        assert_usage(name, &["--backend", "epoll"], "epoll");
        assert_usage(name, &["--backend"], "--backend needs a value");
    }
    assert_usage("port_forward", &[ANY_PORT], "REMOTE is missing");
    assert_usage("port_forward", &[ANY_PORT, "nonsense"], "nonsense");
    assert_usage("http_client", &[], "URL is missing");
    assert_usage("http_client", &["https://localhost/"], "https");
    assert_usage("http_client", &["http://"], "HOST");
    assert_usage("http_client", &["http://localhost:port/"], "HOST");
    assert_usage("http_client", &["http://localhost/a b"], "blanks");
}

#[test]
fn the_usage_can_be_asked_for() {
    for name in ["echo_server", "refuse", "http_client", "port_forward"] {
        let mut command = Command::new(example(name));
        command.arg("--help");
        let ended = Program::start(name, command).succeed();
        assert!(ended.stdout.starts_with(b"usage: "), "{ended:?}");
    }
}

#[test]
fn an_address_in_use_is_named() {
    with_each_backend(|backend| {
        let (_first, address) = server("echo_server", backend, &[ANY_PORT]);
        for (name, more) in [("echo_server", None), ("port_forward", Some("127.0.0.1:1"))] {
            let mut arguments = vec![address.as_str()];
            arguments.extend(more);
            let ended = run(name, backend, &arguments);
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains(&address), "{ended:?}");
        }
    });
}

#[test]
fn sigterm_and_sigint_end_a_server_in_order() {
    with_each_backend(|backend| {
        for signal in ["TERM", "INT"] {
            for (name, more) in [
                ("echo_server", None),
                ("refuse", None),
                ("port_forward", Some(ANY_PORT)),
            ] {
                let directory = Directory::new();
                let path = directory.file("socket");
                let mut arguments = vec![path.as_str()];
                arguments.extend(more);
                let (server, address) = server(name, backend, &arguments);
                assert_eq!(address, path);
                assert_eq!(directory.names(), ["socket"]);
                server.end_with(signal);
                assert!(directory.names().is_empty(), "the socket is removed");
            }
        }
    });
}

// --- echo_server -----------------------------------------------------------------

/// Sends and gets back, over one connection, up to a half-close.
const ECHO: &str = r#"
s = connect(sys.argv[1])
data = noise(300000, 1)
sending = background(lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
check(read_all(s), data, 'the echo')
sending()
"#;

#[test]
fn echo_server_speaks_ipv4_ipv6_and_unix() {
    with_each_backend(|backend| {
        let directory = Directory::new();
        for address in [ANY_PORT, "[::1]:0", &directory.file("echo")] {
            let (server, address) = server("echo_server", backend, &[address]);
            python(ECHO, &[&address]);
            server.end_with("TERM");
        }
    });
}

#[test]
fn echo_server_keeps_a_thousand_connections_apart() {
    // All stand before the first byte is sent.
    let script = r#"
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))

class Client:
    def __init__(self, number):
        self.data = noise(1000 + 37 * number % 20000, number)
        self.sent, self.received = 0, bytearray()
        self.socket = connect(sys.argv[1])
        self.socket.setblocking(False)

    def send(self):
        self.sent += self.socket.send(self.data[self.sent:])
        if self.sent == len(self.data):
            self.socket.shutdown(socket.SHUT_WR)
            selector.modify(self.socket, selectors.EVENT_READ, self)

    def receive(self):
        piece = self.socket.recv(65536)
        self.received += piece
        if not piece:
            selector.unregister(self.socket)
            self.socket.close()
        return bool(piece)

selector = selectors.DefaultSelector()
clients = [Client(number) for number in range(1000)]
for client in clients:
    selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
left = len(clients)
while left:
    for key, events in selector.select():
        if events & selectors.EVENT_READ and not key.data.receive():
            left -= 1
        elif events & selectors.EVENT_WRITE:
            key.data.send()
for number, client in enumerate(clients):
    check(bytes(client.received), client.data, 'connection %d' % number)
"#;
    with_each_backend(|backend| {
        let arguments = [ANY_PORT];
        let mut server = Program::example_with_many_descriptors("echo_server", backend, &arguments);
        let address = server.address();
        python(script, &[&address]);
        server.end_with("TERM");
    });
}

#[test]
fn echo_server_stops_reading_a_client_that_never_reads() {
    let script = r#"
s = connect(sys.argv[1])
s.settimeout(2)
data, sent = noise(64 << 20, 2), 0
try:
    while sent < len(data):
        sent += s.send(data[sent:sent + 65536])
except TimeoutError:
    pass
assert sent < len(data), 'it took everything'
say('stalled')
hear()
s.settimeout(100)
s.shutdown(socket.SHUT_WR)
check(read_all(s), data[:sent], 'the echo')
"#;
    with_each_backend(|backend| {
        let (server, address) = server("echo_server", backend, &[ANY_PORT]);
        let before = server.peak_memory();
        let mut client = Program::python(script, &[&address]);
        assert_eq!(client.line(), "stalled");
        client.tell("go on");
        client.succeed();
        assert_grew_at_most(2 << 10, before, server.peak_memory());
        server.end_with("TERM");
    });
}

/// Memory in KiB, where the system tells.
#[track_caller]
fn assert_grew_at_most(most: u64, before: Option<u64>, after: Option<u64>) {
    if let (Some(before), Some(after)) = (before, after) {
        let grown = after - before;
        assert!(
            grown <= most,
            "memory grew by {grown} KiB, from {before} to {after}"
        );
    }
}

// --- refuse ----------------------------------------------------------------------

#[test]
fn refuse_closes_every_connection_at_once() {
    let script = r#"
for _ in range(100):
    assert connect(sys.argv[1]).recv(1) == b''
"#;
    with_each_backend(|backend| {
        let directory = Directory::new();
        for address in [ANY_PORT, "[::1]:0", &directory.file("refuse")] {
            let (server, address) = server("refuse", backend, &[address]);
            python(script, &[&address]);
            server.end_with("INT");
        }
    });
}

// --- http_client -----------------------------------------------------------------

/// Python's own server, of the files in a directory, on an address.
const HTTP_SERVER: &str = r#"
import functools, http.server, socketserver
family, address = split(sys.argv[1])
class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    address_family = family
    daemon_threads = True
class Handler(http.server.SimpleHTTPRequestHandler):
    def address_string(self):
        return 'client'
server = Server(address, functools.partial(Handler, directory=sys.argv[2]))
say('listening on', show(server.server_address))
server.serve_forever()
"#;

/// A server that answers one request with what its second argument evaluates to,
/// and then does what the third says.
const ONE_ANSWER: &str = r#"
l = listen(sys.argv[1])
s = accept(l)
request = b''
while not request.endswith(b'\r\n\r\n'):
    piece = s.recv(65536)
    assert piece, request
    request += piece
for piece in eval(sys.argv[2]):
    s.sendall(piece)
if sys.argv[3] == 'reset':
    hear()
    reset(s)
else:
    s.close()
"#;

/// A file of several megabytes, and a second one that is empty.
#[track_caller]
fn directory_to_serve() -> (Directory, Vec<u8>) {
    let directory = Directory::new();
    // Any bytes that no shift of them equals will do.
    let content: Vec<u8> = (0..5_000_003_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(directory.file("large"), &content).unwrap();
    fs::write(directory.file("empty"), b"").unwrap();
    (directory, content)
}

#[test]
fn http_client_fetches_from_http_server() {
    let (files, content) = directory_to_serve();
    let sockets = Directory::new();
    with_each_backend(|backend| {
        let unix = sockets.file(&backend.to_string());
        for address in [ANY_PORT, "[::1]:0", &unix] {
            let served = files.file("");
            let mut server = Program::python(HTTP_SERVER, &[address, &served]);
            let base = match server.address() {
                path if path.starts_with('/') => format!("http+unix:{path}:"),
                address => format!("http://{address}"),
            };
            let ended = run("http_client", backend, &[&format!("{base}/large")]);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(ended.stdout == content, "{} bytes", ended.stdout.len());
            assert_eq!(ended.stderr, "", "no progress where there is no terminal");
            let ended = run("http_client", backend, &[&format!("{base}/empty?a#b")]);
            assert_eq!((ended.code, ended.stdout), (Some(0), Vec::new()));
        }
    });
}

#[test]
fn http_client_writes_a_file_whole_or_not_at_all() {
    let (files, content) = directory_to_serve();
    with_each_backend(|backend| {
        let mut server = Program::python(HTTP_SERVER, &[ANY_PORT, &files.file("")]);
        let base = format!("http://{}", server.address());
        let into = Directory::new();
        let file = into.file("copy");
        fs::write(&file, "old").unwrap();

        let ended = run(
            "http_client",
            backend,
            &[&format!("{base}/none"), "-o", &file],
        );
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("404"), "{ended:?}");
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(into.names(), ["copy"], "nothing else is left");

        let ended = run(
            "http_client",
            backend,
            &["-o", &file, &format!("{base}/large")],
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.is_empty());
        assert!(fs::read(&file).unwrap() == content);
        assert_eq!(into.names(), ["copy"], "nothing else is left");

        // What is no regular file is not replaced by one.
        let ended = run(
            "http_client",
            backend,
            &["-o", "/dev/null", &format!("{base}/large")],
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!fs::metadata("/dev/null").unwrap().is_file());

        let nowhere = into.file("no/such");
        let ended = run(
            "http_client",
            backend,
            &["-o", &nowhere, &format!("{base}/large")],
        );
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.stderr.contains("no/such") || ended.stderr.contains("no/."),
            "{ended:?}"
        );
    });
}

/// Fetches from a server with that answer, which is a Python expression.
#[track_caller]
fn fetch(backend: Backend, answer: &str, then: &str) -> Ended {
    let mut server = Program::python(ONE_ANSWER, &[ANY_PORT, answer, then]);
    let url = format!("http://{}/", server.address());
    let mut client = Program::example("http_client", backend, &[&url]);
    if then == "reset" {
        // The body has come that far.
        let piece = client.piece();
        assert_eq!(piece.as_deref(), Some(&b"some"[..]));
        server.tell("go on");
    }
    let ended = client.finish();
    server.succeed();
    ended
}

#[track_caller]
fn assert_fetch_fails(backend: Backend, answer: &str, then: &str, said: &str) {
    let ended = fetch(backend, answer, then);
    assert_eq!(ended.code, Some(1), "{answer}: {ended:?}");
    assert!(
        ended.stderr.contains(said),
        "{answer}: {said:?} in {ended:?}"
    );
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn http_client_says_what_failed() {
    with_each_backend(|backend| {
        let fails = |answer, said| assert_fetch_fails(backend, answer, "close", said);
        fails("[]", "without an answer");
        fails("[b'220 smtp.example ESMTP']", "does not speak HTTP");
        fails("[b'HTTP/1.0 OK\\r\\n\\r\\n']", "does not speak HTTP");
        fails("[b'HTTP/1.0 200 OK\\r\\nA: b\\r\\n']", "within the header");
        fails(
            "[b'HTTP/1.0 200 OK\\r\\n', b'A: b\\r\\n' * 20000]",
            "longer than",
        );
        fails(
            "[b'HTTP/1.0 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nabc']",
            "3 of 10 bytes",
        );
        fails(
            "[b'HTTP/1.0 200 OK\\r\\nContent-Length: +3\\r\\n\\r\\nabc']",
            "+3",
        );
        fails(
            "[b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n']",
            "HTTP/1.1",
        );
        fails(
            "[b'HTTP/1.0 404 Not Found\\r\\n\\r\\nsorry']",
            "404 Not Found",
        );
        fails(
            "[b'HTTP/1.0 302 Found\\r\\nLocation: /there\\r\\n\\r\\n']",
            "/there",
        );
        let some = "[b'HTTP/1.0 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nsome']";
        assert_fetch_fails(backend, some, "reset", "reset");
        let some = "[b'HTTP/1.0 200 OK\\r\\n\\r\\nsome']";
        assert_fetch_fails(backend, some, "reset", "after 4 bytes");
    });
}

#[test]
fn http_client_takes_an_answer_in_any_pieces() {
    let answer = "b'HTTP/1.0 200 OK\\r\\nContent-length:  5\\r\\nX: y\\r\\n\\r\\nabcde'";
    with_each_backend(|backend| {
        for pieces in [
            format!("[{answer}]"),
            format!("[bytes([byte]) for byte in {answer}]"),
            format!("[{answer} + b'more than was said']"),
            // A server without carriage returns, and without a length.
            "[b'HTTP/1.0 200\\nA: b\\n\\nabcde']".to_owned(),
        ] {
            let ended = fetch(backend, &pieces, "close");
            assert_eq!(ended.code, Some(0), "{pieces}: {ended:?}");
            assert_eq!(ended.stdout, b"abcde", "{pieces}");
        }
    });
}

#[test]
fn http_client_says_who_cannot_be_reached() {
    // A port that nobody listens on, and nobody will: it is bound.
    let script = "s = socket.socket(); s.bind(('127.0.0.1', 0)); \
                  say('listening on', show(s.getsockname())); hear()";
    let mut bound = Program::python(script, &[]);
    let refusing = bound.address();
    with_each_backend(|backend| {
        for (url, host, said) in [
            (format!("http://{refusing}/"), refusing.as_str(), "refused"),
            (
                "http://no-such-host.invalid/".to_owned(),
                "no-such-host.invalid",
                "cannot resolve",
            ),
            (
                "http+unix:/no/such/socket:/".to_owned(),
                "/no/such/socket",
                "No such file",
            ),
        ] {
            let ended = run("http_client", backend, &[&url]);
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains(host), "{ended:?}");
            assert!(ended.stderr.contains(said), "{said:?} in {ended:?}");
        }
    });
}

#[test]
fn http_client_holds_little_of_a_body_that_nobody_reads() {
    // A hundred times one megabyte, as fast as it is taken.
    let script = r#"
l = listen('127.0.0.1:0')
s = accept(l)
s.recv(65536)
s.sendall(b'HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n' % (100 << 20))
data, sent = bytes(i * i % 251 for i in range(1 << 20)), 0
s.settimeout(2)
while sent < 100 << 20:
    try:
        sent += s.send(data[sent & 0xfffff:])
    except TimeoutError:
        s.settimeout(100)
        say('stalled')
say('done')
"#;
    let megabyte: Vec<u8> = (0..1_u64 << 20).map(|i| (i * i % 251) as u8).collect();
    with_each_backend(|backend| {
        let mut server = Program::python(script, &[]);
        let url = format!("http://{}/", server.address());
        let mut client = Program::example("http_client", backend, &[&url]);
        assert_eq!(server.line(), "stalled");

        let mut received = 0;
        while received < 100 << 20 {
            let piece = client.piece().expect("the rest of the body");
            let mut rest = piece.as_slice();
            while !rest.is_empty() {
                let expected = &megabyte[received & 0xf_ffff..];
                let n = rest.len().min(expected.len());
                assert!(rest[..n] == expected[..n], "it differs at {received}");
                rest = &rest[n..];
                received += n;
            }
            if received > 90 << 20
                && received - piece.len() <= 90 << 20
                && let Some(peak) = client.peak_memory()
            {
                assert!(peak < 20 << 10, "{peak} KiB");
            }
        }
        client.succeed();
        server.succeed();
    });
}

#[test]
fn http_client_fails_when_nobody_reads_its_output() {
    let (files, _) = directory_to_serve();
    with_each_backend(|backend| {
        let mut server = Program::python(HTTP_SERVER, &[ANY_PORT, &files.file("")]);
        let url = format!("http://{}/large", server.address());
        let mut client = Program::example("http_client", backend, &[&url]);
        client.close_stdout();
        let ended = client.finish();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("cannot write the body"), "{ended:?}");
    });
}

#[test]
fn http_client_shows_its_progress_on_a_terminal() {
    let script = r#"
import pty, subprocess
ours, theirs = pty.openpty()
client = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=theirs)
os.close(theirs)
body = client.stdout.read()
shown = b''
try:
    while piece := os.read(ours, 1000):
        shown += piece
except OSError:
    pass  # how Linux reports the end of a terminal
assert client.wait() == 0, shown
assert shown.endswith(b'\r%d of %d bytes, 100%%\r\n' % (len(body), len(body))), shown
"#;
    let (files, _) = directory_to_serve();
    with_each_backend(|backend| {
        let mut server = Program::python(HTTP_SERVER, &[ANY_PORT, &files.file("")]);
        let url = format!("http://{}/large", server.address());
        let client = example("http_client");
        let client = client.to_str().expect("a path in UTF-8");
        python(script, &[client, "--backend", &backend.to_string(), &url]);
    });
}

// --- port_forward ----------------------------------------------------------------

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
    let directory = Directory::new();
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
    fast.settimeout(2)
    sent = 0
    try:
        while sent < len(data):
            sent += fast.send(data[sent:sent + 65536])
    except TimeoutError:
        pass
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
data, sent = noise(4 << 20, 7), 0
c = client(); s = server()
s.sendall(b'unread')
assert c.recv(1, socket.MSG_PEEK) == b'u'
c.settimeout(2)
try:
    while sent < len(data):
        sent += c.send(data[sent:sent + 65536])
except TimeoutError:
    pass
c.close()
check(read_all(s), data[:sent], 'what was sent before the reset')
"#;
    with_each_backend(|backend| {
        let directory = Directory::new();
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
        let directory = Directory::new();
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
