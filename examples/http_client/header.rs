//! The header of the response: what the server says before the body.

use crate::common::escaped;

/// The most bytes of header that are read, those of interim responses included.
const LIMIT: usize = 64 * 1024;

/// A header that is being received.
#[derive(Default)]
pub struct Incoming {
    received: Vec<u8>,
    /// Where the header begins: interim responses (1xx) come before it.
    start: usize,
    /// The header does not end before this.
    searched: usize,
}

impl Incoming {
    /// Checks whether nothing has come of the header.
    pub fn is_empty(&self) -> bool {
        self.start == self.received.len()
    }

    /// Takes a piece of input. Returns the header once it is whole, and the part of the body
    /// that came with it.
    pub fn take(&mut self, piece: &[u8]) -> Result<Option<(Header, Vec<u8>)>, String> {
        self.received.extend_from_slice(piece);
        while let Some(end) = self.find_end()? {
            let header = Header::parse(&self.received[self.start..end])?;
            self.start = end;
            self.searched = end;
            if !header.is_interim() {
                return Ok(Some((header, self.received.split_off(end))));
            }
        }
        Ok(None)
    }

    /// Finds the first byte after the header.
    fn find_end(&mut self) -> Result<Option<usize>, String> {
        let magic = b"HTTP/";
        let header = &self.received[self.start..];
        let len = header.len().min(magic.len());
        if header[..len] != magic[..len] {
            return Err(not_http(&header[..header.len().min(40)]));
        }
        // An empty line, ended by CR LF or, from old servers, LF.
        let within = &self.received[..self.received.len().min(LIMIT)];
        for at in self.searched..within.len() {
            match &within[at..] {
                [b'\n', b'\n', ..] => return Ok(Some(at + 2)),
                [b'\n', b'\r', b'\n', ..] => return Ok(Some(at + 3)),
                _ => {}
            }
        }
        if self.received.len() >= LIMIT {
            return Err(format!("the header is longer than {LIMIT} bytes"));
        }
        // The end may come in several pieces.
        self.searched = self.start.max(within.len().saturating_sub(2));
        Ok(None)
    }
}

fn not_http(line: &[u8]) -> String {
    let line = escaped(line);
    format!("the server does not speak HTTP: it sent \"{line}\"")
}

/// The header of a response.
pub struct Header {
    code: u16,
    reason: Vec<u8>,
    /// The names are in lower case.
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Header {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut lines = text
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let status = lines.next().unwrap_or_default();
        let mut words = status.splitn(3, |byte| *byte == b' ');
        let (_, code, reason) = (words.next(), words.next(), words.next());
        let Some(code) = code.and_then(status_code) else {
            return Err(not_http(status));
        };
        let fields = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            Some((name.to_ascii_lowercase(), value.to_owned()))
        });
        Ok(Self {
            code,
            reason: reason.unwrap_or_default().to_owned(),
            fields: fields.collect(),
        })
    }

    /// Checks whether another response follows: 101 switches to another protocol instead.
    fn is_interim(&self) -> bool {
        matches!(self.code, 100 | 102..200)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let named = self
            .fields
            .iter()
            .filter(move |(n, _)| n == name.as_bytes());
        named.map(|(_, value)| value.as_slice())
    }

    /// Returns the length of the body if the server gave it. The error is for a response
    /// without the body that was asked for.
    pub fn body_length(&self) -> Result<Option<u64>, String> {
        self.check_success()?;
        let mut codings = self.all("transfer-encoding");
        if let Some(coding) = codings.find(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            // The request was of HTTP/1.0, which has none.
            let coding = escaped(coding);
            return Err(format!(
                "the server encoded the body for HTTP/1.1 (Transfer-Encoding: {coding})"
            ));
        }
        if matches!(self.code, 204 | 205) {
            return Ok(Some(0));
        }
        let mut lengths = self.all("content-length");
        let Some(length) = lengths.next() else {
            return Ok(None);
        };
        if lengths.any(|other| other != length) {
            return Err("the server sent two lengths of the body".to_owned());
        }
        match number(length) {
            Some(length) => Ok(Some(length)),
            None => {
                let length = escaped(length);
                Err(format!(
                    "the server sent \"{length}\" as the length of the body"
                ))
            }
        }
    }

    fn check_success(&self) -> Result<(), String> {
        let status = format!("{} {}", self.code, escaped(&self.reason));
        match (self.code, self.all("location").next()) {
            (200..300, _) => Ok(()),
            (300..400, Some(to)) => {
                let to = escaped(to);
                Err(format!("the server returned {status}: see {to}"))
            }
            _ => Err(format!("the server returned {status}")),
        }
    }
}

/// A number that is digits alone.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()?
        .parse()
        .ok()
        .filter(|_| digits)
}

fn status_code(text: &[u8]) -> Option<u16> {
    match text {
        [b'1'..=b'9', _, _] => number(text)?.try_into().ok(),
        _ => None,
    }
}
