//! The echo servers, run as programs, with Python's sockets as their clients.

// A test that cannot go on should say so and fail; these helpers are part of one.

use fdloop::Backend;

use crate::common::TempDir;
use crate::common::programs::{
    ANY_PORT, Program, assert_grew_at_most, python, server, with_each_backend,
};

/// Runs a test for each example that is an echo server, on each backend.
#[track_caller]
fn with_each_server(test: impl Fn(&str, Backend) + Sync) {
    with_each_backend(|backend| {
        test("echo_server", backend);
        if cfg!(feature = "coroutines") {
            test("coroutine_echo", backend);
        }
    });
}

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
    with_each_server(|name, backend| {
        let directory = TempDir::new();
        for address in [ANY_PORT, "[::1]:0", &directory.file("echo")] {
            let (server, address) = server(name, backend, &[address]);
            python(ECHO, &[&address]);
            server.end_with("TERM");
        }
    });
}

#[test]
fn echo_server_keeps_a_thousand_connections_apart() {
    // All connections are established before the first byte is sent.
    let script = r#"
import resource, selectors
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
    with_each_server(|name, backend| {
        let arguments = [ANY_PORT];
        let mut server = Program::example_with_many_descriptors(name, backend, &arguments);
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
    with_each_server(|name, backend| {
        let (server, address) = server(name, backend, &[ANY_PORT]);
        let before = server.peak_memory();
        let mut client = Program::python(script, &[&address]);
        assert_eq!(client.line(), "stalled");
        client.tell("go on");
        client.succeed();
        assert_grew_at_most(2 << 10, before, server.peak_memory());
        server.end_with("TERM");
    });
}
