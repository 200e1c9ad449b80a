//! The URL, and the request for it.

use crate::common::Failure;

/// The server, and the resource on it.
pub struct Url {
    /// As the user wrote it.
    pub text: String,
    /// The address of the server, in the crate's notation.
    pub address: String,
    /// The value of the header field Host.
    host: String,
    path: String,
}

impl Url {
    /// Parses what the user wrote.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::usage(format!("{text:?}: {what}"));
        // These could smuggle lines into the request.
        if text.contains(|c: char| c.is_control() || c == ' ') {
            return Err(wrong(
                "a URL has no blanks or control characters; write %20 for a blank",
            ));
        }
        let without_fragment = text.split('#').next().unwrap_or(text);
        if let Some(rest) = after_scheme(without_fragment, "http+unix:") {
            // The path of the socket ends where that of the resource begins.
            let (socket, path) = match rest.find(":/") {
                Some(at) => (&rest[..at], &rest[at + 1..]),
                None => (rest.trim_end_matches(':'), "/"),
            };
            if socket.is_empty() {
                return Err(wrong("expected http+unix:SOCKET:/PATH"));
            }
            return Ok(Self {
                text: text.to_owned(),
                address: format!("unix:{socket}"),
                host: "localhost".to_owned(),
                path: path.to_owned(),
            });
        }
        let Some(rest) = after_scheme(without_fragment, "http://") else {
            return Err(wrong("only http:// and http+unix: are supported"));
        };
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if host.contains('@') {
            return Err(wrong("a user name in a URL is not supported"));
        }
        let (name, port) = match host.rsplit_once(':') {
            // In brackets it is part of an IPv6 address.
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (host, ""),
        };
        if name.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()) {
            return Err(wrong("expected http://HOST[:PORT][/PATH]"));
        }
        let port = if port.is_empty() { "80" } else { port };
        Ok(Self {
            text: text.to_owned(),
            // In a URL, %25 precedes the scope of an IPv6 address.
            address: format!("{}:{port}", name.replacen("%25", "%", 1)),
            host: host.to_owned(),
            path: match path.strip_prefix('?') {
                Some(query) => format!("/?{query}"),
                None if path.is_empty() => "/".to_owned(),
                None => path.to_owned(),
            },
        })
    }

    /// Returns the request for the resource.
    pub fn request(&self) -> String {
        let Self { host, path, .. } = self;
        format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: fdloop-http-client\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        )
    }
}

/// The rest of `text` after `scheme`, in letters of either case.
fn after_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}
