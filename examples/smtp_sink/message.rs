//! A message that is being received: it has its dots undone, and is written to the maildir.

use std::io;

use super::maildir::{Draft, Maildir};
use super::session::{Reply, too_large};

/// A message, from DATA to its end. Its bytes are written as they arrive.
pub struct Message {
    /// `None` without a maildir, and if the message will not be delivered.
    draft: Option<Draft>,
    /// The reason for which the message will not be delivered. The rest of it is dropped.
    refused: Option<Reply>,
    size: u64,
    size_limit: u64,
    line: Line,
}

/// The part of the current line that has arrived.
#[derive(PartialEq, Eq)]
enum Line {
    Nothing,
    /// A dot. It is the line that ends the message, or is removed: the sender adds one to each line
    /// that begins with a dot.
    Dot,
    Text,
}

/// A message that has reached its end.
pub struct Delivered {
    pub size: u64,
}

impl Message {
    pub fn begin(maildir: Option<&mut Maildir>, size_limit: u64) -> io::Result<Self> {
        Ok(Self {
            draft: maildir.map(Maildir::draft).transpose()?,
            refused: None,
            size: 0,
            size_limit,
            line: Line::Nothing,
        })
    }

    /// Takes a part of a line, which is not empty.
    pub fn collect(&mut self, mut data: &[u8]) {
        if self.line == Line::Nothing {
            if let Some(rest) = data.strip_prefix(b".") {
                self.line = Line::Dot;
                data = rest;
            }
        }
        if !data.is_empty() {
            self.line = Line::Text;
            self.write(data);
        }
    }

    /// Ends the line. Returns true if that is the end of the message.
    pub fn end_line(&mut self) -> bool {
        if self.line == Line::Dot {
            return true;
        }
        self.line = Line::Nothing;
        self.write(b"\r\n");
        false
    }

    fn write(&mut self, data: &[u8]) {
        self.size += data.len() as u64;
        if self.size > self.size_limit && self.refused.is_none() {
            self.refuse(too_large());
        }
        let written = self.draft.as_mut().map(|draft| draft.write(data));
        if let Some(Err(error)) = written {
            self.refuse(not_stored(&error));
        }
    }

    fn refuse(&mut self, reply: Reply) {
        self.refused = Some(reply);
        // The file is removed now, since the message may be endless.
        self.draft = None;
    }

    /// Delivers the message. The error is the reply to a message that cannot be delivered.
    pub fn deliver(self) -> Result<Delivered, Reply> {
        if let Some(reply) = self.refused {
            return Err(reply);
        }
        if let Some(draft) = self.draft {
            draft.deliver().map_err(|error| not_stored(&error))?;
        }
        Ok(Delivered { size: self.size })
    }
}

fn not_stored(error: &io::Error) -> Reply {
    super::common::complain(&format!("cannot store a message: {error}"));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "452 no space for the message".into()
        }
        _ => "451 the message cannot be stored".into(),
    }
}
