//! The server that refuses, run as a program, with Python's sockets as its clients.

// A test that cannot go on should say so and fail; these helpers are part of one.

use crate::common::TempDir;
use crate::common::programs::{ANY_PORT, python, server, with_each_backend};

#[test]
fn refuse_closes_every_connection_at_once() {
    let script = r#"
for _ in range(100):
    assert connect(sys.argv[1]).recv(1) == b''
"#;
    with_each_backend(|backend| {
        let directory = TempDir::new();
        for address in [ANY_PORT, "[::1]:0", &directory.file("refuse")] {
            let (server, address) = server("refuse", backend, &[address]);
            python(script, &[&address]);
            server.end_with("INT");
        }
    });
}
