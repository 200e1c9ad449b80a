//! Conversations: input cut into pieces, output that is queued.

mod async_chat;
mod bytes;
mod handler;
mod io;
mod pattern;
mod pieces;
mod scanner;
mod state;
mod terminator;

pub use async_chat::AsyncChat;
pub use bytes::IntoBytes;
pub use handler::ChatHandler;
pub use io::ChatIo;
pub use terminator::Terminator;
