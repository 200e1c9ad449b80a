//! The trace: the events of each channel and peer, in order. The sizes of chunks and the number of
//! passes do not show.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[derive(Default)]
pub struct Trace(BTreeMap<String, Vec<Entry>>);

#[derive(PartialEq)]
struct Entry {
    event: &'static str,
    data: Option<Data>,
}

#[derive(PartialEq)]
pub enum Data {
    Bytes(Vec<u8>),
    Text(String),
}

const JOINED: [&str; 3] = ["recv", "collect", "received"];

impl Trace {
    pub fn add(&mut self, name: &str, event: &'static str, data: Option<Data>) {
        let events = self.0.entry(name.to_owned()).or_default();
        let last = events.last().map(|entry| entry.event);
        let entry = Entry { event, data };
        if JOINED.contains(&event) && last == Some(event) {
            let joined = events.last_mut().and_then(|last| last.data.as_mut());
            if let (Some(Data::Bytes(bytes)), Some(Data::Bytes(more))) = (joined, entry.data) {
                bytes.extend(more);
            }
            return;
        }
        let repeated = match event {
            "handle_write" | "handle_expt" => last == Some(event),
            "handle_read" => is_read_again(events),
            "handle_accept" | "log" => events.contains(&entry),
            _ => false,
        };
        if !repeated {
            events.push(entry);
        }
    }

    pub fn into_json(self) -> Value {
        let show = |entry: Entry| match entry.data {
            None => json!([entry.event]),
            Some(Data::Text(text)) => json!([entry.event, text]),
            Some(Data::Bytes(bytes)) => json!([entry.event, show_bytes(&bytes)]),
        };
        let named = self.0.into_iter();
        named
            .map(|(name, events)| (name, events.into_iter().map(show).collect::<Value>()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// A read right after data, or with nothing but data and log lines since the last.
fn is_read_again(events: &[Entry]) -> bool {
    let names = || events.iter().rev().map(|entry| entry.event);
    let before = names().find(|name| !["recv", "collect", "log"].contains(name));
    before == Some("handle_read") || matches!(names().next(), Some("recv" | "collect"))
}

/// Short data as latin-1 text, long data as its length and checksum.
fn show_bytes(bytes: &[u8]) -> Value {
    if bytes.len() <= 128 {
        return bytes
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
            .into();
    }
    json!({"len": bytes.len(), "crc32": crc32fast::hash(bytes)})
}
