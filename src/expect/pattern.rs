//! Patterns, and their matches.

use std::fmt;
use std::io;
use std::ops::Range;

use memchr::memmem::Finder;
use regex::bytes::Regex;

use crate::error::{Error, Result};

/// A pattern of output: a text or a regular expression. A `&str`, a `String` and a byte string
/// convert to a text.
///
/// ```
/// use fdloop::Pattern;
///
/// let text = Pattern::from("login: ");
/// let either = Pattern::regex("(?i)password|passphrase")?;
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pattern(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Text(Box<Finder<'static>>),
    Regex(Box<Regex>),
}

impl Pattern {
    /// Makes a pattern of a regular expression, in the syntax of the crate `regex`.
    ///
    /// The pattern is searched for each time that output arrives. So one that can match more, such
    /// as one with `.*` at its end, may match only the part that has arrived. End it with something
    /// that comes last. Lines of a terminal end with `\r\n`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the expression is malformed.
    pub fn regex(expression: &str) -> Result<Self> {
        let regex = Regex::new(expression).map_err(|error| {
            let message = format!("not a regular expression: {error}");
            Error::misuse(io::ErrorKind::InvalidInput, message)
        })?;
        Ok(Self(Kind::Regex(Box::new(regex))))
    }

    /// Finds the first match. The first `searched` bytes are known to have none.
    pub(super) fn find(&self, data: &[u8], searched: usize) -> Option<Range<usize>> {
        match &self.0 {
            Kind::Text(text) => {
                let len = text.needle().len();
                let from = (searched + 1).saturating_sub(len.max(1)).min(data.len());
                let start = from + text.find(&data[from..])?;
                Some(start..start + len)
            }
            Kind::Regex(regex) => regex.find(data).map(|found| found.range()),
        }
    }

    /// Returns the groups of the first match. The first group is the whole match.
    pub(super) fn groups(&self, data: &[u8]) -> Vec<Option<Vec<u8>>> {
        match &self.0 {
            Kind::Text(text) => vec![Some(text.needle().to_vec())],
            Kind::Regex(regex) => match regex.captures(data) {
                Some(found) => found
                    .iter()
                    .map(|group| group.map(|group| group.as_bytes().to_vec()))
                    .collect(),
                None => Vec::new(),
            },
        }
    }
}

impl<T: AsRef<[u8]>> From<T> for Pattern {
    fn from(text: T) -> Self {
        Self(Kind::Text(Box::new(
            Finder::new(text.as_ref()).into_owned(),
        )))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Text(text) => write!(f, "\"{}\"", text.needle().escape_ascii()),
            Kind::Regex(regex) => write!(f, "/{}/", regex.as_str().escape_debug()),
        }
    }
}

/// A match of a pattern: see [`Expect::expect`](crate::Expect::expect).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    pub(super) index: usize,
    pub(super) before: Vec<u8>,
    pub(super) groups: Vec<Option<Vec<u8>>>,
}

impl Match {
    /// Returns the position of the pattern in the list.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the output before the match, since the previous match.
    #[must_use]
    pub fn before(&self) -> &[u8] {
        &self.before
    }

    /// Returns the bytes that a group of the regular expression has matched; 0 is the whole match.
    #[must_use]
    pub fn group(&self, number: usize) -> Option<&[u8]> {
        self.groups.get(number)?.as_deref()
    }
}
