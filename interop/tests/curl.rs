//! curl talks to the server, on every backend, with TLS and without.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A server that runs, and is killed in the end.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(backend: &str, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fdloop-interop"));
        command.args([backend, "127.0.0.1:0"]).args(more);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn curl(arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60"]);
    let output = command.args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output.stdout
}

/// Sends a small request and a large one on one connection.
fn talk(url: &str, trust: &[&str]) {
    let file = directory().join("large");
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(&file, &large).unwrap();
    let upload = format!("@{}", file.display());
    let (first, second) = (format!("{url}/hello"), format!("{url}/large"));
    let mut arguments = trust.to_vec();
    arguments.extend([first.as_str(), "--next"]);
    arguments.extend(["--silent", "--show-error"]);
    arguments.extend(trust);
    arguments.extend(["--data-binary", &upload, &second]);
    let answer = curl(&arguments);
    let expected = [b"GET /hello\nPOST /large\n", &large[..]].concat();
    assert!(answer == expected, "{} bytes", answer.len());
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

#[test]
fn curl_speaks_http_with_hyper() {
    for backend in ["select", "poll"] {
        let server = Server::start(backend, &[]);
        talk(&format!("http://127.0.0.1:{}", server.port), &[]);
    }
}

#[test]
fn curl_speaks_https_with_rustls() {
    let (certificate, key) = (directory().join("cert.pem"), directory().join("key.pem"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let mut command = Command::new("openssl");
    command.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    ]);
    command.args([
        "-keyout",
        key,
        "-out",
        certificate,
        "-subj",
        "/CN=localhost",
    ]);
    command.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    let made = command.output().unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for backend in ["select", "poll"] {
        let server = Server::start(backend, &[certificate, key]);
        let url = format!("https://127.0.0.1:{}", server.port);
        talk(&url, &["--cacert", certificate]);
    }
}
