//! Values of a scenario, with their places for messages.

use fdloop::Terminator;
use serde_json::Value;

use crate::scenario::{Object, Result};

/// A value and its place, for messages.
pub struct Node<'a> {
    pub value: &'a Value,
    pub key: String,
}

/// An object and its place.
pub struct Entries<'a> {
    pub entries: &'a Object,
    pub key: String,
}

impl<'a> Node<'a> {
    pub fn new(value: &'a Value, key: String) -> Self {
        Self { value, key }
    }

    pub fn is_not<T>(&self, expected: &str) -> Result<T> {
        Err(format!(
            "key {}: {} is not {expected}",
            self.key, self.value
        ))
    }

    pub fn object(&self) -> Result<Entries<'a>> {
        match self.value.as_object() {
            Some(entries) => Ok(Entries {
                entries,
                key: self.key.clone(),
            }),
            None => self.is_not("an object"),
        }
    }

    pub fn items(&self) -> Result<Vec<Node<'a>>> {
        let Some(items) = self.value.as_array() else {
            return self.is_not("a list");
        };
        let numbered = items.iter().enumerate();
        let node = |(i, value)| Node::new(value, format!("{}[{i}]", self.key));
        Ok(numbered.map(node).collect())
    }

    pub fn text(&self) -> Result<&'a str> {
        self.value.as_str().map_or_else(|| self.is_not("text"), Ok)
    }

    pub fn truth(&self) -> Result<bool> {
        let truth = self.value.as_bool();
        truth.map_or_else(|| self.is_not("true or false"), Ok)
    }

    pub fn number(&self) -> Result<u64> {
        let number = self.value.as_u64();
        number.map_or_else(|| self.is_not("a number from 0 up"), Ok)
    }

    /// Text is bytes in latin-1; `{"repeat": s, "times": n}` is s, n times.
    pub fn data(&self) -> Result<Vec<u8>> {
        if self.value.is_object() {
            let data = self.object()?;
            let piece = data.need("repeat")?.data()?;
            return Ok(piece.repeat(data.need("times")?.number()? as usize));
        }
        let bytes: std::result::Result<_, _> = self.text()?.chars().map(u8::try_from).collect();
        bytes.or_else(|_| self.is_not("latin-1 text"))
    }

    pub fn terminator(&self) -> Result<Terminator> {
        Ok(match self.value {
            Value::Null => Terminator::none(),
            // asynchat takes 0 for none.
            Value::Number(_) => match self.number()? {
                0 => Terminator::none(),
                bytes => Terminator::count(bytes),
            },
            _ => Terminator::bytes(self.data()?),
        })
    }
}

impl<'a> Entries<'a> {
    pub fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.entries.get(key)?;
        Some(Node::new(value, self.path(key)))
    }

    pub fn need(&self, key: &str) -> Result<Node<'a>> {
        self.get(key)
            .ok_or_else(|| format!("key {} is missing", self.path(key)))
    }

    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        let entries = self.entries.iter();
        entries.map(|(key, value)| (key.as_str(), Node::new(value, self.path(key))))
    }

    pub fn path(&self, key: &str) -> String {
        match self.key.as_str() {
            "" => key.to_owned(),
            outer => format!("{outer}.{key}"),
        }
    }
}
