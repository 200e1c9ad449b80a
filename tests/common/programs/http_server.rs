//! Python's own web server, and its files.

use std::fs;

use crate::common::TempDir;

/// Starts Python's own server for the files in a directory, on an address.
pub const HTTP_SERVER: &str = r#"
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

/// Makes a file of several megabytes, and an empty one.
#[track_caller]
pub fn directory_to_serve() -> (TempDir, Vec<u8>) {
    let directory = TempDir::new();
    // Bytes that differ from each shift of themselves.
    let content: Vec<u8> = (0..5_000_003_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(directory.file("large"), &content).unwrap();
    fs::write(directory.file("empty"), b"").unwrap();
    (directory, content)
}
