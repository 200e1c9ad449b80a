//! Dispatchers: channels over a stream of bytes or datagrams, with asyncore's handlers.

mod attempts;
mod base;
mod boxed;
mod connection;
mod endpoint;
mod events;
mod forward;
mod handler;
mod io;
mod link;
mod producer;
mod queue;
mod reach;
mod rival;
mod socket;
mod transport;
mod with_send;

#[cfg(feature = "coroutines")]
pub(crate) use attempts::DELAY as ATTEMPT_DELAY;
#[cfg(feature = "coroutines")]
pub(crate) use base::BACKLOG;
pub use base::Dispatcher;
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use handler::Handler;
pub(crate) use handler::{accept_some, log_to_facade, uncaptured, unserved};
pub use io::{Io, View};
pub use producer::{IterProducer, Producer, ReadProducer, SimpleProducer};
pub use socket::{IntoSocket, Socket, SocketType};
pub use transport::{Passage, Transport};
pub use with_send::DispatcherWithSend;
