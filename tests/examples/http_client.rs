//! The HTTP client, run as a program, with servers that are not ours: Python's
//! `http.server` and sockets.

// A test that cannot go on should say so and fail; these helpers are part of one.

use std::fs;

use crate::common::TempDir;
use crate::common::programs::{
    ANY_PORT, Ended, HTTP_SERVER, Program, directory_to_serve, example, python, run,
    with_each_backend,
};
use fdloop::Backend;

/// A server that sends one response for each line of stdin: a Python expression for the pieces of
/// the response, a tab, and "close" or "reset".
const RESPONSES: &str = r#"
l = listen(sys.argv[1])
for line in sys.stdin:
    pieces, then = line.rstrip('\n').split('\t')
    s = accept(l)
    request = b''
    while not request.endswith(b'\r\n\r\n'):
        piece = s.recv(65536)
        assert piece, request
        request += piece
    for piece in eval(pieces):
        s.sendall(piece)
    if then == 'reset':
        hear()
        reset(s)
    else:
        s.close()
"#;

#[test]
fn http_client_fetches_from_http_server() {
    let (files, content) = directory_to_serve();
    let sockets = TempDir::new();
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
        let into = TempDir::new();
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

        // A file that is not regular is not replaced by one that is.
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

/// A server that sends the responses that a test writes.
struct Responses {
    server: Program,
    url: String,
}

impl Responses {
    #[track_caller]
    fn start(address: &str) -> Self {
        let mut server = Program::python(RESPONSES, &[address]);
        let url = match server.address() {
            path if path.starts_with('/') => format!("http+unix:{path}:/"),
            address => format!("http://{address}/"),
        };
        Self { server, url }
    }

    /// Fetches a response, which is a Python expression for its pieces.
    #[track_caller]
    fn fetch(&mut self, backend: Backend, pieces: &str, then: &str) -> Ended {
        self.server.tell(&format!("{pieces}\t{then}"));
        let mut client = Program::example("http_client", backend, &[&self.url]);
        if then == "reset" {
            // The body has come that far.
            let piece = client.piece();
            assert_eq!(piece.as_deref(), Some(&b"some"[..]));
            self.server.tell("go on");
        }
        client.finish()
    }

    #[track_caller]
    fn fail(&mut self, backend: Backend, pieces: &str, then: &str, said: &str) {
        let ended = self.fetch(backend, pieces, then);
        assert_eq!(ended.code, Some(1), "{pieces}: {ended:?}");
        assert!(
            ended.stderr.contains(said),
            "{pieces}: {said:?} in {ended:?}"
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }

    /// Ends the server, which must have sent all responses.
    #[track_caller]
    fn end(self) {
        self.server.succeed();
    }
}

#[test]
fn http_client_says_what_failed() {
    with_each_backend(|backend| {
        let mut server = Responses::start(ANY_PORT);
        let mut fails = |pieces, said| server.fail(backend, pieces, "close", said);
        fails("[]", "before it sent a response");
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
        server.fail(backend, some, "reset", "reset");
        let some = "[b'HTTP/1.0 200 OK\\r\\n\\r\\nsome']";
        server.fail(backend, some, "reset", "after 4 bytes");
        server.end();
    });
}

#[test]
fn http_client_escapes_what_the_server_says() {
    with_each_backend(|backend| {
        let mut server = Responses::start(ANY_PORT);
        for (answer, said) in [
            (
                r"[b'HTTP/1.0 302 F\x1b[31mound\r\nLocation: /th\x1b]0;ere\xff\x07\r\n\r\n']",
                r"302 F\x1b[31mound: see /th\x1b]0;ere\xff\x07",
            ),
            (
                r"[b'HTTP/1.0 404 N\xc2\x9b1mot I\'m\r\n\r\n']",
                r"404 N\u{9b}1mot I'm",
            ),
            (
                r"[b'HTTP/1.0 200 OK\r\nTransfer-Encoding: a\x1bb\r\n\r\n']",
                r"Transfer-Encoding: a\x1bb",
            ),
            (
                r"[b'HTTP/1.0 200 OK\r\nContent-Length: \x1b3\r\n\r\n']",
                r#""\x1b3""#,
            ),
            (r"[b'HTTP/1.0 2\x1b0\r\n\r\n']", r"HTTP/1.0 2\x1b0"),
            (r"[b'\x1b[31mhello\r\n\r\n']", r"\x1b[31mhello\r\n"),
        ] {
            let ended = server.fetch(backend, answer, "close");
            assert_eq!(ended.code, Some(1), "{answer}: {ended:?}");
            assert!(
                ended.stderr.contains(said),
                "{answer}: {said:?} in {ended:?}"
            );
            let obeyed = |c: char| c.is_control() && c != '\n';
            assert!(!ended.stderr.contains(obeyed), "{answer}: {ended:?}");
        }
        server.end();
    });
}

#[test]
fn http_client_skips_interim_responses() {
    let interim = r"b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n'";
    let last = r"b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc'";
    with_each_backend(|backend| {
        let mut server = Responses::start(ANY_PORT);
        for pieces in [
            format!("[{interim} + {last}]"),
            format!("[{interim} * 20, {last}]"),
            format!("[bytes([byte]) for byte in {interim} + {last}]"),
            format!(r"[b'HTTP/1.1 199 \n\n', {last}]"),
        ] {
            let ended = server.fetch(backend, &pieces, "close");
            assert_eq!(ended.code, Some(0), "{pieces}: {ended:?}");
            assert_eq!(ended.stdout, b"abc", "{pieces}");
        }
        let mut fails = |pieces: &str, said| server.fail(backend, pieces, "close", said);
        // Another protocol follows, which was not asked for.
        fails(
            r"[b'HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.0 200 OK\r\n\r\n']",
            "101 Switching Protocols",
        );
        fails(&format!("[{interim}]"), "before it sent a response");
        fails(&format!("[{interim}, b'HTTP/1.1']"), "within the header");
        fails(&format!("[{interim}, b'hello']"), "does not speak HTTP");
        fails(&format!("[{interim} * 1200]"), "longer than");
        server.end();
    });
}

#[test]
fn http_client_compares_names_without_case() {
    let answer = concat!(
        r"[b'HTTP/1.0 200 OK\r\ntRANSFER-eNCODING: Identity\r\n' + ",
        r"b'CONTENT-LENGTH : 3\r\n\r\nabcdef']"
    );
    let sockets = TempDir::new();
    with_each_backend(|backend| {
        let unix = sockets.file(&backend.to_string());
        for (address, scheme, mixed) in [
            (ANY_PORT, "http", "HTTP"),
            (&unix, "http+unix", "Http+Unix"),
        ] {
            let mut server = Responses::start(address);
            for scheme in [scheme, mixed] {
                let (_, rest) = server.url.split_once(':').unwrap();
                server.url = format!("{scheme}:{rest}");
                let ended = server.fetch(backend, answer, "close");
                assert_eq!(ended.code, Some(0), "{ended:?}");
                assert_eq!(ended.stdout, b"abc");
            }
            server.end();
        }
    });
}

#[test]
fn http_client_takes_digits_alone_for_a_number() {
    with_each_backend(|backend| {
        let mut server = Responses::start(ANY_PORT);
        let mut fails = |pieces: &str, said| server.fail(backend, pieces, "close", said);
        for code in ["+20", "-20", " 20", "20", "2000", "2x0", "0x1", "020", ""] {
            let answer = format!(r"[b'HTTP/1.0 {code} OK\r\n\r\n']");
            fails(&answer, "does not speak HTTP");
        }
        for length in [
            "+3",
            "-3",
            "3 3",
            "3,3",
            "0x3",
            "3.0",
            "999999999999999999999",
            "",
        ] {
            let answer = format!(r"[b'HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\nabc']");
            fails(&answer, "as the length of the body");
        }
        server.end();
    });
}

#[test]
fn http_client_takes_an_answer_in_any_pieces() {
    let answer = "b'HTTP/1.0 200 OK\\r\\nContent-length:  5\\r\\nX: y\\r\\n\\r\\nabcde'";
    with_each_backend(|backend| {
        let mut server = Responses::start(ANY_PORT);
        for pieces in [
            format!("[{answer}]"),
            format!("[bytes([byte]) for byte in {answer}]"),
            format!("[{answer} + b'more than was said']"),
            // A server without carriage returns, and without a length.
            "[b'HTTP/1.0 200\\nA: b\\n\\nabcde']".to_owned(),
        ] {
            let ended = server.fetch(backend, &pieces, "close");
            assert_eq!(ended.code, Some(0), "{pieces}: {ended:?}");
            assert_eq!(ended.stdout, b"abcde", "{pieces}");
        }
        server.end();
    });
}

#[test]
fn http_client_says_who_cannot_be_reached() {
    // A port without a listener, which stays so: it is bound.
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
fn http_client_holds_little_of_a_body_that_is_not_read() {
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
            if received > 90 << 20 && received - piece.len() <= 90 << 20 {
                if let Some(peak) = client.peak_memory() {
                    assert!(peak < 20 << 10, "{peak} KiB");
                }
            }
        }
        client.succeed();
        server.succeed();
    });
}

#[test]
fn http_client_fails_when_its_output_is_not_read() {
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
