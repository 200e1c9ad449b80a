//! Coroutines: futures that a loop polls beside its channels.

mod connecting;
mod conversation;
mod descriptor;
mod executor;
mod handle;
mod net;
#[cfg(feature = "signals")]
mod process;
mod queue;
mod sleep;
mod slot;
mod source;
mod task;

pub use conversation::{Conversation, Part};
pub use descriptor::Async;
pub use handle::Handle;
pub use net::Listener;
#[cfg(feature = "signals")]
pub use process::Signals;
pub use queue::{QueueReceiver, QueueSender, queue, unbounded_queue};
pub use sleep::{Interval, Sleep};
pub use task::JoinHandle;
